//! The walk over a tree of YAML: typed values out of text, and a complaint for everything that is not as it must be.
//!
//! A reader never stops at a fault. Where a value cannot be read, it complains and goes on with the default; the
//! whole is thrown away in the end if there was any complaint.

use std::time::Duration;

use crate::complaint::{Complaint, Place};
use crate::quantity::{parse_duration, parse_size};
use crate::yaml::{Entry, Node, Value};

/// Collects what is wrong with one file.
pub(crate) struct Walk<'a> {
    file: &'a str,
    complaints: Vec<Complaint>,
    warnings: Vec<Complaint>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(file: &'a str) -> Walk<'a> {
        Walk { file, complaints: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) fn complain(&mut self, place: Place, message: impl Into<String>) {
        let complaint = self.at(place, message.into());
        self.complaints.push(complaint);
    }

    pub(crate) fn warn(&mut self, place: Place, message: impl Into<String>) {
        let warning = self.at(place, message.into());
        self.warnings.push(warning);
    }

    fn at(&self, place: Place, message: String) -> Complaint {
        Complaint { file: self.file.to_owned(), line: place.line, column: place.column, message }
    }

    /// Returns the warnings, or every complaint; either in the order of the file.
    pub(crate) fn finish(mut self) -> Result<Vec<Complaint>, Vec<Complaint>> {
        let in_file_order = |a: &Complaint, b: &Complaint| (a.line, a.column).cmp(&(b.line, b.column));
        self.complaints.sort_by(in_file_order);
        self.complaints.dedup();
        self.warnings.sort_by(in_file_order);
        if self.complaints.is_empty() { Ok(self.warnings) } else { Err(self.complaints) }
    }

    /// Returns what `read` makes of a value, or complains with what it says.
    pub(crate) fn text_as<T>(&mut self, node: &Node, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let result = match &node.value {
            Value::Text(text) => read(text),
            Value::Null => Err("must have a value".into()),
            Value::List(_) => Err("must be a single value, not a list".into()),
            Value::Map(_) => Err("must be a single value, not a mapping".into()),
        };
        result.map_err(|message| self.complain(node.place, message)).ok()
    }

    pub(crate) fn text(&mut self, node: &Node) -> Option<String> {
        self.text_as(node, |text| Ok(text.to_owned()))
    }

    /// Returns the items of a list; nothing and a complaint if it is none.
    pub(crate) fn items<'t>(&mut self, node: &'t Node) -> &'t [Node] {
        match &node.value {
            Value::List(items) => return items,
            Value::Null => {}
            Value::Text(_) => self.complain(node.place, "must be a list, not a single value"),
            Value::Map(_) => self.complain(node.place, "must be a list, not a mapping"),
        }
        &[]
    }

    /// Returns the entries of a mapping, each key once, and complains about those repeated and about anything else.
    pub(crate) fn entries<'t>(&mut self, node: &'t Node) -> Vec<&'t Entry> {
        let Value::Map(entries) = &node.value else {
            if !matches!(node.value, Value::Null) {
                self.complain(node.place, "must be a mapping of keys to values");
            }
            return Vec::new();
        };
        let mut unique: Vec<&Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match unique.iter().find(|first| first.key == entry.key) {
                None => unique.push(entry),
                Some(first) => {
                    let message = format!("the key {:?} is given twice, first at {}", entry.key, first.key_place);
                    self.complain(entry.key_place, message);
                }
            }
        }
        unique
    }

    pub(crate) fn texts(&mut self, node: &Node) -> Vec<String> {
        self.items(node).iter().filter_map(|item| self.text(item)).collect()
    }

    /// Returns names with their values, sorted by name.
    pub(crate) fn labels(&mut self, node: &Node) -> Vec<(String, String)> {
        let entries = self.entries(node);
        let mut labels: Vec<(String, String)> =
            entries.iter().filter_map(|entry| Some((entry.key.clone(), self.text(&entry.value)?))).collect();
        labels.sort();
        labels
    }
}

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
        for entry in &entries {
            let key = entry.key.as_str();
            if known.contains(&key) {
                continue;
            }
            let message = advice(key).unwrap_or_else(|| match nearest(key, known) {
                Some(meant) => format!("unknown key {key:?} in {what}: did you mean {meant:?}?"),
                None => format!("unknown key {key:?} in {what}"),
            });
            walk.complain(entry.key_place, message);
        }
        Fields { what, place: node.place, entries }
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
        walk.text_as(self.get(key)?, |text| match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
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

/// Returns that of the `known` words which `word` most likely was meant to be.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let edits_max = (word.chars().count() / 3).clamp(1, 3);
    let closest = known.iter().map(|candidate| (edits(word, candidate), *candidate)).min()?;
    (closest.0 <= edits_max).then_some(closest.1)
}

/// Returns how many letters must be put in, taken out or changed to get from `a` to `b` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found() {
        let known = ["scrape_interval", "scrape_timeout", "window", "raw", "5m"];
        let cases = [
            ("scrape_intervall", Some("scrape_interval")),
            ("scrape-interval", Some("scrape_interval")),
            ("windw", Some("window")),
            ("rwa", None),
            ("row", Some("raw")),
            ("interval", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }
}
