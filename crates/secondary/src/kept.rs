//! Which row each series belongs to.

use std::collections::{BTreeMap, HashMap, HashSet};

use firetower_model::kept::{LabelValues, OVERFLOW, PLACE};
use firetower_model::labels::NAME;
use firetower_model::{Budget, KeptLabels, KeptReport, KeptVersion, Labels, Timestamp};

/// Row keys of one secondary. Past that many all new series go to overflow rows, and past twice that many all of a
/// job's to one row, so that no page can fill the dictionaries of the parents.
const KEYS_MAX: usize = 1 << 17;

/// Chooses row keys by the datacenter's decision, and within the budget where it has not been decided yet.
///
/// The first values of a label are kept until a parent has decided; series with others go to the row without the
/// label. So a label that explodes costs no more than its budget, whether a parent answers or not.
#[derive(Debug)]
pub(crate) struct Kept {
    budget: Budget,
    labels: KeptLabels,
    values: LabelValues,
    /// The keys that have an id, and of each job how many of them are without dropped labels.
    known: HashSet<Labels>,
    rows: HashMap<String, usize>,
    /// What the parents should hear.
    news: KeptLabels,
    changes: u64,
}

impl Kept {
    /// Starts from the decision and the row keys, in order of their ids, of earlier lives of this data directory.
    pub(crate) fn restore(budget: Budget, labels: KeptLabels, keys: Vec<Labels>) -> Kept {
        let mut values = LabelValues::default();
        for key in keys.iter().filter(|key| key.get(OVERFLOW).is_none()) {
            values.note_key(key, budget.label_values_max);
        }
        let known = keys.into_iter().collect();
        let (rows, news) = (HashMap::new(), KeptLabels::default());
        let mut kept = Kept { budget, labels, values, known, rows, news, changes: 0 };
        kept.count_rows();
        kept
    }

    /// Returns what is decided and proposed.
    pub(crate) fn labels(&self) -> &KeptLabels {
        &self.labels
    }

    /// Returns the version by which the keys of the window that starts at `start` are chosen.
    pub(crate) fn version_at(&self, start: Timestamp) -> KeptVersion {
        self.labels.version_at(start)
    }

    /// Takes over all that a parent says is decided; what that parent does not know, or the others, becomes news.
    pub(crate) fn adopt(&mut self, said: &KeptLabels) {
        let learned = self.labels.merge(said);
        self.news.merge(&self.labels.missing_in(said));
        if !learned.is_empty() {
            self.news.merge(&learned);
            self.count_rows();
        }
    }

    /// Returns what the parents have not been told yet, which then counts as told.
    pub(crate) fn take_news(&mut self) -> KeptLabels {
        std::mem::take(&mut self.news)
    }

    /// Returns a number that grows with whatever [`Kept::report`] says.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns what is to be said of the rows.
    pub(crate) fn report(&self) -> KeptReport {
        let overflow_rows = self.known.iter().filter(|key| key.get(OVERFLOW).is_some()).count();
        KeptReport {
            labels: self.labels.clone(),
            rows_by_job: self.rows.iter().map(|(job, rows)| (job.clone(), *rows as u64)).collect::<BTreeMap<_, _>>(),
            overflow_rows: overflow_rows as u64,
            ..KeptReport::new(self.budget.clone())
        }
    }

    /// Returns the key of the row that the series with these final labels belongs to in the window that starts at
    /// `start`.
    pub(crate) fn row_key(&mut self, labels: &Labels, start: Timestamp) -> Labels {
        let (name, job) = (labels.name(), labels.get("job").unwrap_or(""));
        let mut pairs = vec![(NAME, name), ("job", job)];
        for (label, value) in labels {
            let is_kept = match label {
                "instance" => self.budget.promoted.iter().any(|promoted| promoted == name),
                _ if PLACE.contains(&label) => false,
                _ => !self.labels.is_dropped(name, job, label, start) && self.is_within(name, job, label, value),
            };
            if is_kept {
                pairs.push((label, value));
            }
        }
        let key = Labels::new(pairs);
        if self.known.contains(&key) { key } else { self.place(key) }
    }

    /// Tells whether the value is one of the first of its label; proposes to drop the label if it is not.
    fn is_within(&mut self, name: &str, job: &str, label: &str, value: &str) -> bool {
        let max = self.budget.label_values_max;
        let is_within = self.values.note(name, job, label, value, max);
        if !is_within && self.labels.propose(name, job, label, max as u64 + 1) {
            self.news.propose(name, job, label, max as u64 + 1);
            self.changes += 1;
        }
        is_within
    }

    /// Makes room for a new key, or returns the overflow row's if there is none.
    fn place(&mut self, key: Labels) -> Labels {
        let (name, job) = (key.name(), key.get("job").unwrap_or(""));
        let rows = self.rows.get(job).copied().unwrap_or(0);
        let is_dead = self.labels.is_dead(&key);
        let key = if self.known.len() < KEYS_MAX && (is_dead || rows < self.budget.job_rows_max) {
            if !is_dead {
                self.rows.insert(job.to_owned(), rows + 1);
            }
            key
        } else {
            let name = if self.known.len() < 2 * KEYS_MAX { name } else { OVERFLOW };
            Labels::new([(NAME, name), ("job", job), (OVERFLOW, "true")])
        };
        self.changes += 1;
        self.known.insert(key.clone());
        key
    }

    fn count_rows(&mut self) {
        self.changes += 1;
        self.rows.clear();
        for key in self.known.iter().filter(|key| key.get(OVERFLOW).is_none() && !self.labels.is_dead(key)) {
            *self.rows.entry(key.get("job").unwrap_or("").to_owned()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn budget(label_values_max: usize, job_rows_max: usize) -> Budget {
        Budget { label_values_max, job_rows_max, promoted: vec!["up".into()] }
    }

    fn series(name: &str, label: &str, value: usize) -> Labels {
        let (instance, value) = (format!("h{value}:1"), value.to_string());
        Labels::new([
            (NAME, name),
            ("job", "node"),
            ("instance", instance.as_str()),
            ("datacenter", "dub"),
            (label, value.as_str()),
        ])
    }

    fn keys(kept: &mut Kept, count: usize, start: Timestamp) -> Vec<String> {
        (0..count).map(|value| kept.row_key(&series("m", "cpu", value), start).to_string()).collect()
    }

    #[test]
    fn a_label_with_too_many_values_is_proposed_and_goes_when_that_is_decided() {
        let mut kept = Kept::restore(budget(3, 100), KeptLabels::default(), Vec::new());
        let with = |value| format!(r#"m{{cpu="{value}",job="node"}}"#);
        let without = r#"m{job="node"}"#.to_owned();
        let within = [with(0), with(1), with(2), without.clone(), without.clone()];
        assert_eq!(keys(&mut kept, 5, at(0)), within);
        let mut decided = kept.take_news();
        assert_eq!((decided.len(), kept.take_news().len()), (1, 0));
        decided.decide(at(30));
        kept.adopt(&decided);
        assert_eq!(kept.take_news(), decided, "for the other parent");
        for (start, expected) in [(at(15), within.to_vec()), (at(30), vec![without.clone(); 5])] {
            assert_eq!(keys(&mut kept, 5, start), expected, "{start:?}");
        }
        assert_eq!((kept.version_at(at(15)).dropped, kept.version_at(at(30)).dropped), (0, 1));
        assert_eq!(kept.report().rows_by_job, [("node".to_owned(), 1)].into(), "what was dropped gives its room back");

        let known: Vec<Labels> = kept.known.iter().cloned().collect();
        let mut again = Kept::restore(budget(3, 100), kept.labels().clone(), known);
        assert_eq!(keys(&mut again, 5, at(15)), within, "a window made again after a restart");
        assert_eq!((again.report(), again.take_news().len()), (kept.report(), 0));
        again.adopt(&KeptLabels::default());
        assert_eq!(again.take_news(), decided, "a parent that has lost what it knew");
    }

    #[test]
    fn promoted_names_keep_their_instance() {
        let mut kept = Kept::restore(budget(3, 100), KeptLabels::default(), Vec::new());
        let key = kept.row_key(&series("up", "x", 1), at(0));
        assert_eq!(key.to_string(), r#"up{instance="h1:1",job="node",x="1"}"#);
    }

    #[test]
    fn rows_past_the_budget_of_a_job_share_one() {
        let mut kept = Kept::restore(budget(100, 2), KeptLabels::default(), Vec::new());
        let overflow = r#"m{__overflow__="true",job="node"}"#;
        let expected = [r#"m{cpu="0",job="node"}"#, r#"m{cpu="1",job="node"}"#, overflow, overflow];
        assert_eq!(keys(&mut kept, 4, at(0)), expected);
        assert_eq!((kept.report().overflow_rows, kept.report().rows_by_job["node"]), (1, 2));
        let mut again = Kept::restore(budget(100, 2), KeptLabels::default(), kept.known.iter().cloned().collect());
        assert_eq!(keys(&mut again, 4, at(0)), expected, "after a restart");
    }
}
