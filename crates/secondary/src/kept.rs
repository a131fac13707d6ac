//! Which labels a row keeps, by a fixed budget.

use std::collections::{BTreeSet, HashMap, HashSet};

use firetower_model::Labels;
use firetower_model::labels::NAME;

/// Labels that never enter a row key: the first is its own part of it, the others name the place.
const PLACE: [&str; 5] = [NAME, "job", "instance", "region", "datacenter"];

/// The label of the row that takes what is over the budget of rows.
const OVERFLOW: &str = "__overflow__";

/// How much may go up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Budget {
    /// A label is kept while it has at most so many values per (name, job).
    pub(crate) label_values_max: usize,
    /// Past so many rows of a job, one overflow row per name takes the rest.
    pub(crate) job_rows_max: usize,
    /// Names whose rows keep `instance`.
    pub(crate) promoted: Vec<String>,
}

/// Chooses row keys, and remembers which labels had too many values.
///
/// A label once dropped stays dropped, so that the rows of a restart are the rows from before it.
#[derive(Debug)]
pub(crate) struct Kept {
    budget: Budget,
    values: HashMap<(String, String, String), HashSet<String>>,
    dropped: BTreeSet<(String, String, String)>,
    rows: HashMap<String, HashSet<Labels>>,
}

impl Kept {
    /// Starts from the row keys and the dropped labels of earlier lives of this data directory.
    pub(crate) fn restore(budget: Budget, keys: impl IntoIterator<Item = Labels>, dropped: &[u8]) -> Kept {
        let dropped: BTreeSet<_> = String::from_utf8_lossy(dropped).split('\0').filter_map(parse_dropped).collect();
        let mut kept = Kept { budget, values: HashMap::new(), dropped, rows: HashMap::new() };
        for key in keys {
            let job = key.get("job").unwrap_or("").to_owned();
            for (label, value) in key.iter().filter(|(label, _)| !PLACE.contains(label)) {
                let of = (key.name().to_owned(), job.clone(), label.to_owned());
                kept.values.entry(of).or_default().insert(value.to_owned());
            }
            kept.rows.entry(job).or_default().insert(key);
        }
        kept
    }

    /// Returns the dropped labels, for [`Kept::restore`].
    pub(crate) fn dropped_bytes(&self) -> Vec<u8> {
        let lines: Vec<String> =
            self.dropped.iter().map(|(name, job, label)| format!("{name}\u{1}{job}\u{1}{label}")).collect();
        lines.join("\0").into_bytes()
    }

    /// Returns how many labels were dropped; grows when one more is.
    pub(crate) fn dropped_count(&self) -> usize {
        self.dropped.len()
    }

    /// Returns the key of the row that the series with these final labels belongs to.
    pub(crate) fn row_key(&mut self, labels: &Labels) -> Labels {
        let (name, job) = (labels.name().to_owned(), labels.get("job").unwrap_or("").to_owned());
        let is_promoted = self.budget.promoted.contains(&name);
        let mut pairs = vec![(NAME, name.as_str()), ("job", job.as_str())];
        for (label, value) in labels {
            let is_kept = match label {
                "instance" => is_promoted,
                _ if PLACE.contains(&label) => false,
                _ => self.is_kept(&name, &job, label, value),
            };
            if is_kept {
                pairs.push((label, value));
            }
        }
        let key = Labels::new(pairs);
        let rows = self.rows.entry(job.clone()).or_default();
        if !rows.contains(&key) && rows.len() >= self.budget.job_rows_max {
            return Labels::new([(NAME, name.as_str()), ("job", &job), (OVERFLOW, "true")]);
        }
        rows.insert(key.clone());
        key
    }

    fn is_kept(&mut self, name: &str, job: &str, label: &str, value: &str) -> bool {
        let of = (name.to_owned(), job.to_owned(), label.to_owned());
        if self.dropped.contains(&of) {
            return false;
        }
        let values = self.values.entry(of.clone()).or_default();
        if values.contains(value) || values.len() < self.budget.label_values_max {
            values.insert(value.to_owned());
            return true;
        }
        self.values.remove(&of);
        self.dropped.insert(of);
        false
    }
}

fn parse_dropped(line: &str) -> Option<(String, String, String)> {
    let mut parts = line.split('\u{1}').map(str::to_owned);
    Some((parts.next()?, parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, label: &str, value: usize) -> Labels {
        Labels::new([
            (NAME, name.to_owned()),
            ("job", "node".into()),
            ("instance", format!("h{value}:1")),
            ("datacenter", "dub".into()),
            (label, value.to_string()),
        ])
    }

    #[test]
    fn a_label_goes_when_it_has_too_many_values_and_stays_gone() {
        let budget = Budget { label_values_max: 3, job_rows_max: 100, promoted: vec!["up".into()] };
        let mut kept = Kept::restore(budget.clone(), [], &[]);
        let mut keys: Vec<Labels> = (0..5).map(|value| kept.row_key(&series("m", "cpu", value))).collect();
        assert_eq!(keys[2].to_string(), r#"m{cpu="2",job="node"}"#);
        assert_eq!(keys[4].to_string(), r#"m{job="node"}"#);
        assert_eq!(kept.row_key(&series("up", "x", 1)).to_string(), r#"up{instance="h1:1",job="node",x="1"}"#);
        keys.dedup();
        let mut again = Kept::restore(budget, keys, &kept.dropped_bytes());
        assert_eq!(again.row_key(&series("m", "cpu", 0)).to_string(), r#"m{job="node"}"#);
    }

    #[test]
    fn rows_past_the_budget_of_a_job_share_one() {
        let mut kept = Kept::restore(Budget { label_values_max: 100, job_rows_max: 2, promoted: Vec::new() }, [], &[]);
        let keys: Vec<String> = (0..4).map(|value| kept.row_key(&series("m", "cpu", value)).to_string()).collect();
        assert_eq!(keys[1], r#"m{cpu="1",job="node"}"#);
        assert_eq!(keys[2..], [r#"m{__overflow__="true",job="node"}"#, r#"m{__overflow__="true",job="node"}"#]);
    }
}
