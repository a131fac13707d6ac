//! What an answer says beside its values.

use std::cell::RefCell;
use std::collections::BTreeSet;

/// How many of each kind are kept. Prometheus's API shows as many.
const NOTES_MAX: usize = 10;

/// Warnings and infos, each once, with Prometheus's words.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    warnings: RefCell<BTreeSet<String>>,
    infos: RefCell<BTreeSet<String>>,
}

impl Notes {
    /// Says that the answer may be wrong.
    pub(crate) fn warn(&self, text: &str) {
        keep(&self.warnings, format!("PromQL warning: {text}"));
    }

    /// Says that the question may be wrong.
    pub(crate) fn inform(&self, text: &str) {
        keep(&self.infos, format!("PromQL info: {text}"));
    }

    /// Warns of a quantile that is none.
    pub(crate) fn check_quantile(&self, quantile: f64) {
        if !(0.0..=1.0).contains(&quantile) {
            self.warn(&format!("quantile value should be between 0 and 1, got {}", display(quantile)));
        }
    }

    /// Takes over what others said.
    pub(crate) fn adopt(&self, warnings: Vec<String>, infos: Vec<String>) {
        warnings.into_iter().for_each(|text| keep(&self.warnings, text));
        infos.into_iter().for_each(|text| keep(&self.infos, text));
    }

    /// Returns the warnings and the infos, in order.
    pub(crate) fn take(self) -> (Vec<String>, Vec<String>) {
        let sorted = |notes: RefCell<BTreeSet<String>>| notes.into_inner().into_iter().collect();
        (sorted(self.warnings), sorted(self.infos))
    }
}

fn keep(notes: &RefCell<BTreeSet<String>>, text: String) {
    let mut notes = notes.borrow_mut();
    if notes.len() < NOTES_MAX {
        notes.insert(text);
    }
}

/// Writes a number as Go's `%g` does for those of everyday size.
pub(crate) fn display(value: f64) -> String {
    if value.is_infinite() { if value > 0.0 { "+Inf".into() } else { "-Inf".into() } } else { value.to_string() }
}
