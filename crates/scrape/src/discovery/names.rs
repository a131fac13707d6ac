//! Names whose records are targets, as `dns_sd_configs` names them.
//!
//! Source: Prometheus 3 `discovery/dns/dns.go`.

use std::sync::Arc;

use firetower_daemon::{NameRecord, chain};
use firetower_model::{DnsKind, DnsSd, TargetGroup};

use super::{DiscoverySetup, Voice};
use crate::error::Error;
use crate::metrics::Source;

/// Follows the records of names, for ever.
pub(super) async fn follow(setup: Arc<DiscoverySetup>, wanted: DnsSd, mut voice: Voice) {
    loop {
        setup.metrics.refreshes.get_or_create(&Source::DNS).inc();
        match look_up(&setup, &wanted).await {
            Ok(groups) => {
                voice.complain(None);
                voice.tell(groups).await;
            }
            Err(error) => {
                setup.metrics.failures.get_or_create(&Source::DNS).inc();
                voice.complain(Some(chain(&error).to_string()));
                voice.tell_nothing_new().await;
            }
        }
        tokio::time::sleep(wanted.refresh_interval).await;
    }
}

async fn look_up(setup: &DiscoverySetup, wanted: &DnsSd) -> Result<Vec<TargetGroup>, Error> {
    let mut groups = Vec::new();
    for name in &wanted.names {
        let found = setup.names.lookup(name, wanted.kind).await;
        let found = found.map_err(|source| Error::Lookup { name: name.clone(), source })?;
        groups.extend(found.iter().map(|record| group(name, wanted, record)));
    }
    Ok(groups)
}

/// Makes a target of a record.
fn group(name: &str, wanted: &DnsSd, record: &NameRecord) -> TargetGroup {
    let port = record.port.unwrap_or(wanted.port);
    let host = record.host.trim_end_matches('.');
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut labels = vec![("__meta_dns_name".to_owned(), name.to_owned())];
    let mut add = |label: &str, value: String| labels.push((label.to_owned(), value));
    match wanted.kind {
        DnsKind::Srv => {
            add("__meta_dns_srv_record_port", port.to_string());
            add("__meta_dns_srv_record_target", record.host.clone());
        }
        DnsKind::Mx => add("__meta_dns_mx_record_target", record.host.clone()),
        DnsKind::Ns => add("__meta_dns_ns_record_target", record.host.clone()),
        DnsKind::A | DnsKind::Aaaa => {}
    }
    TargetGroup { source: format!("dns:{name}"), targets: vec![address], labels }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_becomes_a_target() {
        let check = |kind, host: &str, port, address: &str, labels: &[(&str, &str)]| {
            let wanted = DnsSd { names: Vec::new(), kind, port: 9100, refresh_interval: Duration::from_secs(30) };
            let group = group("n", &wanted, &NameRecord { host: host.into(), port });
            assert_eq!(group.targets, [address]);
            let found: Vec<(&str, &str)> = group.labels[1..].iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            assert_eq!((group.labels[0].1.as_str(), &found[..]), ("n", labels), "{address}");
        };
        let srv = [("__meta_dns_srv_record_port", "81"), ("__meta_dns_srv_record_target", "h.example.")];
        check(DnsKind::Srv, "h.example.", Some(81), "h.example:81", &srv);
        check(DnsKind::A, "10.0.0.1", None, "10.0.0.1:9100", &[]);
        check(DnsKind::Aaaa, "fd00::1", None, "[fd00::1]:9100", &[]);
        check(DnsKind::Mx, "m.", None, "m:9100", &[("__meta_dns_mx_record_target", "m.")]);
        check(DnsKind::Ns, "s.", None, "s:9100", &[("__meta_dns_ns_record_target", "s.")]);
    }
}
