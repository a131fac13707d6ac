//! `scrape_protocols`: the formats to ask for.

use super::Protocol;
use crate::walk::{Fields, Walk, nearest};
use crate::yaml::Node;

const NAMES: [(&str, Protocol); 4] = [
    ("OpenMetricsText1.0.0", Protocol::OpenMetrics1),
    ("OpenMetricsText0.0.1", Protocol::OpenMetrics0),
    ("PrometheusText1.0.0", Protocol::Text1),
    ("PrometheusText0.0.4", Protocol::Text0),
];

/// The format of native histograms, which is not read.
const PROTOBUF: &str = "PrometheusProto";

/// Reads `scrape_protocols`; `None` if the key is not there.
pub(super) fn read_protocols(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Option<Vec<Protocol>> {
    let list = fields.get("scrape_protocols")?;
    let items = walk.items(list);
    let mut protocols = Vec::with_capacity(items.len());
    for item in items {
        if item.is_one_of(&[PROTOBUF]) {
            walk.warn(item.place, format!("{PROTOBUF} is left out: pages are read as text"));
        } else if let Some(protocol) = walk.text_as(item, parse_protocol) {
            if protocols.contains(&protocol) {
                walk.complain(item.place, "this format is given twice");
            }
            protocols.push(protocol);
        }
    }
    let is_nothing_left = items.iter().all(|item| item.is_one_of(&[PROTOBUF]));
    if is_nothing_left {
        walk.complain(
            list.place,
            "scrape_protocols leaves no format to ask for: add OpenMetricsText1.0.0 or leave the key out",
        );
    }
    Some(protocols)
}

/// Reads `fallback_scrape_protocol`.
pub(super) fn read_fallback(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Option<Protocol> {
    let node: &Node = fields.get("fallback_scrape_protocol")?;
    walk.text_as(node, |text| match text {
        PROTOBUF => Err(format!("{PROTOBUF} cannot be read: pages are read as text, name PrometheusText0.0.4")),
        _ => parse_protocol(text),
    })
}

fn parse_protocol(text: &str) -> Result<Protocol, String> {
    let names = NAMES.map(|(name, _)| name);
    match NAMES.iter().find(|(name, _)| *name == text) {
        Some((_, protocol)) => Ok(*protocol),
        None => Err(match nearest(text, &names) {
            Some(meant) => format!("{text:?} is not a format of pages: did you mean {meant:?}?"),
            None => format!("{text:?} is not a format of pages: there are {}", names.join(", ")),
        }),
    }
}
