//! Rules out of a file.

use regex::Regex;

use super::{Action, Rule};
use crate::walk::{Fields, Walk, nearest};
use crate::yaml::Node;

const KEYS: [&str; 7] = ["source_labels", "separator", "target_label", "regex", "modulus", "replacement", "action"];

const ACTIONS: [(&str, Action); 10] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
];

const SEPARATOR: &str = ";";
const REGEX: &str = "(.*)";
const REPLACEMENT: &str = "$1";

/// Reads a list of rules; what cannot be read is left out after a complaint.
pub(crate) fn read_rules(walk: &mut Walk<'_>, items: &[Node]) -> Vec<Rule> {
    items.iter().filter_map(|item| read_rule(walk, item)).collect()
}

fn read_rule(walk: &mut Walk<'_>, node: &Node) -> Option<Rule> {
    let fields = Fields::new(walk, node, "a relabelling rule", &KEYS, |_| None);
    let action = match fields.get("action") {
        None => Some(Action::Replace),
        Some(node) => walk.text_as(node, parse_action),
    };
    let regex = match fields.get("regex") {
        None => compile(REGEX).ok(),
        Some(node) => walk.text_as(node, compile),
    };
    let rule = Rule {
        source_labels: fields.texts(walk, "source_labels"),
        separator: fields.text(walk, "separator").unwrap_or_else(|| SEPARATOR.into()),
        regex: regex?,
        target_label: fields.text(walk, "target_label").unwrap_or_default(),
        replacement: fields.text(walk, "replacement").unwrap_or_else(|| REPLACEMENT.into()),
        action: action?,
    };
    check_keys_fit(walk, &fields, &rule);
    Some(rule)
}

fn parse_action(text: &str) -> Result<Action, String> {
    let word = text.to_lowercase();
    if word == "hashmod" {
        let advice = "the primary shares the targets out among its secondaries by itself";
        return Err(format!("the action hashmod is not supported by this release: {advice}"));
    }
    let found = ACTIONS.iter().find(|(name, _)| *name == word).map(|(_, action)| *action);
    found.ok_or_else(|| match nearest(&word, &ACTIONS.map(|(name, _)| name)) {
        Some(meant) => format!("unknown action {text:?}: did you mean {meant:?}?"),
        None => format!("unknown action {text:?}"),
    })
}

fn compile(text: &str) -> Result<Regex, String> {
    Regex::new(text).and_then(|_| Regex::new(&format!("^(?s:{text})$"))).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
        format!("{text:?} is not a regular expression: {reason}")
    })
}

/// Complains about what an action needs and does not have, and the other way round.
fn check_keys_fit(walk: &mut Walk<'_>, fields: &Fields<'_>, rule: &Rule) {
    let word = ACTIONS.iter().find(|(_, action)| *action == rule.action).map_or("", |(name, _)| name);
    let (needed, unused): (&[&str], &[&str]) = match rule.action {
        Action::Replace => (&["target_label"], &["modulus"]),
        Action::Keep | Action::Drop => (&[], &["modulus"]),
        Action::Lowercase | Action::Uppercase => (&["target_label"], &["replacement", "modulus"]),
        Action::KeepEqual | Action::DropEqual => (&["target_label"], &["separator", "regex", "replacement", "modulus"]),
        Action::LabelMap => (&[], &["modulus"]),
        Action::LabelDrop | Action::LabelKeep => {
            (&[], &["source_labels", "separator", "target_label", "replacement", "modulus"])
        }
    };
    for key in needed.iter().filter(|key| fields.get(key).is_none()) {
        walk.complain(fields.place, format!("the action {word} needs the key {key:?}"));
    }
    for entry in unused.iter().filter_map(|key| fields.entry(key)) {
        walk.complain(entry.key_place, format!("the action {word} has no use for the key {:?}", entry.key));
    }
}
