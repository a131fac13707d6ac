//! Names and addresses: well-formed, and each used once.

use std::collections::HashMap;

use super::Node;
use super::access::check_provable;
use crate::complaint::Place;
use crate::walk::{Fields, Walk};
use crate::yaml;

/// What a monitor is, for which keys it has and what they are called in sentences.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    Global,
    Primary,
    Secondary,
}

impl Tier {
    fn what(self) -> &'static str {
        match self {
            Tier::Global => "a global aggregator",
            Tier::Primary => "a primary",
            Tier::Secondary => "a secondary",
        }
    }
}

/// Names and addresses met so far, with the place of each.
pub(super) struct Used {
    is_proven: bool,
    names: HashMap<(&'static str, String), Place>,
    addresses: HashMap<String, Place>,
}

impl Used {
    /// Nothing met yet; `is_proven` tells whether certificates prove the names of nodes.
    pub(super) fn new(is_proven: bool) -> Used {
        Used { is_proven, names: HashMap::new(), addresses: HashMap::new() }
    }

    /// Reads a name that must be there, be well-formed, and be the first of its kind.
    pub(super) fn name(&mut self, walk: &mut Walk<'_>, fields: &Fields<'_>, kind: &'static str) -> String {
        let name = fields.required(walk, kind);
        let place = fields.place_of(kind);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !name.chars().all(is_plain) {
            walk.complain(place, format!("the name {name:?} may hold letters, digits, \"-\", \"_\" and \".\" only"));
        }
        if name.is_empty() {
            return name;
        }
        if self.is_proven
            && kind == "node"
            && let Err(message) = check_provable(&name)
        {
            walk.complain(place, message);
        }
        match self.names.get(&(kind, name.clone())) {
            Some(first) => walk.complain(place, format!("the {kind} {name:?} is given twice, first at {first}")),
            None => drop(self.names.insert((kind, name.clone()), place)),
        }
        name
    }

    /// Reads the monitors of one list.
    pub(super) fn nodes(&mut self, walk: &mut Walk<'_>, items: &[yaml::Node], tier: Tier) -> Vec<Node> {
        items.iter().map(|item| self.node(walk, item, tier)).collect()
    }

    fn node(&mut self, walk: &mut Walk<'_>, item: &yaml::Node, tier: Tier) -> Node {
        let known: &[&str] = if tier == Tier::Secondary { &["node", "http"] } else { &["node", "http", "grpc"] };
        let fields = Fields::new(walk, item, tier.what(), known, |key| {
            let has_none = tier == Tier::Secondary && key == "grpc";
            has_none.then(|| "a secondary has no grpc address: it dials its primaries".to_owned())
        });
        let name = self.name(walk, &fields, "node");
        let http = self.address(walk, &fields, "http");
        let grpc = (tier != Tier::Secondary).then(|| self.address(walk, &fields, "grpc"));
        Node { name, http, grpc }
    }

    fn address(&mut self, walk: &mut Walk<'_>, fields: &Fields<'_>, key: &str) -> String {
        let text = fields.required(walk, key);
        if text.is_empty() {
            return text;
        }
        let place = fields.place_of(key);
        if let Err(message) = check_address(&text) {
            walk.complain(place, message);
            return text;
        }
        match self.addresses.get(&text.to_lowercase()) {
            Some(first) => walk.complain(place, format!("the address {text} is used twice, first at {first}")),
            None => drop(self.addresses.insert(text.to_lowercase(), place)),
        }
        text
    }
}

/// Checks that a text is `host:port` with a port from 1 to 65535; an IPv6 address stands in brackets.
pub(super) fn check_address(text: &str) -> Result<(), String> {
    let malformed = || format!("{text:?} is not an address such as 10.0.0.1:6120 or dub-p0.example.net:6120");
    let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
    let is_ipv6 = host.starts_with('[') && host.ends_with(']');
    let is_host = !host.is_empty() && (is_ipv6 || !host.contains([':', '/', '[', ']', '@', ' ']));
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !is_host || !is_number {
        return Err(malformed());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(format!("the port {port} of {text:?} is not from 1 to 65535")),
    }
}
