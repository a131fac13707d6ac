//! Who asks.

use firetower_model::{Authorization, Secret};

use super::{is_blank, read_secret};
use crate::scrape_config::keys::{AUTHORIZATION, BASIC_AUTH};
use crate::walk::{Fields, Walk};
use crate::yaml::Node;

/// The keys of which one at most may be there.
const WAYS: [&str; 5] = ["basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file"];
/// The scheme of credentials that name none.
const SCHEME: &str = "Bearer";

/// Reads the one of [`WAYS`] that is there.
pub(super) fn read(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Option<Authorization> {
    let mut given = WAYS.iter().filter_map(|key| fields.entry(key)).filter(|entry| !is_blank(&entry.value));
    let first = given.next()?;
    // Those two are told apart where their credentials are read.
    for other in given.filter(|other| first.key != "bearer_token" || other.key != "bearer_token_file") {
        let message = format!("{} and {} exclude each other: keep one of them", first.key, other.key);
        walk.complain(other.key_place, message);
    }
    match first.key.as_str() {
        "basic_auth" => Some(read_basic(walk, &first.value)),
        "authorization" => Some(read_credentials(walk, &first.value)),
        "bearer_token" | "bearer_token_file" => {
            let credentials = read_secret(walk, fields, "bearer_token", "bearer_token_file")?;
            Some(Authorization::Credentials { scheme: SCHEME.into(), credentials })
        }
        _ => None,
    }
}

fn read_basic(walk: &mut Walk<'_>, node: &Node) -> Authorization {
    let fields = Fields::of(walk, node, "basic_auth", &[BASIC_AUTH]);
    Authorization::Basic {
        username: read_secret(walk, &fields, "username", "username_file").unwrap_or_else(nothing),
        password: read_secret(walk, &fields, "password", "password_file").unwrap_or_else(nothing),
    }
}

fn read_credentials(walk: &mut Walk<'_>, node: &Node) -> Authorization {
    let fields = Fields::of(walk, node, "authorization", &[AUTHORIZATION]);
    let scheme = fields.text(walk, "type").unwrap_or_default().trim().to_owned();
    if scheme.eq_ignore_ascii_case("basic") {
        walk.complain(
            fields.place_of("type"),
            "the type must not be Basic: write username and password under basic_auth",
        );
    }
    if !scheme.bytes().all(super::headers::is_token_byte) {
        walk.complain(fields.place_of("type"), "the type must be a single word, such as Bearer");
    }
    Authorization::Credentials {
        scheme: if scheme.is_empty() { SCHEME.into() } else { scheme },
        credentials: read_secret(walk, &fields, "credentials", "credentials_file").unwrap_or_else(nothing),
    }
}

fn nothing() -> Secret {
    Secret::Text(String::new())
}
