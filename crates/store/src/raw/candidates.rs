//! Which series a query is about, by labels alone.

use std::collections::HashMap;

use firetower_model::{Labels, Matcher, MetricId, TargetId};
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use crate::raw::index::Index;
use crate::raw::key::Bucket;

/// How many metrics' targets are looked up at once.
const TURN_METRICS: usize = 256;

/// A (target, metric) pair that all matchers let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    /// Target and metric of the first pair with the same final labels: pairs to be merged lie side by side.
    pub(crate) leader: (TargetId, MetricId),
    /// Hash of the final labels.
    pub(crate) hash: u64,
    pub(crate) target: TargetId,
    pub(crate) metric: MetricId,
}

/// Returns the pairs that may have samples between `first` and `last`, both inclusive, and whose final labels all
/// `matchers` let through.
///
/// Sorted, so that a target's series follow each other.
pub(crate) fn candidates(index: &Index, matchers: &[Matcher], first: Bucket, last: Bucket) -> Vec<Candidate> {
    let mut allowed = Allowed { index, matchers, by_matcher: vec![None; matchers.len()], by_mask: HashMap::new() };
    let mut matched = Vec::new();
    let metrics: Vec<u32> = metrics(index, matchers).into_iter().collect();
    for metrics in metrics.chunks(TURN_METRICS) {
        for (metric, mut targets) in metrics.iter().zip(index.targets_of(metrics, first, last)) {
            let metric = MetricId(*metric);
            let Some((labels, _)) = index.metric(metric) else { continue };
            // The target's labels show where the metric has none: with these matchers, all have been asked.
            let Some(mask) = left_to_target(matchers, &labels) else { continue };
            if !mask.is_empty() {
                targets &= allowed.targets(mask);
            }
            if !targets.is_empty() {
                matched.push(Matched { metric, labels, targets });
            }
        }
    }
    let mut found = if all_differ(index, &matched) { apart(&matched) } else { together(index, &matched) };
    // They come metric by metric, in order: few runs to be merged.
    found.sort();
    found
}

/// A metric, and the targets of which series are wanted.
struct Matched {
    metric: MetricId,
    labels: Labels,
    targets: RoaringBitmap,
}

/// Tells whether no two pairs can have the same final labels: all targets have labels of the same names, and no metric has
/// one of those, or takes one away.
fn all_differ(index: &Index, matched: &[Matched]) -> bool {
    let mut targets = RoaringBitmap::new();
    matched.iter().for_each(|one| targets |= &one.targets);
    let mut all = targets.into_iter().map(|target| index.target(TargetId(target)));
    let Some(Some(first)) = all.next() else { return false };
    let has_same_names = |other: Option<Labels>| {
        other.is_some_and(|other| other.iter().map(|label| label.0).eq(first.iter().map(|label| label.0)))
    };
    let is_apart =
        |one: &Matched| one.labels.iter().all(|(name, value)| !value.is_empty() && first.get(name).is_none());
    matched.iter().all(is_apart) && all.all(has_same_names)
}

/// Returns the pairs of which none have the same final labels.
fn apart(matched: &[Matched]) -> Vec<Candidate> {
    let pairs = matched.iter().flat_map(|one| one.targets.iter().map(|target| (TargetId(target), one.metric)));
    pairs.map(|(target, metric)| Candidate { leader: (target, metric), hash: 0, target, metric }).collect()
}

/// Returns the pairs, those with the same final labels under one leader.
fn together(index: &Index, matched: &[Matched]) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut target_labels = HashMap::new();
    for Matched { metric, labels, targets } in matched {
        for target in targets.iter().map(TargetId) {
            let under = target_labels.entry(target).or_insert_with(|| index.target(target));
            let Some(under) = under else { continue };
            let hash = xxh3_64(under.overlaid(labels).as_bytes());
            found.push(Candidate { leader: (target, *metric), hash, target, metric: *metric });
        }
    }
    lead(&mut found);
    found
}

/// Gives pairs with equal final labels one leader.
fn lead(found: &mut [Candidate]) {
    found.sort_unstable_by_key(|candidate| (candidate.hash, candidate.target, candidate.metric));
    for group in found.chunk_by_mut(|a, b| a.hash == b.hash) {
        let leader = group[0].leader;
        group.iter_mut().for_each(|candidate| candidate.leader = leader);
    }
}

/// Returns the metrics that equalities leave: for each, those with that label, and those without any of that name if a
/// target may have it.
fn metrics(index: &Index, matchers: &[Matcher]) -> RoaringBitmap {
    let mut found: Option<RoaringBitmap> = None;
    for matcher in matchers {
        let Some(value) = matcher.equal_value().filter(|value| !value.is_empty()) else { continue };
        let mut these = index.metric_postings.with_label(matcher.name(), value);
        if !index.target_postings.with_label(matcher.name(), value).is_empty() {
            these |= index.all_metrics() - index.metric_postings.with_name(matcher.name());
        }
        match &mut found {
            Some(found) => *found &= these,
            None => found = Some(these),
        }
    }
    found.unwrap_or_else(|| index.all_metrics())
}

/// Returns which matchers look at a label that the metric does not have; `None` if one of the others refuses it.
fn left_to_target(matchers: &[Matcher], metric: &Labels) -> Option<Vec<usize>> {
    let mut left = Vec::new();
    for (at, matcher) in matchers.iter().enumerate() {
        match metric.get(matcher.name()) {
            Some(value) if !matcher.is_match(value) => return None,
            Some(_) => {}
            None => left.push(at),
        }
    }
    Some(left)
}

/// Which targets matchers let through, each worked out once.
struct Allowed<'a> {
    index: &'a Index,
    matchers: &'a [Matcher],
    by_matcher: Vec<Option<RoaringBitmap>>,
    by_mask: HashMap<Vec<usize>, RoaringBitmap>,
}

impl Allowed<'_> {
    /// Returns the targets that the matchers at the places in `mask` let through.
    fn targets(&mut self, mask: Vec<usize>) -> &RoaringBitmap {
        for at in &mask {
            if self.by_matcher[*at].is_none() {
                self.by_matcher[*at] = Some(self.of_matcher(&self.matchers[*at]));
            }
        }
        let by_matcher = &self.by_matcher;
        self.by_mask.entry(mask).or_insert_with_key(|mask| {
            let mut sets = mask.iter().filter_map(|at| by_matcher[*at].as_ref());
            let first = sets.next().cloned().unwrap_or_default();
            sets.fold(first, |all, set| all & set)
        })
    }

    fn of_matcher(&self, matcher: &Matcher) -> RoaringBitmap {
        let among = match matcher.equal_value() {
            Some(value) if !value.is_empty() => self.index.target_postings.with_label(matcher.name(), value),
            _ => self.index.all_targets(),
        };
        let is_match =
            |id: &u32| self.index.target(TargetId(*id)).is_some_and(|labels| matcher.is_match_labels(&labels));
        among.into_iter().filter(is_match).collect()
    }
}
