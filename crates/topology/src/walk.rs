//! The walk over a tree of YAML: typed values out of text, and a complaint for everything that is not as it must be.
//!
//! A reader never stops at a fault. Where a value cannot be read, it complains and goes on with the default; the
//! whole is thrown away in the end if there was any complaint.

mod fields;

use crate::complaint::{Complaint, Place};
use crate::yaml::{Entry, Node, Value};

pub(crate) use fields::Fields;

/// What is said of a value that is not there.
const NO_VALUE: &str = "must have a value";

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
            Value::Null => Err(NO_VALUE.into()),
            Value::List(_) => Err("must be a single value, not a list".into()),
            Value::Map(_) => Err("must be a single value, not a mapping".into()),
        };
        result.map_err(|message| self.complain(node.place, message)).ok()
    }

    pub(crate) fn text(&mut self, node: &Node) -> Option<String> {
        self.text_as(node, |text| Ok(text.to_owned()))
    }

    /// Returns the items of a list, none of which may be without a value; nothing and a complaint if it is none.
    pub(crate) fn items<'t>(&mut self, node: &'t Node) -> &'t [Node] {
        match &node.value {
            Value::List(items) => {
                for item in items.iter().filter(|item| matches!(item.value, Value::Null)) {
                    self.complain(item.place, NO_VALUE);
                }
                return items;
            }
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

    /// Returns names with their values, sorted by name. A name may be any UTF-8, but not empty.
    pub(crate) fn labels(&mut self, node: &Node) -> Vec<(String, String)> {
        let entries = self.entries(node);
        for entry in entries.iter().filter(|entry| entry.key.is_empty()) {
            self.complain(entry.key_place, "the name of a label must not be empty");
        }
        let mut labels: Vec<(String, String)> =
            entries.iter().filter_map(|entry| Some((entry.key.clone(), self.text(&entry.value)?))).collect();
        labels.sort();
        labels
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
