//! How TLS is spoken.

use firetower_model::{TlsAccess, TlsVersion};

use super::read_secret;
use crate::scrape_config::keys::TLS;
use crate::walk::{Fields, Walk};

/// Reads `tls_config`.
pub(super) fn read(walk: &mut Walk<'_>, fields: &Fields<'_>) -> TlsAccess {
    let Some(node) = fields.get("tls_config") else { return TlsAccess::default() };
    let fields = Fields::of(walk, node, "tls_config", &[TLS]);
    let access = TlsAccess {
        ca: read_secret(walk, &fields, "ca", "ca_file"),
        cert: read_secret(walk, &fields, "cert", "cert_file"),
        key: read_secret(walk, &fields, "key", "key_file"),
        server_name: fields.text(walk, "server_name").filter(|name| !name.is_empty()),
        insecure_skip_verify: fields.flag(walk, "insecure_skip_verify").unwrap_or(false),
        min_version: fields.get("min_version").and_then(|node| walk.text_as(node, parse_version)),
        max_version: fields.get("max_version").and_then(|node| walk.text_as(node, parse_version)),
    };
    match (&access.cert, &access.key) {
        (Some(_), None) => walk.complain(fields.place, "tls_config has a certificate but no key: add key_file"),
        (None, Some(_)) => walk.complain(fields.place, "tls_config has a key but no certificate: add cert_file"),
        _ => {}
    }
    if access.max_version.is_some_and(|max| access.min_version.is_some_and(|min| max < min)) {
        walk.complain(fields.place_of("max_version"), "max_version must not be older than min_version");
    }
    access
}

fn parse_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "TLS12" => Ok(TlsVersion::Tls12),
        "TLS13" => Ok(TlsVersion::Tls13),
        "TLS10" | "TLS11" => Err(format!(
            "{text} is not spoken, being broken: write TLS12, or put a proxy before the target that speaks it"
        )),
        _ => Err(format!("{text:?} is not a version of TLS: write TLS12 or TLS13")),
    }
}
