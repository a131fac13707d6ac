//! The series of some targets only.

use std::collections::HashSet;

use firetower_model::{Labels, Matcher, Select, Series, TargetId, TimeRange};

use crate::database::Store;
use crate::error::Error;
use crate::raw::candidates::Candidate;
use crate::raw::select::Reader;
use crate::raw::slices::Slices;

/// The series of some of a store's targets.
#[derive(Clone)]
pub struct OfTargets {
    store: Store,
    targets: HashSet<TargetId>,
    are_left_out: bool,
}

impl Store {
    /// Returns the series of `targets`.
    pub fn only(&self, targets: HashSet<TargetId>) -> OfTargets {
        OfTargets { store: self.clone(), targets, are_left_out: false }
    }

    /// Returns the series of all other targets than `targets`.
    pub fn without(&self, targets: HashSet<TargetId>) -> OfTargets {
        OfTargets { store: self.clone(), targets, are_left_out: true }
    }

    /// Returns all targets that series are known of, with their labels.
    pub fn targets(&self) -> Vec<(TargetId, Labels)> {
        let index = self.raw.names.read();
        let ids = index.all_targets().into_iter().map(TargetId);
        ids.filter_map(|id| Some((id, index.target(id)?))).collect()
    }

    /// Returns those of `targets` that may have samples inside `range`, to the length of a bucket.
    pub fn used_in(&self, targets: &HashSet<TargetId>, range: TimeRange) -> HashSet<TargetId> {
        let Some((first, last)) = self.raw.length.buckets(range) else { return HashSet::new() };
        let index = self.raw.names.read();
        let metrics: Vec<u32> = index.all_metrics().into_iter().collect();
        let used = metrics.chunks(TURN_METRICS).flat_map(|turn| index.targets_of(turn, first, last)).flatten();
        used.map(TargetId).filter(|target| targets.contains(target)).collect()
    }
}

/// How many metrics are looked up at once.
const TURN_METRICS: usize = 256;

impl OfTargets {
    fn candidates(&self, reader: &Reader<'_>, matchers: &[Matcher]) -> Vec<Candidate> {
        if self.targets.is_empty() && !self.are_left_out {
            return Vec::new();
        }
        let mut found = reader.candidates(matchers);
        if !self.targets.is_empty() {
            found.retain(|pair| self.targets.contains(&pair.target) != self.are_left_out);
        }
        found
    }
}

impl Select for OfTargets {
    type Error = Error;

    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Error>>, Error> {
        let reader = Reader::new(&self.store, range)?;
        let found = self.candidates(&reader, matchers);
        Ok(Slices::new(reader, found, |reader, pairs| reader.read(pairs)))
    }

    fn select_newest(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Error>>, Error> {
        let reader = Reader::new(&self.store, range)?;
        let found = self.candidates(&reader, matchers);
        Ok(Slices::new(reader, found, |reader, pairs| reader.read_newest(pairs)))
    }

    fn left_out(&self) -> u64 {
        self.store.left_out()
    }
}
