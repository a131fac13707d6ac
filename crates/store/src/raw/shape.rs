//! The metrics of a shape, in order, as runs of ids that follow each other.
//!
//! Metrics get their ids in the order of the first page that shows them, so that most pages are a few runs.

use std::sync::Arc;

use firetower_model::MetricId;
use xxhash_rust::xxh3::xxh3_64;

use crate::raw::bytes::{Reader, put_varint, zigzag};

/// Runs, each as the signed distance from the end of the one before, and its length less 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Runs(Box<[u8]>);

impl Runs {
    pub(crate) fn of(metrics: &[MetricId]) -> Runs {
        let mut bytes = Vec::new();
        let mut next = 0;
        for run in metrics.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0)) {
            put_varint(&mut bytes, zigzag(i64::from(run[0].0) - next));
            put_varint(&mut bytes, run.len() as u64 - 1);
            next = i64::from(run[0].0) + run.len() as i64;
        }
        Runs(bytes.into())
    }

    /// Returns each run: its first id, and the one after its last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        let (mut from, mut next) = (Reader(&self.0), 0i64);
        std::iter::from_fn(move || {
            let start = next + from.signed()?;
            next = start + 1 + from.varint()? as i64;
            Some((start as u64, next as u64))
        })
    }

    pub(crate) fn metrics(&self) -> Arc<[MetricId]> {
        self.iter().flat_map(|(start, end)| start..end).map(|id| MetricId(id as u32)).collect()
    }

    pub(crate) fn hash(&self) -> u64 {
        xxh3_64(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_oneof, proptest};

    proptest! {
        #[test]
        fn any_list_reads_back(ids in proptest::collection::vec(prop_oneof![0..20u32, any::<u32>()], 0..100)) {
            let metrics: Vec<MetricId> = ids.into_iter().map(MetricId).collect();
            assert_eq!(*Runs::of(&metrics).metrics(), *metrics);
        }
    }

    #[test]
    fn a_page_like_another_is_short() {
        let metrics: Vec<MetricId> = (5..500).chain([9_000]).chain(501..1_000).map(MetricId).collect();
        assert!(Runs::of(&metrics).0.len() < 16);
    }
}
