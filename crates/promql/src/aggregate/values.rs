//! Aggregations that need all values of a group.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use firetower_model::Labels;

use super::{Grouping, Groups, each_present};
use crate::curve::{ABSENT, Curve};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::plan::{Scalar, Vector};
use crate::quantile::quantile;
use crate::steps::Steps;

impl Evaluation<'_> {
    pub(super) fn quantiles(
        &self,
        at: &Scalar,
        grouping: &Grouping,
        of: &Vector,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let column = self.scalar(at, steps)?;
        (0..steps.count()).for_each(|step| self.notes.check_quantile(column.at(step)));
        let mut groups: Groups<Vec<Vec<f64>>> = Groups::new();
        let mut held = 0;
        self.stream(of, steps, &mut |curve| {
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

    pub(super) fn count_values(
        &self,
        label: &str,
        grouping: &Grouping,
        of: &Vector,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let mut groups: Groups<HashMap<u64, Vec<f64>>> = Groups::new();
        let mut kinds = 0;
        self.stream(of, steps, &mut |curve| {
            let keep = |name: &str| name != label && grouping.keeps(name);
            let group = groups.of(&curve.labels, keep, || Ok(HashMap::new()))?;
            for (step, value) in each_present(&curve.values) {
                let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                let counts = match group.entry(bits) {
                    Entry::Occupied(counts) => counts.into_mut(),
                    Entry::Vacant(place) => {
                        self.meter.hold(steps.count())?;
                        kinds += 1;
                        place.insert(vec![ABSENT; steps.count()])
                    }
                };
                counts[step] = if crate::is_absent(counts[step]) { 1.0 } else { counts[step] + 1.0 };
            }
            Ok(())
        })?;
        self.forget(kinds, steps);
        groups.list.into_iter().try_for_each(|(labels, group)| {
            group.into_iter().try_for_each(|(bits, values)| {
                let value = crate::notes::display(f64::from_bits(bits));
                sink(Curve { labels: labels.overlaid(&Labels::new([(label, value)])), values })
            })
        })
    }
}
