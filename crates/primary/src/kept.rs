//! The datacenter's decision which labels its rows keep, and the keys that rows go up under.

use std::collections::{BTreeMap, HashMap, HashSet};

use firetower_model::kept::{LabelValues, OVERFLOW};
use firetower_model::labels::NAME;
use firetower_model::{Budget, KeptLabels, KeptReport, KeptVersion, Labels, RowId, Timestamp};
use firetower_store::{Batch, Error, Store};

/// Under which note the decision is kept.
const KEPT_NOTE: &str = "kept/labels";
/// Row ids whose keys are remembered; past that many they are looked up anew.
const OUTPUTS_MAX: usize = 1 << 20;

/// Counts what the children name, decides which labels go, and says under which key a row goes up.
///
/// All of it follows from the decision and from the store's row keys in order of their ids, so that it is the same
/// after a restart.
pub(crate) struct Kept {
    store: Store,
    budget: Budget,
    labels: KeptLabels,
    values: LabelValues,
    /// How many row ids have been counted: all under it.
    counted: u32,
    rows: BTreeMap<String, u64>,
    overflow_rows: u64,
    /// Rows past the budget of their job.
    over: HashSet<RowId>,
    /// The key that a row goes up under, by what the decision's version is.
    outputs: HashMap<(KeptVersion, RowId), RowId>,
    projected: u64,
    has_proposals: bool,
    is_unsaid: bool,
}

impl Kept {
    /// Starts from the decision and the row keys that the store holds.
    pub(crate) fn open(store: Store, budget: Budget) -> Result<Kept, crate::Error> {
        let note = store.note(KEPT_NOTE)?;
        let labels: KeptLabels = note.map(|bytes| firetower_wire::decode_kept(&bytes)).transpose()?.unwrap_or_default();
        let mut kept = Kept {
            store,
            budget,
            labels,
            values: LabelValues::default(),
            counted: 0,
            rows: BTreeMap::new(),
            overflow_rows: 0,
            over: HashSet::new(),
            outputs: HashMap::new(),
            projected: 0,
            has_proposals: true,
            is_unsaid: false,
        };
        kept.count();
        Ok(kept)
    }

    /// Returns what is decided and proposed.
    pub(crate) fn labels(&self) -> &KeptLabels {
        &self.labels
    }

    /// Takes over what a child proposes, or has heard from the other primary.
    ///
    /// # Errors
    /// If there is more than the wire takes.
    pub(crate) fn merge(&mut self, batch: &mut Batch, said: &KeptLabels) -> Result<(), firetower_relay::Error> {
        if !self.labels.merge(said).is_empty() {
            (self.has_proposals, self.is_unsaid) = (true, true);
            self.count_rows();
            self.put(batch)?;
        }
        Ok(())
    }

    fn put(&self, batch: &mut Batch) -> Result<(), firetower_relay::Error> {
        self.store.put_note(batch, KEPT_NOTE, &firetower_wire::encode_kept(&self.labels)?);
        Ok(())
    }

    /// Decides what was proposed, from the window on that starts at `from`.
    ///
    /// Returns whether there is something that the children should hear; it is in `batch` then, and must be durable first.
    ///
    /// # Errors
    /// If there is more than the wire takes.
    pub(crate) fn decide(&mut self, batch: &mut Batch, from: Timestamp) -> Result<bool, firetower_relay::Error> {
        self.count();
        if std::mem::take(&mut self.has_proposals) {
            let decided = self.labels.decide(from);
            if decided > 0 {
                tracing::info!(labels = decided, from = from.as_seconds(), "labels with too many values dropped");
                self.is_unsaid = true;
                self.count_rows();
            }
        }
        if self.is_unsaid {
            self.put(batch)?;
        }
        Ok(std::mem::take(&mut self.is_unsaid))
    }

    /// Returns the id that a row goes up under in the window that starts at `start`.
    ///
    /// # Errors
    /// If the store cannot keep a new row key.
    pub(crate) fn output(&mut self, id: RowId, start: Timestamp) -> Result<RowId, Error> {
        let version = self.labels.version_at(start);
        if let Some(output) = self.outputs.get(&(version, id)) {
            return Ok(*output);
        }
        let Some(key) = self.store.row_key(id) else { return Ok(id) };
        let mut output = id;
        if let Some(projected) = self.labels.project(&key, start) {
            output = self.store.intern_row_key(&projected)?;
            self.projected += 1;
        }
        self.count();
        if self.over.contains(&output) {
            let job = key.get("job").unwrap_or("");
            output = self.store.intern_row_key(&Labels::new([(NAME, key.name()), ("job", job), (OVERFLOW, "true")]))?;
        }
        if self.outputs.len() >= OUTPUTS_MAX {
            self.outputs.clear();
        }
        self.outputs.insert((version, id), output);
        Ok(output)
    }

    /// Returns what is to be said of the rows.
    pub(crate) fn report(&self) -> KeptReport {
        KeptReport {
            labels: self.labels.clone(),
            rows_by_job: self.rows.clone(),
            overflow_rows: self.overflow_rows,
            projected_rows: self.projected,
            ..KeptReport::new(self.budget.clone())
        }
    }

    /// Counts the row keys that have come since the last time, and proposes to drop what has too many values.
    fn count(&mut self) {
        if self.store.row_key_count() == self.counted {
            return;
        }
        let max = self.budget.label_values_max;
        for key in self.store.row_keys_from(RowId(self.counted), usize::MAX) {
            let id = RowId(self.counted);
            self.counted += 1;
            if key.get(OVERFLOW).is_some() {
                self.overflow_rows += 1;
                continue;
            }
            let (name, job) = (key.name(), key.get("job").unwrap_or(""));
            for label in self.values.note_key(&key, max) {
                self.has_proposals |= self.labels.propose(name, job, label, max as u64 + 1);
            }
            self.place(id, &key);
        }
    }

    fn place(&mut self, id: RowId, key: &Labels) {
        if self.labels.is_dead(key) {
            return;
        }
        let rows = self.rows.entry(key.get("job").unwrap_or("").to_owned()).or_default();
        if *rows < self.budget.job_rows_max as u64 {
            *rows += 1;
        } else {
            self.over.insert(id);
        }
    }

    /// Counts rows anew: what lost its labels makes room for others.
    fn count_rows(&mut self) {
        self.rows.clear();
        self.over.clear();
        self.outputs.clear();
        let keys = self.store.row_keys_from(RowId(0), self.counted as usize);
        for (id, key) in keys.iter().enumerate().filter(|(_, key)| key.get(OVERFLOW).is_none()) {
            self.place(RowId(id as u32), key);
        }
    }
}

#[cfg(test)]
mod tests {
    use firetower_store::Options;

    use super::*;

    const BUDGET: (usize, usize) = (3, 100);

    struct Test {
        store: Store,
        _directory: tempfile::TempDir,
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn test() -> Test {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &Options::new(at(1), 7)).unwrap();
        Test { store, _directory: directory }
    }

    impl Test {
        fn kept(&self, (label_values_max, job_rows_max): (usize, usize)) -> Kept {
            let budget = Budget { label_values_max, job_rows_max, promoted: Vec::new() };
            Kept::open(self.store.clone(), budget).unwrap()
        }

        fn row(&self, label: &str, value: usize) -> RowId {
            let value = value.to_string();
            self.store.intern_row_key(&Labels::new([(NAME, "m"), ("job", "j"), (label, &value)])).unwrap()
        }

        fn decide(&self, kept: &mut Kept, from: i64) -> bool {
            let mut batch = Batch::default();
            let is_new = kept.decide(&mut batch, at(from)).unwrap();
            self.store.commit(batch).unwrap();
            is_new
        }

        fn outputs(&self, kept: &mut Kept, rows: &[RowId], start: i64) -> Vec<String> {
            let outputs = rows.iter().map(|row| kept.output(*row, at(start)).unwrap());
            outputs.map(|output| self.store.row_key(output).unwrap().to_string()).collect()
        }
    }

    #[test]
    fn values_of_all_children_count_together_and_rows_follow_the_decision_of_their_window() {
        let test = test();
        let mut kept = test.kept(BUDGET);
        let mut rows: Vec<RowId> = (0..3).map(|value| test.row("pod", value)).collect();
        assert!(!test.decide(&mut kept, 30), "within the budget");
        rows.push(test.row("pod", 3));
        assert!(test.decide(&mut kept, 30) && !test.decide(&mut kept, 45));
        let with: Vec<String> = (0..4).map(|value| format!(r#"m{{job="j",pod="{value}"}}"#)).collect();
        let without = vec![r#"m{job="j"}"#.to_owned(); 4];
        for mut kept in [kept, test.kept(BUDGET)] {
            assert_eq!(test.outputs(&mut kept, &rows, 15), with);
            assert_eq!(test.outputs(&mut kept, &rows, 30), without);
            assert_eq!(kept.report().rows_by_job, [("j".to_owned(), 1)].into());
            let dropped: Vec<_> = kept.labels().iter().map(|dropped| (dropped.label, dropped.from)).collect();
            assert_eq!(dropped, [("pod".to_owned(), at(30))], "also after a restart");
        }
    }

    #[test]
    fn what_another_primary_decided_earlier_holds() {
        let test = test();
        let mut kept = test.kept(BUDGET);
        let row = test.row("pod", 0);
        let mut said = KeptLabels::default();
        said.propose("m", "j", "pod", 101);
        kept.merge(&mut Batch::default(), &said).unwrap();
        assert!(test.decide(&mut kept, 60));
        assert_eq!(test.outputs(&mut kept, &[row], 45), [r#"m{job="j",pod="0"}"#]);
        said.decide(at(45));
        kept.merge(&mut Batch::default(), &said).unwrap();
        assert!(test.decide(&mut kept, 90));
        assert_eq!(test.outputs(&mut kept, &[row], 45), [r#"m{job="j"}"#]);
        kept.merge(&mut Batch::default(), &said).unwrap();
        assert!(!test.decide(&mut kept, 90), "nothing new");
    }

    #[test]
    fn rows_past_the_budget_of_the_datacenter_share_one() {
        let test = test();
        let mut kept = test.kept((100, 2));
        let rows: Vec<RowId> = ["a", "b", "c"].map(|label| test.row(label, 0)).into();
        let overflow = r#"m{__overflow__="true",job="j"}"#;
        for mut kept in [test.kept((100, 2)), test.kept((100, 2))] {
            let expected = [r#"m{a="0",job="j"}"#, r#"m{b="0",job="j"}"#, overflow];
            assert_eq!(test.outputs(&mut kept, &rows, 0), expected);
            kept.count();
            assert_eq!((kept.report().overflow_rows, kept.report().rows_by_job["j"]), (1, 2));
        }
        let mut said = KeptLabels::default();
        said.propose("m", "j", "a", 101);
        said.decide(at(30));
        kept.count();
        kept.merge(&mut Batch::default(), &said).unwrap();
        assert_eq!(test.outputs(&mut kept, &rows, 30)[2], r#"m{c="0",job="j"}"#, "there is room again");
    }
}
