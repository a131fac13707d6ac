//! Which labels rows keep, decided once for a datacenter.
//!
//! A label of (name, job) is dropped once it has too many values, and stays dropped. So decisions only ever grow, and
//! merging two of them, in any order and however often, comes to the same: primaries of a pair may decide apart from
//! each other and still agree once their secondaries have told each what the other decided.

mod budget;
mod values;

use std::collections::BTreeMap;

use crate::labels::{Labels, NAME};
use crate::time::Timestamp;

pub use budget::{Budget, KeptReport, OVERFLOW, PLACE};
pub use values::LabelValues;

/// Labels that can be dropped, so that all of them fit into one frame. What is left is still kept within the budget by
/// each secondary alone.
pub const DROPPED_MAX: usize = 1 << 15;
/// Bytes of each of the three texts that name a dropped label; one with a longer text cannot be dropped.
pub const DROPPED_TEXT_MAX: usize = 1 << 7;

/// A label that the rows of one name and job no longer keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedLabel {
    /// Name of the metric.
    pub name: String,
    /// Value of `job`.
    pub job: String,
    /// Name of the label.
    pub label: String,
    /// How many values it had when it was proposed; where it is counted apart, the most.
    pub values: u64,
    /// From the window on that starts then; [`DroppedLabel::UNDECIDED`] as long as it is only proposed.
    pub from: Timestamp,
}

impl DroppedLabel {
    /// Stands for the time of what is proposed and not decided yet.
    pub const UNDECIDED: Timestamp = Timestamp::MAX;
}

/// Which of the decisions holds: equal ones drop the same labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct KeptVersion {
    /// How many labels it drops.
    pub dropped: u32,
    /// A hash of their names, the same in every process and release; 0 if it drops none.
    pub fingerprint: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Dropped {
    values: u64,
    from: Timestamp,
}

type ByLabel = BTreeMap<String, Dropped>;

/// The labels that rows do not keep, and from which window on.
///
/// Merging keeps the earliest time of each label, so this is its own history: what held in a window follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptLabels {
    /// By name, then job, then label.
    dropped: BTreeMap<String, BTreeMap<String, ByLabel>>,
    count: usize,
    /// From when on which version holds, oldest first; the empty one holds before all of them.
    steps: Vec<(Timestamp, KeptVersion)>,
}

impl KeptLabels {
    /// Proposes to drop a label that was seen with `values` values; returns whether that is new.
    ///
    /// One past [`DROPPED_MAX`] or [`DROPPED_TEXT_MAX`] is not taken.
    pub fn propose(&mut self, name: &str, job: &str, label: &str, values: u64) -> bool {
        self.find(name, job, label).is_none() && self.add(name, job, label, values, DroppedLabel::UNDECIDED)
    }

    /// Decides whatever is only proposed: it holds from the window that starts at `from`. Returns how many that were.
    pub fn decide(&mut self, from: Timestamp) -> usize {
        let labels = self.dropped.values_mut().flat_map(BTreeMap::values_mut).flat_map(BTreeMap::values_mut);
        let mut decided = 0;
        for dropped in labels.filter(|dropped| dropped.from == DroppedLabel::UNDECIDED) {
            dropped.from = from;
            decided += 1;
        }
        if decided > 0 {
            self.renew_steps();
        }
        decided
    }

    /// Takes over what `other` drops and this does not, or later; returns just that.
    pub fn merge(&mut self, other: &KeptLabels) -> KeptLabels {
        let learned = other.missing_in(self);
        for dropped in learned.iter() {
            self.add(&dropped.name, &dropped.job, &dropped.label, dropped.values, dropped.from);
        }
        if !learned.steps.is_empty() {
            self.renew_steps();
        }
        learned
    }

    /// Returns what of this `other` does not drop, or later.
    pub fn missing_in(&self, other: &KeptLabels) -> KeptLabels {
        let is_missing = |mine: &DroppedLabel| {
            other.find(&mine.name, &mine.job, &mine.label).is_none_or(|theirs| mine.from < theirs.from)
        };
        self.iter().filter(is_missing).collect()
    }

    /// Tells whether rows of the window that starts at `start` are without this label.
    pub fn is_dropped(&self, name: &str, job: &str, label: &str, start: Timestamp) -> bool {
        self.find(name, job, label).is_some_and(|dropped| dropped.from <= start)
    }

    /// Tells whether the label is dropped, or proposed to be.
    pub fn contains(&self, name: &str, job: &str, label: &str) -> bool {
        self.find(name, job, label).is_some()
    }

    /// Returns the key that a row of the window that starts at `start` has, if it is not `key` itself.
    ///
    /// Rows made under an earlier decision merge with later ones under it, so that sums survive.
    pub fn project(&self, key: &Labels, start: Timestamp) -> Option<Labels> {
        let by_label = self.dropped.get(key.name())?.get(key.get("job").unwrap_or(""))?;
        let is_kept = |(label, _): &(&str, &str)| by_label.get(*label).is_none_or(|dropped| start < dropped.from);
        let is_same = key.iter().all(|pair| is_kept(&pair));
        (!is_same).then(|| Labels::new(key.iter().filter(is_kept)))
    }

    /// Tells whether `key` has a label that is dropped, from whichever window on: it takes no more room.
    pub fn is_dead(&self, key: &Labels) -> bool {
        self.project(key, Timestamp::from_millis(Timestamp::MAX.as_millis() - 1)).is_some()
    }

    /// Returns the version that holds in the window that starts at `start`.
    pub fn version_at(&self, start: Timestamp) -> KeptVersion {
        let after = self.steps.partition_point(|(from, _)| *from <= start);
        after.checked_sub(1).map_or(KeptVersion::default(), |at| self.steps[at].1)
    }

    /// Returns the version with all that is decided, whether it holds already or not.
    pub fn newest_version(&self) -> KeptVersion {
        self.steps.last().map_or(KeptVersion::default(), |(_, version)| *version)
    }

    /// Returns the dropped labels in order of name, job and label.
    pub fn iter(&self) -> impl Iterator<Item = DroppedLabel> + '_ {
        let jobs = self.dropped.iter().flat_map(|(name, jobs)| jobs.iter().map(move |(job, of)| (name, job, of)));
        jobs.flat_map(|(name, job, of)| {
            of.iter().map(move |(label, dropped)| DroppedLabel {
                name: name.clone(),
                job: job.clone(),
                label: label.clone(),
                values: dropped.values,
                from: dropped.from,
            })
        })
    }

    /// Returns how many labels are dropped or proposed.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Tells whether none is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn find(&self, name: &str, job: &str, label: &str) -> Option<&Dropped> {
        self.dropped.get(name)?.get(job)?.get(label)
    }

    /// Adds a label, or makes one hold earlier; returns whether it was taken. The steps are the caller's to renew.
    fn add(&mut self, name: &str, job: &str, label: &str, values: u64, from: Timestamp) -> bool {
        let is_long = [name, job, label].iter().any(|text| text.len() > DROPPED_TEXT_MAX);
        let is_new = self.find(name, job, label).is_none();
        if is_long || is_new && self.count >= DROPPED_MAX {
            return false;
        }
        let by_label = self.dropped.entry(name.to_owned()).or_default().entry(job.to_owned()).or_default();
        let dropped = by_label.entry(label.to_owned()).or_insert(Dropped { values, from });
        *dropped = Dropped { values: dropped.values.max(values), from: dropped.from.min(from) };
        self.count += usize::from(is_new);
        true
    }

    fn renew_steps(&mut self) {
        let mut by_time: BTreeMap<Timestamp, Vec<u64>> = BTreeMap::new();
        for dropped in self.iter().filter(|dropped| dropped.from != DroppedLabel::UNDECIDED) {
            let key = Labels::new([(NAME, &dropped.name), ("job", &dropped.job), ("label", &dropped.label)]);
            by_time.entry(dropped.from).or_default().push(xxhash_rust::xxh3::xxh3_64(key.as_bytes()));
        }
        let mut version = KeptVersion::default();
        let steps = by_time.into_iter().map(|(from, hashes)| {
            version.dropped += hashes.len() as u32;
            // Exclusive-or: the same whatever the order in which they were dropped.
            version.fingerprint = hashes.into_iter().fold(version.fingerprint, |all, hash| all ^ hash);
            (from, version)
        });
        self.steps = steps.collect();
    }
}

impl FromIterator<DroppedLabel> for KeptLabels {
    fn from_iter<I: IntoIterator<Item = DroppedLabel>>(labels: I) -> KeptLabels {
        let mut kept = KeptLabels::default();
        for dropped in labels {
            kept.add(&dropped.name, &dropped.job, &dropped.label, dropped.values, dropped.from);
        }
        kept.renew_steps();
        kept
    }
}

#[cfg(test)]
mod tests;
