//! `and`, `or`, `unless`.

use std::collections::HashMap;

use firetower_model::Labels;

use super::Matching;
use crate::curve::{ABSENT, Curve, is_absent};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::operator::SetOperator;
use crate::plan::Vector;
use crate::steps::Steps;

/// For each key, at which steps there is a series with it.
type Whereabouts = HashMap<Labels, Vec<bool>>;

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

    fn whereabouts(&self, matching: &Matching, of: &Vector, steps: Steps) -> Result<Whereabouts, Error> {
        let mut there = Whereabouts::new();
        self.stream(of, steps, &mut |curve| {
            note(&mut there, matching, &curve);
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
        let mut there = Whereabouts::new();
        left.iter().for_each(|curve| note(&mut there, matching, curve));
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

fn note(there: &mut Whereabouts, matching: &Matching, curve: &Curve) {
    let is_there = there.entry(matching.key(&curve.labels)).or_insert_with(|| vec![false; curve.values.len()]);
    is_there.iter_mut().zip(&curve.values).for_each(|(is_there, value)| *is_there |= !is_absent(*value));
}

fn keep_where(curve: &mut Curve, there: &[bool], is_wanted: bool) {
    let values = curve.values.iter_mut().zip(there).filter(|(_, is_there)| **is_there != is_wanted);
    values.for_each(|(value, _)| *value = ABSENT);
}
