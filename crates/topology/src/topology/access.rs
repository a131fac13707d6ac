//! Who gets in: where certificates and tokens lie.

use super::{AuthFiles, TlsFiles};
use crate::complaint::Place;
use crate::walk::{Fields, Walk};
use crate::yaml::Node;

/// What stands for the name of a node in a path.
const NODE: &str = "{node}";

/// Reads `tls`.
pub(super) fn read_tls(walk: &mut Walk<'_>, node: &Node) -> TlsFiles {
    let known = ["ca_file", "cert_file", "key_file"];
    let fields = Fields::new(walk, node, "tls", &known, |key| match key {
        "ca" | "cert" | "key" => Some(format!("{key} is not taken from here but from a file: give {key}_file")),
        _ => None,
    });
    let [ca_file, cert_file, key_file] = known.map(|key| {
        let path = fields.required(walk, key);
        check_path(walk, fields.place_of(key), &path);
        path
    });
    if cert_file.contains(NODE) != key_file.contains(NODE) {
        let message = "cert_file and key_file go together: either both have {node} in them or neither has";
        walk.complain(fields.place_of("key_file"), message);
    }
    TlsFiles { ca_file, cert_file, key_file }
}

fn check_path(walk: &mut Walk<'_>, place: Place, path: &str) {
    let rest = path.replace(NODE, "");
    if rest.contains(['{', '}']) {
        walk.complain(
            place,
            format!("{path:?} has braces: only {NODE} may stand in a path, for the name of each node"),
        );
    }
}

/// Reads `auth`.
pub(super) fn read_auth(walk: &mut Walk<'_>, node: &Node) -> AuthFiles {
    let known = ["read_token_files", "operate_token_files"];
    let fields = Fields::new(walk, node, "auth", &known, |key| match key {
        "tokens" | "token" | "bearer_token" | "read_tokens" | "operate_tokens" => {
            Some(format!("{key} is not taken from here: tokens come by read_token_files and operate_token_files"))
        }
        _ => None,
    });
    let [read_token_files, operate_token_files] = known.map(|key| {
        let files = fields.texts(walk, key);
        for item in fields.items(walk, key).iter().zip(&files).filter(|(_, file)| file.is_empty()).map(|(item, _)| item)
        {
            walk.complain(item.place, "a file of tokens must have a name");
        }
        files
    });
    if read_token_files.is_empty() && operate_token_files.is_empty() {
        walk.complain(node.place, "auth needs a file under read_token_files or operate_token_files");
    }
    if let Some(both) = read_token_files.iter().find(|file| operate_token_files.contains(file)) {
        let message = format!("{both:?} is in both lists: whoever may operate may read as well");
        walk.complain(fields.place_of("operate_token_files"), message);
    }
    AuthFiles { read_token_files, operate_token_files }
}

/// Checks that a certificate can name a node.
///
/// Source: RFC 1123, 2.1, with `_`, which TLS takes too.
pub(super) fn check_provable(name: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len())
            && label.chars().all(is_inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = name.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number);
    if is_host && name != "localhost" {
        return Ok(());
    }
    Err(format!("no certificate can name {name:?}: with tls a node is called as a host could be, such as dub-p0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_called_as_hosts_could_be() {
        let check = |name: &str, expected: bool| assert_eq!(check_provable(name).is_ok(), expected, "{name}");
        check("dub-p0", true);
        check("p0.dub.example", true);
        check("a_b", true);
        check("0a", true);
        check("-a", false);
        check("a-", false);
        check("a..b", false);
        check("a.", false);
        check("10.0.0.1", false);
        check("7", false);
        check("localhost", false);
        check(&"a".repeat(64), false);
    }
}
