//! `and`, `or`, `unless`.

use std::collections::HashMap;

use firetower_model::Labels;

use super::{Matching, presence};
use crate::curve::{ABSENT, Curve};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::operator::SetOperator;
use crate::plan::Vector;
use crate::steps::Steps;

impl Evaluation<'_> {
    /// Hands on the series that are in the set.
    pub(crate) fn combined(
        &self,
        operator: SetOperator,
        matching: &Matching,
        (left, right): (&Vector, &Vector),
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        match operator {
            SetOperator::And => self.filtered(matching, left, right, true, steps, sink),
            SetOperator::Unless => self.filtered(matching, left, right, false, steps, sink),
            SetOperator::Or => self.either(matching, left, right, steps, sink),
        }
    }

    /// Hands on what `of` has where the other side has, or has not, a series to meet.
    fn filtered(
        &self,
        matching: &Matching,
        of: &Vector,
        by: &Vector,
        is_wanted: bool,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let there = self.whereabouts(matching, by, steps)?;
        let nowhere = vec![false; steps.count()];
        self.stream(of, steps, &mut |mut curve| {
            let there = there.get(&matching.key(&curve.labels)).unwrap_or(&nowhere);
            keep_where(&mut curve, there, is_wanted);
            if curve.is_empty() { Ok(()) } else { sink(curve) }
        })
    }

    /// Tells for each key at which steps `of` has a series with it.
    fn whereabouts(&self, matching: &Matching, of: &Vector, steps: Steps) -> Result<HashMap<Labels, Vec<bool>>, Error> {
        let mut there: HashMap<Labels, Vec<bool>> = HashMap::new();
        self.stream(of, steps, &mut |curve| {
            let is_there = there.entry(matching.key(&curve.labels)).or_insert_with(|| vec![false; steps.count()]);
            let also = presence([&curve], steps);
            is_there.iter_mut().zip(also).for_each(|(is_there, also)| *is_there |= also);
            Ok(())
        })?;
        Ok(there)
    }

    fn either(
        &self,
        matching: &Matching,
        left: &Vector,
        right: &Vector,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let left = self.collect(left, steps)?;
        let count = left.len();
        let mut there: HashMap<Labels, Vec<bool>> = HashMap::new();
        for curve in &left {
            let is_there = there.entry(matching.key(&curve.labels)).or_insert_with(|| vec![false; steps.count()]);
            is_there.iter_mut().zip(presence([curve], steps)).for_each(|(is_there, also)| *is_there |= also);
        }
        let nowhere = vec![false; steps.count()];
        let run = |add: Sink<'_>| {
            left.into_iter().try_for_each(&mut *add)?;
            self.stream(right, steps, &mut |mut curve| {
                let there = there.get(&matching.key(&curve.labels)).unwrap_or(&nowhere);
                keep_where(&mut curve, there, false);
                if curve.is_empty() { Ok(()) } else { add(curve) }
            })
        };
        self.forget(count, steps);
        self.united(run, sink)
    }
}

fn keep_where(curve: &mut Curve, there: &[bool], is_wanted: bool) {
    let values = curve.values.iter_mut().zip(there).filter(|(_, is_there)| **is_there != is_wanted);
    values.for_each(|(value, _)| *value = ABSENT);
}
