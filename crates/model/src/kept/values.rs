//! Which values the labels of rows have had.

use std::collections::{HashMap, HashSet};

use crate::kept::PLACE;
use crate::labels::Labels;

type ByLabel = HashMap<Box<str>, HashSet<Box<str>>>;

/// The values that each label of (name, job) has had, up to a limit.
#[derive(Clone, Debug, Default)]
pub struct LabelValues(HashMap<Box<str>, HashMap<Box<str>, ByLabel>>);

impl LabelValues {
    /// Notes a value; returns whether it is one of the first `max`. One that is not is not remembered.
    pub fn note(&mut self, name: &str, job: &str, label: &str, value: &str, max: usize) -> bool {
        if let Some(values) = self.0.get(name).and_then(|jobs| jobs.get(job)).and_then(|labels| labels.get(label)) {
            if values.contains(value) {
                return true;
            }
            if values.len() >= max {
                return false;
            }
        }
        let by_label = self.0.entry(name.into()).or_default().entry(job.into()).or_default();
        max > 0 && by_label.entry(label.into()).or_default().insert(value.into())
    }

    /// Notes the values of a row's key; returns the labels of which it brings one too many.
    pub fn note_key<'a>(&mut self, key: &'a Labels, max: usize) -> Vec<&'a str> {
        let (name, job) = (key.name(), key.get("job").unwrap_or(""));
        let kept = key.iter().filter(|(label, _)| !PLACE.contains(label));
        kept.filter(|(label, value)| !self.note(name, job, label, value, max)).map(|(label, _)| label).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_count_once_and_up_to_the_limit() {
        let mut values = LabelValues::default();
        let noted = ["a", "b", "a", "c", "b", "c"].map(|value| values.note("m", "j", "l", value, 2));
        assert_eq!(noted, [true, true, true, false, true, false]);
        assert!(values.note("m", "other", "l", "c", 2) && !values.note("m", "none", "l", "c", 0));
        let key = Labels::new([("__name__", "m"), ("job", "j"), ("instance", "i"), ("l", "c"), ("k", "c")]);
        assert_eq!(values.note_key(&key, 2), ["l"]);
    }
}
