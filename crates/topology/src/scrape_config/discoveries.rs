//! How the targets of a job are found.

use std::time::Duration;

use firetower_model::{DnsKind, DnsSd, FileSd, HttpSd, TargetGroup};

use super::http::{read_http, split_authority};
use super::keys::{DNS_SD, FILE_SD, GROUP, HTTP_SD, SERVER_KEYS};
use crate::walk::{Fields, Walk};
use crate::yaml::Node;

/// How often the files of `file_sd_configs` are looked at again, unless a job says so itself.
const FILE_REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// How often a server of `http_sd_configs` is asked again, unless a job says so itself.
const HTTP_REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// How often the names of `dns_sd_configs` are looked up again, unless a job says so itself.
const DNS_REFRESH_INTERVAL: Duration = Duration::from_secs(30);

const DNS_KINDS: [(&str, DnsKind); 5] =
    [("SRV", DnsKind::Srv), ("A", DnsKind::A), ("AAAA", DnsKind::Aaaa), ("MX", DnsKind::Mx), ("NS", DnsKind::Ns)];

/// Reads groups of targets; the source of each is `source` with its number.
pub(crate) fn read_groups(walk: &mut Walk<'_>, items: &[Node], source: &str) -> Vec<TargetGroup> {
    let mut groups = Vec::with_capacity(items.len());
    for (number, item) in items.iter().enumerate() {
        let fields = Fields::of(walk, item, "a group of targets", &[GROUP]);
        let addresses = fields.items(walk, "targets");
        groups.push(TargetGroup {
            source: format!("{source}:{number}"),
            targets: addresses.iter().filter_map(|node| walk.text_as(node, read_address)).collect(),
            labels: fields.labels(walk, "labels"),
        });
    }
    groups
}

fn read_address(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a target must not be empty".into()) } else { Ok(text.to_owned()) }
}

/// Complains about static targets with a path, in a job that has no rules to make addresses of them.
pub(super) fn check_addresses(walk: &mut Walk<'_>, groups: &[Node]) {
    for group in groups.iter().filter_map(|group| group.get("targets")) {
        for node in group.items() {
            walk.text_as(node, |text| match text.contains('/') {
                true => {
                    Err(format!("{text:?} is not host:port: a path belongs in metrics_path, http or https in scheme"))
                }
                false => Ok(()),
            });
        }
    }
}

pub(super) fn read_file_sd(walk: &mut Walk<'_>, node: &Node) -> FileSd {
    let fields = Fields::of(walk, node, "a file_sd_configs entry", &[FILE_SD]);
    let files = fields.items(walk, "files");
    if files.is_empty() {
        walk.complain(fields.place, "a file_sd_configs entry needs at least one name under \"files\"");
    }
    FileSd {
        files: files.iter().filter_map(|node| walk.text_as(node, read_pattern)).collect(),
        refresh_interval: fields.duration(walk, "refresh_interval").unwrap_or(FILE_REFRESH_INTERVAL),
    }
}

fn read_pattern(text: &str) -> Result<String, String> {
    let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
    let is_read = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"].iter().any(|end| name.ends_with(end));
    if is_read && !folder.contains('*') && name.matches('*').count() <= 1 {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} must end in .json, .yml or .yaml and may hold one *, in its last part"))
}

pub(super) fn read_http_sd(walk: &mut Walk<'_>, node: &Node) -> HttpSd {
    let fields = Fields::of(walk, node, "an http_sd_configs entry", &[HTTP_SD, SERVER_KEYS]);
    let url = fields.required(walk, "url");
    if let Err(message) = check_url(&url).or_else(|message| if url.is_empty() { Ok(()) } else { Err(message) }) {
        walk.complain(fields.place_of("url"), message);
    }
    HttpSd {
        url,
        refresh_interval: fields.duration(walk, "refresh_interval").unwrap_or(HTTP_REFRESH_INTERVAL),
        http: read_http(walk, &fields),
    }
}

/// The complaints do not show the URL: it may hold a password.
fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or("url must begin with http:// or https://")?;
    let (authority, _) = split_authority(rest);
    match authority {
        "" => Err("url names no host".into()),
        _ if url.contains(|c: char| c.is_whitespace() || c.is_control()) => Err("url must not hold white space".into()),
        _ if authority.contains('@') => Err("url holds a name or a password: write them under basic_auth".into()),
        _ => Ok(()),
    }
}

pub(super) fn read_dns_sd(walk: &mut Walk<'_>, node: &Node) -> DnsSd {
    let fields = Fields::of(walk, node, "a dns_sd_configs entry", &[DNS_SD]);
    let names = fields.items(walk, "names");
    if names.is_empty() {
        walk.complain(fields.place, "a dns_sd_configs entry needs at least one name under \"names\"");
    }
    let kind = match fields.get("type") {
        None => Some(DnsKind::Srv),
        Some(node) => walk.text_as(node, parse_dns_kind),
    };
    let port = fields.get("port").and_then(|node| walk.text_as(node, parse_port));
    if kind.is_some_and(|kind| kind != DnsKind::Srv) && fields.get("port").is_none() {
        walk.complain(fields.place, "a dns_sd_configs entry needs the key \"port\" unless its type is SRV");
    }
    DnsSd {
        names: names.iter().filter_map(|node| walk.text_as(node, read_name)).collect(),
        kind: kind.unwrap_or(DnsKind::Srv),
        port: port.unwrap_or_default(),
        refresh_interval: fields.duration(walk, "refresh_interval").unwrap_or(DNS_REFRESH_INTERVAL),
    }
}

fn read_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a name to look up must not be empty".into()) } else { Ok(text.to_owned()) }
}

fn parse_dns_kind(text: &str) -> Result<DnsKind, String> {
    let word = text.to_uppercase();
    let found = DNS_KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
    found.ok_or_else(|| format!("{text:?} is none of {}", DNS_KINDS.map(|(name, _)| name).join(", ")))
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err(format!("{text:?} is not a port from 1 to 65535")),
    }
}
