//! Aggregations that choose some series of each group.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use firetower_model::Labels;

use super::{Groups, Members, each_present};
use crate::curve::Union;
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::part::Coming;
use crate::plan::Scalar;

/// A series that was chosen at one step; the greatest is the worst, which has to go first.
struct Chosen {
    rank: f64,
    value: f64,
    labels: Labels,
}

impl Ord for Chosen {
    fn cmp(&self, other: &Chosen) -> Ordering {
        let by_rank = other.rank.partial_cmp(&self.rank).unwrap_or(Ordering::Equal);
        self.rank.is_nan().cmp(&other.rank.is_nan()).then(by_rank).then_with(|| self.labels.cmp(&other.labels))
    }
}

impl PartialOrd for Chosen {
    fn partial_cmp(&self, other: &Chosen) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Chosen {
    fn eq(&self, other: &Chosen) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Chosen {}

impl Evaluation<'_> {
    /// Hands on, of each group and step, those `count` series that `rank` highest; NaN ranks lowest.
    pub(super) fn best(
        &self,
        count: &Scalar,
        rank: impl Fn(f64, &Labels) -> f64,
        members: &Members<'_>,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let (grouping, steps) = (members.grouping, members.steps);
        let column = self.scalar(count, steps)?;
        let counts = (0..steps.count()).map(|step| check_count(column.at(step)));
        let counts: Vec<usize> = counts.collect::<Result<_, _>>()?;
        let mut held = 0;
        let mut groups: Groups<Vec<BinaryHeap<Chosen>>> = Groups::new();
        self.members(members, &mut |coming| {
            let Coming::Curve(curve) = coming else { return Err(Error::Malformed) };
            let none = || Ok((0..steps.count()).map(|_| BinaryHeap::new()).collect());
            let group = groups.of(&curve.labels, |name| grouping.keeps(name), none)?;
            for (step, value) in each_present(&curve.values) {
                let chosen = Chosen { rank: rank(value, &curve.labels), value, labels: curve.labels.clone() };
                if group[step].len() < counts[step] {
                    held += 1;
                    self.meter.hold(1)?;
                    group[step].push(chosen);
                } else if let Some(mut worst) = group[step].peek_mut()
                    && chosen < *worst
                {
                    *worst = chosen;
                }
            }
            Ok(())
        })?;
        self.meter.release(held);
        let mut union = Union::default();
        for (_, group) in groups.list {
            for (step, heap) in group.into_iter().enumerate() {
                for chosen in heap.into_sorted_vec() {
                    union.put(chosen.labels, step, chosen.value, steps.count());
                }
            }
        }
        union.finish().into_iter().try_for_each(sink)
    }
}

/// Returns how many series are asked for.
fn check_count(count: f64) -> Result<usize, Error> {
    if count.is_nan() {
        return Err(Error::argument("Parameter value is NaN"));
    }
    if count.abs() >= i64::MAX as f64 {
        let how = if count > 0.0 { "overflows" } else { "underflows" };
        return Err(Error::argument(format!("Scalar value {count} {how} int64")));
    }
    Ok(if count < 1.0 { 0 } else { count as usize })
}
