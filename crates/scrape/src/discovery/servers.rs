//! Servers that list targets, as `http_sd_configs` names them.
//!
//! Source: Prometheus 3 `discovery/http/http.go`.

use std::sync::Arc;

use firetower_daemon::chain;
use firetower_model::{HttpSd, TargetGroup};

use super::{DiscoverySetup, Voice};
use crate::buffers::Buffers;
use crate::error::Error;
use crate::exposition::MediaType;
use crate::fetch::{Connection, PageLimits, Wanted};
use crate::metrics::Source;

/// How large a list may be.
const LIST_BYTES_MAX: usize = 64 << 20;

/// Follows the list of one server, for ever.
pub(super) async fn follow(setup: Arc<DiscoverySetup>, buffers: Buffers, wanted: HttpSd, mut voice: Voice) {
    let mut connection = None;
    loop {
        setup.metrics.refreshes.get_or_create(&Source::HTTP).inc();
        match ask(&setup, &buffers, &wanted, &mut connection).await {
            Ok(groups) => {
                voice.complain(None);
                voice.tell(groups).await;
            }
            Err(error) => {
                setup.metrics.failures.get_or_create(&Source::HTTP).inc();
                voice.complain(Some(format!("{}: {}", wanted.url, chain(&error))));
                voice.tell_nothing_new().await;
            }
        }
        tokio::time::sleep(wanted.refresh_interval).await;
    }
}

async fn ask(
    setup: &DiscoverySetup,
    buffers: &Buffers,
    wanted: &HttpSd,
    connection: &mut Option<Connection>,
) -> Result<Vec<TargetGroup>, Error> {
    let request = setup.client.prepare(&Wanted {
        url: &wanted.url,
        http: &wanted.http,
        accept: "application/json",
        is_compressed: true,
        notice: ("X-Prometheus-Refresh-Interval-Seconds", wanted.refresh_interval),
        timeout: wanted.refresh_interval,
    })?;
    let mut fetched = setup.client.get(connection, &request, PageLimits::of_bytes(LIST_BYTES_MAX), buffers).await?;
    let fault = |reason: String| Error::List { url: wanted.url.clone(), reason };
    match &fetched.media_type {
        MediaType::Unsupported(written) if is_json(written) => {}
        MediaType::Unsupported(written) => {
            return Err(fault(format!("its Content-Type is {written:?}, not application/json")));
        }
        MediaType::Known(_) => return Err(fault("its Content-Type is that of a page, not application/json".into())),
        MediaType::Missing => return Err(fault("it has no Content-Type, where application/json should stand".into())),
    }
    let (text, _) = fetched.lease.page(fetched.body);
    let text = std::str::from_utf8(text).map_err(|_| fault("it is not UTF-8".into()))?;
    (setup.read_list)(&wanted.url, text).map_err(fault)
}

/// Tells whether a `Content-Type` is that of JSON in UTF-8.
fn is_json(content_type: &str) -> bool {
    let (kind, parameter) = content_type.split_once(';').unwrap_or((content_type, "charset=utf-8"));
    let charset = parameter.trim().to_ascii_lowercase();
    kind.trim().eq_ignore_ascii_case("application/json")
        && matches!(charset.as_str(), "charset=utf-8" | "charset=\"utf-8\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_a_list() {
        let cases = [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("", false),
        ];
        for (content_type, expected) in cases {
            assert_eq!(is_json(content_type), expected, "{content_type}");
        }
    }
}
