//! What to go through.

use firetower_model::ProxyAccess;

use super::headers::read_lists;
use crate::walk::{Fields, Walk};

/// Reads the keys about proxies, and complains about those that do not fit together.
pub(super) fn read(walk: &mut Walk<'_>, fields: &Fields<'_>) -> ProxyAccess {
    let url = fields.text(walk, "proxy_url").filter(|url| !url.is_empty());
    if let Some(Err(message)) = url.as_deref().map(check_proxy_url) {
        walk.complain(fields.place_of("proxy_url"), message);
    }
    let access = ProxyAccess {
        is_from_environment: fields.flag(walk, "proxy_from_environment").unwrap_or(false),
        no_proxy: fields.text(walk, "no_proxy").unwrap_or_default(),
        connect_headers: read_lists(walk, fields, "proxy_connect_header"),
        url,
    };
    if access.is_from_environment && access.url.is_some() {
        walk.complain(
            fields.place_of("proxy_from_environment"),
            "proxy_url and proxy_from_environment exclude each other: keep one of them",
        );
    }
    if access.is_from_environment && !access.no_proxy.is_empty() {
        walk.complain(
            fields.place_of("no_proxy"),
            "no_proxy and proxy_from_environment exclude each other: set NO_PROXY in the environment",
        );
    }
    if !access.is_from_environment && access.url.is_none() {
        for key in ["no_proxy", "proxy_connect_header"] {
            let is_given = fields.get(key).is_some_and(|node| !super::is_blank(node));
            if is_given {
                walk.complain(fields.place_of(key), format!("{key} needs a proxy_url"));
            }
        }
    }
    access
}

/// The complaints do not show the URL: it may hold a password.
fn check_proxy_url(url: &str) -> Result<(), &'static str> {
    let rest =
        url.strip_prefix("http://").ok_or("proxy_url must begin with http://: other proxies are not spoken to")?;
    let (authority, path) = split_authority(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match (host, path) {
        _ if url.contains(|c: char| c.is_whitespace() || c.is_control()) => Err("proxy_url must not hold white space"),
        ("", _) => Err("proxy_url names no host"),
        (_, "" | "/") => Ok(()),
        _ => Err("proxy_url must be http://HOST:PORT without a path"),
    }
}

/// Splits what comes after `http://` into the host with its port, and the path.
pub(in crate::scrape_config) fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}
