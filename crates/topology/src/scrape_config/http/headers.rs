//! Headers of requests, and of requests to a proxy to connect.
//!
//! Source: Prometheus `common/config/headers.go`.

use std::path::PathBuf;

use firetower_model::Secret;

use crate::complaint::Place;
use crate::scrape_config::keys::HEADER;
use crate::walk::{Fields, Walk};
use crate::yaml::Node;

/// Headers that change the connection, or have keys of their own.
const RESERVED: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// Reads `http_headers`: sorted by name, each with its values, then its secrets, then its files.
pub(super) fn read(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Vec<(String, Vec<Secret>)> {
    let Some(node) = fields.get("http_headers") else { return Vec::new() };
    let mut headers = Vec::new();
    for entry in walk.entries(node) {
        let name = entry.key.as_str();
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            walk.complain(entry.key_place, format!("the header {name:?} must not be set here: {}", instead_of(name)));
        }
        check_name(walk, name, entry.key_place);
        let header = Fields::of(walk, &entry.value, "a header of http_headers", &[HEADER]);
        let (given, secrets) = (header.items(walk, "values"), header.items(walk, "secrets"));
        let mut values = read_values(walk, given);
        values.extend(read_values(walk, secrets));
        values.extend(header.texts(walk, "files").into_iter().map(|path| Secret::File(PathBuf::from(path))));
        headers.push((entry.key.clone(), values));
    }
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

/// Reads `proxy_connect_header`: names with lists of values, sorted by name.
pub(super) fn read_lists(walk: &mut Walk<'_>, fields: &Fields<'_>, key: &str) -> Vec<(String, Vec<Secret>)> {
    let Some(node) = fields.get(key) else { return Vec::new() };
    let mut headers = Vec::new();
    for entry in walk.entries(node) {
        check_name(walk, &entry.key, entry.key_place);
        let items = walk.items(&entry.value);
        headers.push((entry.key.clone(), read_values(walk, items)));
    }
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

fn instead_of(name: &str) -> &'static str {
    match name.to_ascii_lowercase().as_str() {
        "authorization" => "write it under authorization or basic_auth",
        "proxy-authorization" => "write it under proxy_connect_header",
        "host" => "name the host in the target's address",
        "accept-encoding" => "write enable_compression",
        "x-prometheus-scrape-timeout-seconds" => "write scrape_timeout",
        _ => "it is the connection's own",
    }
}

fn check_name(walk: &mut Walk<'_>, name: &str, place: Place) {
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        walk.complain(place, format!("{name:?} is not the name of a header"));
    }
}

/// Reads values, whose text no complaint shows: they may be secrets.
fn read_values(walk: &mut Walk<'_>, items: &[Node]) -> Vec<Secret> {
    let read = |text: &str| match text.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control()) {
        true => Ok(Secret::Text(text.to_owned())),
        false => Err("the value of a header must be a single line".to_owned()),
    };
    items.iter().filter_map(|item| walk.text_as(item, read)).collect()
}

/// Tells whether a byte may be in the name of a header (RFC 9110, `tchar`).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
