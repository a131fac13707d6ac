//! Rules out of a file.
//!
//! Source: Prometheus `model/relabel/relabel.go`, `Config.Validate`.

use super::pattern::compile;
use super::{Action, Rule};
use crate::scrape_config::RULE;
use crate::walk::{Fields, Walk, nearest};
use crate::yaml::{Node, Value};

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
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
    let fields = Fields::of(walk, node, "a relabelling rule", &[RULE]);
    let action = match fields.get("action") {
        None => Some(Action::Replace),
        Some(node) => walk.text_as(node, parse_action),
    };
    let regex = match fields.written("regex") {
        None => compile(REGEX).ok(),
        Some(Node { value: Value::Null, .. }) => compile("").ok(),
        Some(node) => walk.text_as(node, compile),
    };
    let rule = Rule {
        source_labels: fields.texts(walk, "source_labels"),
        separator: read_text(walk, &fields, "separator", SEPARATOR),
        regex: regex?,
        modulus: fields.count(walk, "modulus").unwrap_or(0),
        target_label: fields.text(walk, "target_label").unwrap_or_default(),
        replacement: read_text(walk, &fields, "replacement", REPLACEMENT),
        action: action?,
    };
    check_what_is_needed(walk, &fields, &rule);
    check_what_is_of_no_use(walk, &fields, &rule);
    Some(rule)
}

/// Reads a text; a key without a value is an empty one, as in Prometheus.
fn read_text(walk: &mut Walk<'_>, fields: &Fields<'_>, key: &str, default: &str) -> String {
    match fields.written(key) {
        None => default.to_owned(),
        Some(Node { value: Value::Null, .. }) => String::new(),
        Some(node) => walk.text(node).unwrap_or_default(),
    }
}

fn parse_action(text: &str) -> Result<Action, String> {
    let word = text.to_lowercase();
    let found = ACTIONS.iter().find(|(name, _)| *name == word).map(|(_, action)| *action);
    found.ok_or_else(|| match nearest(&word, &ACTIONS.map(|(name, _)| name)) {
        Some(meant) => format!("unknown action {text:?}: did you mean {meant:?}?"),
        None => format!("unknown action {text:?}"),
    })
}

fn check_what_is_needed(walk: &mut Walk<'_>, fields: &Fields<'_>, rule: &Rule) {
    let word = word(rule.action);
    let needs_target =
        !matches!(rule.action, Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep);
    if needs_target && rule.target_label.is_empty() {
        walk.complain(fields.place, format!("the action {word} needs the key \"target_label\""));
    }
    if rule.action == Action::HashMod && rule.modulus == 0 {
        walk.complain(fields.place, format!("the action {word} needs the key \"modulus\", larger than 0"));
    }
    if rule.action == Action::LabelMap && rule.replacement.is_empty() {
        walk.complain(fields.place_of("replacement"), format!("the action {word} needs a replacement, for the names"));
    }
}

/// Complains about keys that say something which the action would not do. Their defaults may be written out, as
/// Prometheus does where it shows its configuration.
fn check_what_is_of_no_use(walk: &mut Walk<'_>, fields: &Fields<'_>, rule: &Rule) {
    let unused: &[&str] = match rule.action {
        Action::Lowercase | Action::Uppercase => &["replacement"],
        Action::KeepEqual | Action::DropEqual => &["separator", "regex", "replacement", "modulus"],
        Action::LabelDrop | Action::LabelKeep => {
            &["source_labels", "separator", "target_label", "replacement", "modulus"]
        }
        _ => &[],
    };
    for entry in unused.iter().filter_map(|key| fields.entry(key)) {
        let default = match entry.key.as_str() {
            "separator" => SEPARATOR,
            "regex" => REGEX,
            "replacement" => REPLACEMENT,
            "modulus" => "0",
            _ => "",
        };
        if !entry.value.is_one_of(&[default]) {
            let message = format!("the action {} has no use for the key {:?}", word(rule.action), entry.key);
            walk.complain(entry.key_place, message);
        }
    }
}

fn word(action: Action) -> &'static str {
    ACTIONS.iter().find(|(_, known)| *known == action).map_or("", |(name, _)| name)
}
