//! A mapping whose keys are known beforehand.

use std::time::Duration;

use super::{Walk, nearest};
use crate::complaint::Place;
use crate::keys::{Fate, Key};
use crate::quantity::{parse_duration, parse_size};
use crate::yaml::{Entry, Node, Value};

/// The keys of one mapping whose keys are known beforehand.
pub(crate) struct Fields<'t> {
    /// What the mapping is, for sentences: `a datacenter`.
    what: &'static str,
    pub(crate) place: Place,
    entries: Vec<&'t Entry>,
}

impl<'t> Fields<'t> {
    /// Takes a mapping and complains about each key that is not in `known`, with the advice there is for it.
    pub(crate) fn new(
        walk: &mut Walk<'_>,
        node: &'t Node,
        what: &'static str,
        known: &[&str],
        advice: impl Fn(&str) -> Option<String>,
    ) -> Fields<'t> {
        let entries = walk.entries(node);
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let message = advice(&entry.key).unwrap_or_else(|| unknown(&entry.key, what, known));
            walk.complain(entry.key_place, message);
        }
        Fields { what, place: node.place, entries }
    }

    /// Takes a mapping and warns and complains as `tables` say.
    pub(crate) fn of(walk: &mut Walk<'_>, node: &'t Node, what: &'static str, tables: &[&'static [Key]]) -> Fields<'t> {
        let keys = || tables.iter().copied().flatten();
        let entries = walk.entries(node);
        for entry in &entries {
            let is_absent = matches!(entry.value.value, Value::Null);
            match keys().find(|key| key.name == entry.key).map(|key| &key.fate) {
                Some(Fate::Warned { reason, harmless }) if !is_absent && !entry.value.is_one_of(harmless) => {
                    walk.warn(entry.key_place, format!("{} does nothing here: {reason}", entry.key));
                }
                Some(Fate::Refused(advice)) if !is_absent => {
                    walk.complain(entry.key_place, format!("{} is not supported: {advice}", entry.key));
                }
                Some(_) => {}
                None => {
                    let taken = keys().filter(|key| !matches!(key.fate, Fate::Refused(_)));
                    let known: Vec<&str> = taken.map(|key| key.name).collect();
                    walk.complain(entry.key_place, unknown(&entry.key, what, &known));
                }
            }
        }
        Fields { what, place: node.place, entries }
    }

    /// Returns the value of a key that is there, even if it is without one.
    pub(crate) fn written(&self, key: &str) -> Option<&'t Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Returns the entry of a key; one without a value counts as absent.
    pub(crate) fn entry(&self, key: &str) -> Option<&'t Entry> {
        self.entries.iter().find(|entry| entry.key == key && !matches!(entry.value.value, Value::Null)).copied()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'t Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Returns where a key's value is, or the mapping itself if there is none.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.get(key).map_or(self.place, |node| node.place)
    }

    pub(crate) fn text(&self, walk: &mut Walk<'_>, key: &str) -> Option<String> {
        walk.text(self.get(key)?)
    }

    /// Returns a text that is one of `words`.
    pub(crate) fn word(&self, walk: &mut Walk<'_>, key: &str, words: &[&str]) -> Option<String> {
        walk.text_as(self.get(key)?, |text| match words.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(format!("{key} {text:?} is none of {}", words.join(", "))),
        })
    }

    /// Returns a value that must be there and not be empty; complains if it is not.
    pub(crate) fn required(&self, walk: &mut Walk<'_>, key: &str) -> String {
        let Some(node) = self.get(key) else {
            walk.complain(self.place, format!("{} needs the key {key:?}", self.what));
            return String::new();
        };
        let text = walk.text(node).unwrap_or_default();
        if text.is_empty() && matches!(node.value, Value::Text(_)) {
            walk.complain(node.place, format!("{key:?} must not be empty"));
        }
        text
    }

    /// Returns a duration longer than zero.
    pub(crate) fn duration(&self, walk: &mut Walk<'_>, key: &str) -> Option<Duration> {
        walk.text_as(self.get(key)?, |text| match parse_duration(text)? {
            Duration::ZERO => Err(format!("{key} must be longer than zero")),
            duration => Ok(duration),
        })
    }

    pub(crate) fn size(&self, walk: &mut Walk<'_>, key: &str) -> Option<u64> {
        walk.text_as(self.get(key)?, parse_size)
    }

    pub(crate) fn count(&self, walk: &mut Walk<'_>, key: &str) -> Option<u64> {
        walk.text_as(self.get(key)?, |text| text.parse().map_err(|_| format!("{text:?} is not a whole number")))
    }

    pub(crate) fn flag(&self, walk: &mut Walk<'_>, key: &str) -> Option<bool> {
        walk.text_as(self.get(key)?, |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            _ => Err(format!("{text:?} must be true or false")),
        })
    }

    pub(crate) fn items(&self, walk: &mut Walk<'_>, key: &str) -> &'t [Node] {
        self.get(key).map_or(&[], |node| walk.items(node))
    }

    pub(crate) fn texts(&self, walk: &mut Walk<'_>, key: &str) -> Vec<String> {
        self.get(key).map_or(Vec::new(), |node| walk.texts(node))
    }

    pub(crate) fn labels(&self, walk: &mut Walk<'_>, key: &str) -> Vec<(String, String)> {
        self.get(key).map_or(Vec::new(), |node| walk.labels(node))
    }
}

fn unknown(key: &str, what: &str, known: &[&str]) -> String {
    let is_its_end = |known: &&&str| known.strip_suffix(key).is_some_and(|start| start.ends_with('_'));
    match nearest(key, known).or_else(|| known.iter().find(is_its_end).copied()) {
        Some(meant) => format!("unknown key {key:?} in {what}: did you mean {meant:?}?"),
        None => format!("unknown key {key:?} in {what}"),
    }
}
