//! How a server is asked: the keys that a job and an entry of `http_sd_configs` share.
//!
//! Source: Prometheus `common/config/http_config.go`, `HTTPClientConfig.Validate`.

mod authorization;
mod headers;
mod proxy;
mod tls;

use firetower_model::{HttpAccess, Secret};

use crate::walk::{Fields, Walk};
use crate::yaml::{Node, Value};

pub(super) use proxy::split_authority;

/// Reads how a server is asked out of the mapping that holds those keys among others.
pub(super) fn read_http(walk: &mut Walk<'_>, fields: &Fields<'_>) -> HttpAccess {
    fields.flag(walk, "enable_http2");
    HttpAccess {
        authorization: authorization::read(walk, fields),
        headers: headers::read(walk, fields),
        tls: tls::read(walk, fields),
        proxy: proxy::read(walk, fields),
        follow_redirects: fields.flag(walk, "follow_redirects").unwrap_or(true),
    }
}

/// Reads a secret that is given under `key` or in the file under `file_key`, but not both. Empty ones are absent.
fn read_secret(walk: &mut Walk<'_>, fields: &Fields<'_>, key: &str, file_key: &str) -> Option<Secret> {
    let is_given = |key| fields.get(key).is_some_and(|node| !is_blank(node));
    if is_given(key) && is_given(file_key) {
        walk.complain(fields.place_of(file_key), format!("{key} and {file_key} exclude each other: keep one of them"));
    }
    let text = fields.text(walk, key).filter(|text| !text.is_empty()).map(Secret::Text);
    let file = fields.text(walk, file_key).filter(|path| !path.is_empty()).map(|path| Secret::File(path.into()));
    text.or(file)
}

fn is_blank(node: &Node) -> bool {
    matches!(&node.value, Value::Text(text) if text.is_empty())
}
