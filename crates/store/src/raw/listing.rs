//! Which series there are, without their samples.

use std::collections::HashMap;

use firetower_model::labels::NAME;
use firetower_model::{Kind, Labels, Matcher, MetricId, TargetId, TimeRange};
use roaring::RoaringBitmap;

use crate::database::Store;
use crate::raw::candidates::candidates;

/// How many metrics or series are looked at before writers of new names get their turn.
const TURN: usize = 1_024;

impl Store {
    /// Calls `visit` with the final labels of each series that all `matchers` let through and that may have samples, or spans,
    /// inside `range`, to the length of a bucket. Each label set comes once, in no order.
    pub fn visit_series(&self, matchers: &[Matcher], range: TimeRange, visit: &mut dyn FnMut(&Labels)) {
        let Some((first, last)) = self.raw.length.buckets(range) else { return };
        let mut found = candidates(&self.raw.names.read(), matchers, first, last);
        // Pairs with equal final labels lie side by side.
        found.dedup_by_key(|pair| (pair.hash, pair.leader));
        for turn in found.chunks(TURN) {
            let index = self.raw.names.read();
            let labels = turn.iter().filter_map(|pair| {
                let target = index.target(pair.target)?;
                Some(target.overlaid(&index.metric(pair.metric)?.0))
            });
            let labels: Vec<Labels> = labels.collect();
            drop(index);
            labels.iter().for_each(&mut *visit);
        }
    }

    /// Calls `visit` with the labels of each metric and of each target that may have samples, or spans, inside `range`, to the
    /// length of a bucket: all names and values that series have there.
    pub fn visit_label_sets(&self, range: TimeRange, visit: &mut dyn FnMut(&Labels)) {
        let Some((first, last)) = self.raw.length.buckets(range) else { return };
        let mut used = RoaringBitmap::new();
        let mut next = 0;
        loop {
            let index = self.raw.names.read();
            let known = index.counts().0;
            let turn: Vec<u32> = (next..known.min(next + TURN)).map(|metric| metric as u32).collect();
            for (metric, targets) in turn.iter().zip(index.targets_of(&turn, first, last)) {
                if let Some((labels, _)) = index.metric(MetricId(*metric)).filter(|_| !targets.is_empty()) {
                    visit(&labels);
                }
                used |= targets;
            }
            next += turn.len();
            if next >= known {
                break;
            }
        }
        let index = self.raw.names.read();
        used.iter().filter_map(|target| index.target(TargetId(target))).for_each(|labels| visit(&labels));
    }

    /// Returns the kind of each name of a metric of which one is known.
    pub fn kinds(&self) -> HashMap<String, Kind> {
        let mut kinds = HashMap::new();
        let mut next = 0;
        loop {
            let index = self.raw.names.read();
            let known = index.counts().0;
            let end = known.min(next + TURN);
            for (labels, kind) in (next..end).filter_map(|metric| index.metric(MetricId(metric as u32))) {
                if kind != Kind::Unknown
                    && let Some(name) = labels.get(NAME)
                {
                    kinds.insert(name.to_owned(), kind);
                }
            }
            next = end;
            if next == known {
                return kinds;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use firetower_model::{Sample, Timestamp};

    use super::*;
    use crate::database::{Batch, Options};

    #[test]
    fn series_names_and_kinds_are_listed_by_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &Options::new(Timestamp::from_millis(0), 1)).unwrap();
        let target = |labels: &[(&str, &str)]| store.intern_target(&Labels::new(labels.iter().copied())).unwrap();
        let (a, b) = (target(&[("instance", "a"), ("job", "j")]), target(&[("instance", "b"), ("zone", "z")]));
        let metric =
            |labels: &[(&str, &str)], kind| store.intern_metric(&Labels::new(labels.iter().copied()), kind).unwrap();
        let m = metric(&[(NAME, "m"), ("le", "1")], Kind::Histogram);
        // Has the final labels of (m, a), split another way.
        let same = metric(&[(NAME, "m"), ("instance", "a"), ("job", "j"), ("le", "1"), ("zone", "")], Kind::Unknown);
        let n = metric(&[(NAME, "n"), ("late", "x")], Kind::Unknown);
        metric(&[(NAME, "never")], Kind::Gauge);
        let day = 86_400_000;
        let mut batch = Batch::default();
        for (metric, target, at) in [(m, a, 0), (same, b, 0), (n, b, day)] {
            store.put_samples(&mut batch, (metric, target), &[Sample { at: Timestamp::from_millis(at), value: 1.0 }]);
        }
        store.commit(batch).unwrap();
        let range = |start, end| TimeRange { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) };
        let series = |matchers: &[Matcher], range: TimeRange| {
            let mut found = Vec::new();
            store.visit_series(matchers, range, &mut |labels: &Labels| {
                found.push(labels.to_string());
            });
            found.sort();
            found
        };
        let (first, last) = (r#"m{instance="a",job="j",le="1"}"#, r#"n{instance="b",late="x",zone="z"}"#);
        assert_eq!(series(&[], TimeRange::ALL), [first, last]);
        assert_eq!(series(&[], range(0, 1)), [first]);
        assert_eq!(series(&[Matcher::equal("zone", "z")], TimeRange::ALL), [last]);
        let names = |range: TimeRange| {
            let mut found = Vec::new();
            store.visit_label_sets(range, &mut |labels: &Labels| {
                found.extend(labels.iter().map(|(name, _)| name.to_owned()))
            });
            found.sort();
            found.dedup();
            found
        };
        assert_eq!(names(TimeRange::ALL), [NAME, "instance", "job", "late", "le", "zone"]);
        assert_eq!(names(range(day, day + 1)), [NAME, "instance", "late", "zone"]);
        let kinds = store.kinds();
        assert_eq!((kinds.len(), kinds["m"], kinds["never"]), (2, Kind::Histogram, Kind::Gauge));
    }
}
