//! Aggregations that need all values of a group.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use firetower_model::{Column as Numbers, Labels};

use super::{End, Groups, Members, each_present};
use crate::curve::{ABSENT, Curve, is_absent};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::part::Coming;
use crate::plan::Scalar;
use crate::quantile::quantile;

impl Evaluation<'_> {
    pub(super) fn quantiles(&self, at: &Scalar, members: &Members<'_>, sink: Sink<'_>) -> Result<(), Error> {
        let (grouping, steps) = (members.grouping, members.steps);
        let column = self.scalar(at, steps)?;
        (0..steps.count()).for_each(|step| self.notes.check_quantile(column.at(step)));
        let mut groups: Groups<Vec<Vec<f64>>> = Groups::new();
        let mut held = 0;
        self.members(members, &mut |coming| {
            // From below come values under the labels of their group.
            let Coming::Curve(curve) = coming else { return Err(Error::Malformed) };
            let group =
                groups.of(&curve.labels, |name| grouping.keeps(name), || Ok(vec![Vec::new(); steps.count()]))?;
            held += steps.count();
            self.meter.hold(steps.count())?;
            each_present(&curve.values).for_each(|(step, value)| group[step].push(value));
            Ok(())
        })?;
        self.meter.release(held);
        groups.list.into_iter().try_for_each(|(labels, mut group)| {
            let one = |(step, values): (usize, &mut Vec<f64>)| {
                if values.is_empty() { ABSENT } else { quantile(column.at(step), values) }
            };
            sink(Curve { labels, values: group.iter_mut().enumerate().map(one).collect() })
        })
    }

    pub(super) fn count_values(&self, label: &str, members: &Members<'_>, end: End<'_>) -> Result<(), Error> {
        let (grouping, steps) = (members.grouping, members.steps);
        let mut groups: Groups<HashMap<u64, Vec<f64>>> = Groups::new();
        let mut counts_below: HashMap<Labels, Vec<f64>> = HashMap::new();
        let mut kinds = 0;
        let mut none = || {
            self.meter.hold(steps.count())?;
            kinds += 1;
            Ok(vec![ABSENT; steps.count()])
        };
        self.members(members, &mut |coming| {
            let curve = match coming {
                Coming::Curve(curve) => curve,
                Coming::Group(counts) => match counts_below.entry(counts.labels) {
                    Entry::Occupied(sum) => return add_counts(sum.into_mut(), &counts.values),
                    Entry::Vacant(place) => return add_counts(place.insert(none()?), &counts.values),
                },
            };
            let keep = |name: &str| name != label && grouping.keeps(name);
            let group = groups.of(&curve.labels, keep, || Ok(HashMap::new()))?;
            for (step, value) in each_present(&curve.values) {
                let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                let counts = match group.entry(bits) {
                    Entry::Occupied(counts) => counts.into_mut(),
                    Entry::Vacant(place) => place.insert(none()?),
                };
                counts[step] = if is_absent(counts[step]) { 1.0 } else { counts[step] + 1.0 };
            }
            Ok(())
        })?;
        for (labels, group) in groups.list {
            for (bits, counts) in group {
                let value = crate::notes::display(f64::from_bits(bits));
                match counts_below.entry(labels.overlaid(&Labels::new([(label, value)]))) {
                    Entry::Occupied(sum) => add_counts(sum.into_mut(), &counts)?,
                    Entry::Vacant(place) => drop(place.insert(counts)),
                }
            }
        }
        self.forget(kinds, steps);
        let mut counts = counts_below.into_iter();
        match end {
            End::Values(sink) => counts.try_for_each(|(labels, values)| sink(Curve { labels, values })),
            End::Numbers(sink) => counts.try_for_each(|(labels, values)| sink(Numbers { labels, values })),
        }
    }
}

/// Adds the counts of others, where there are any.
fn add_counts(sum: &mut [f64], counts: &[f64]) -> Result<(), Error> {
    if sum.len() != counts.len() {
        return Err(Error::Malformed);
    }
    for (sum, count) in sum.iter_mut().zip(counts).filter(|(_, count)| !is_absent(**count)) {
        *sum = if is_absent(*sum) { *count } else { *sum + *count };
    }
    Ok(())
}
