//! A set of labels while it is being rewritten.

use std::collections::BTreeMap;

/// Labels by name, none of them empty, each with whether it was written here or was there from the start.
#[derive(Debug, Default)]
pub(crate) struct LabelSet(BTreeMap<String, Label>);

#[derive(Debug)]
struct Label {
    value: String,
    is_written: bool,
}

impl LabelSet {
    /// Takes labels as they were before anything was written; empty ones are left out.
    pub(crate) fn new<N: Into<String>, V: Into<String>>(labels: impl IntoIterator<Item = (N, V)>) -> LabelSet {
        let labels = labels.into_iter().map(|(name, value)| (name.into(), value.into()));
        let labels = labels.filter(|(_, value): &(String, String)| !value.is_empty());
        LabelSet(labels.map(|(name, value)| (name, Label { value, is_written: false })).collect())
    }

    /// Returns a label's value, which is empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |label| &label.value)
    }

    /// Writes a label; an empty value takes it away.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name.to_owned(), Label { value, is_written: true });
        }
    }

    /// Writes a label that is not there yet.
    pub(crate) fn set_default(&mut self, name: &str, value: &str) {
        if self.get(name).is_empty() {
            self.set(name, value);
        }
    }

    pub(crate) fn retain(&mut self, mut is_kept: impl FnMut(&str) -> bool) {
        self.0.retain(|name, _| is_kept(name));
    }

    /// Returns names and values in order of the names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, label)| (name.as_str(), label.value.as_str()))
    }

    /// Returns names and values of what was written.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&str, &str)> {
        let written = self.0.iter().filter(|(_, label)| label.is_written);
        written.map(|(name, label)| (name.as_str(), label.value.as_str()))
    }
}
