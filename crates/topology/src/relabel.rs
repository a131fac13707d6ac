//! Relabelling: rules that rewrite, keep or drop sets of labels.
//!
//! Source: Prometheus `model/relabel/relabel.go`.

mod label_set;
mod pattern;
mod read;

use regex::Regex;

pub(crate) use label_set::LabelSet;
pub(crate) use read::read_rules;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writes the replacement into the target label where the regex matches.
    Replace,
    /// Drops the set unless the regex matches.
    Keep,
    /// Drops the set if the regex matches.
    Drop,
    /// Drops the set unless the target label equals the source.
    KeepEqual,
    /// Drops the set if the target label equals the source.
    DropEqual,
    /// Writes the source's hash modulo the modulus into the target label.
    HashMod,
    /// Writes the source in lower case into the target label.
    Lowercase,
    /// Writes the source in upper case into the target label.
    Uppercase,
    /// Copies each label whose name matches to the name that the replacement gives.
    LabelMap,
    /// Takes away each label whose name matches.
    LabelDrop,
    /// Takes away each label whose name does not match.
    LabelKeep,
}

/// One rule of `relabel_configs` or `metric_relabel_configs`, checked and compiled.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) source_labels: Vec<String>,
    pub(crate) separator: String,
    /// Matches only the whole of its input; `.` matches a line feed too.
    pub(crate) regex: Regex,
    pub(crate) modulus: u64,
    pub(crate) target_label: String,
    pub(crate) replacement: String,
    pub(crate) action: Action,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        self.source_labels == other.source_labels
            && self.separator == other.separator
            && self.regex.as_str() == other.regex.as_str()
            && self.modulus == other.modulus
            && self.target_label == other.target_label
            && self.replacement == other.replacement
            && self.action == other.action
    }
}

impl Rule {
    /// Tells whether what it does may depend on the value (not only on the presence) of the label `name`.
    pub(crate) fn reads(&self, name: &str) -> bool {
        match self.action {
            Action::LabelMap => self.regex.is_match(name),
            Action::LabelDrop | Action::LabelKeep => false,
            Action::KeepEqual | Action::DropEqual if self.target_label == name => true,
            _ => self.source_labels.iter().any(|label| label == name),
        }
    }

    /// Changes `labels`; returns whether they are kept.
    fn apply(&self, labels: &mut LabelSet) -> bool {
        let values: Vec<&str> = self.source_labels.iter().map(|name| labels.get(name)).collect();
        let value = values.join(&self.separator);
        match self.action {
            Action::Keep => return self.regex.is_match(&value),
            Action::Drop => return !self.regex.is_match(&value),
            Action::KeepEqual => return labels.get(&self.target_label) == value,
            Action::DropEqual => return labels.get(&self.target_label) != value,
            Action::Replace => self.replace(labels, &value),
            Action::HashMod => labels.set(&self.target_label, hash_modulo(&value, self.modulus).to_string()),
            Action::Lowercase => labels.set(&self.target_label, lowercase(&value)),
            Action::Uppercase => labels.set(&self.target_label, uppercase(&value)),
            Action::LabelMap => self.map_names(labels),
            Action::LabelDrop => labels.retain(|name| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name| self.regex.is_match(name)),
        }
        true
    }

    fn replace(&self, labels: &mut LabelSet, value: &str) {
        let Some(captures) = self.regex.captures(value) else { return };
        let (mut name, mut replacement) = (String::new(), String::new());
        captures.expand(&self.target_label, &mut name);
        captures.expand(&self.replacement, &mut replacement);
        if !name.is_empty() {
            labels.set(&name, replacement);
        }
    }

    fn map_names(&self, labels: &mut LabelSet) {
        let mapped = labels.iter().filter_map(|(name, value)| {
            let mut new_name = String::new();
            self.regex.captures(name)?.expand(&self.replacement, &mut new_name);
            (!new_name.is_empty()).then(|| (new_name, value.to_owned()))
        });
        for (name, value) in mapped.collect::<Vec<_>>() {
            labels.set(&name, value);
        }
    }
}

/// Returns the last 8 bytes of the MD5, the first of them the highest, modulo `modulus`.
fn hash_modulo(value: &str, modulus: u64) -> u64 {
    let low = u128::from_be_bytes(md5::compute(value).0) & u128::from(u64::MAX);
    (low % u128::from(modulus)) as u64
}

/// Writes each character in lower case on its own, as Go does: a final sigma is like any other.
fn lowercase(text: &str) -> String {
    text.chars().filter_map(|c| c.to_lowercase().next()).collect()
}

/// Writes each character in upper case that has one of a single character, as Go does: `ß` stays.
fn uppercase(text: &str) -> String {
    let upper = |c: char| {
        let mut upper = c.to_uppercase();
        if upper.len() == 1 { upper.next().unwrap_or(c) } else { c }
    };
    text.chars().map(upper).collect()
}

/// Applies `rules` in order; returns whether the set is kept.
pub(crate) fn apply(rules: &[Rule], labels: &mut LabelSet) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

/// Returns `labels` after `rules` in order, sorted by name and without empty values; `None` if they drop the set.
///
/// `$1`, `${1}` and `$name` in a replacement and in a target label stand for what the regex caught.
pub fn relabel(rules: &[Rule], labels: Vec<(String, String)>) -> Option<Vec<(String, String)>> {
    let mut set = LabelSet::new(labels);
    apply(rules, &mut set).then(|| set.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests;
