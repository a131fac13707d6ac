//! One series over all steps.

use std::collections::HashMap;

use firetower_model::labels::NAME;
use firetower_model::{Labels, STALE, is_stale};

use crate::error::Error;

/// Stands where a series has no value; the staleness marker, which is never a value itself.
pub const ABSENT: f64 = STALE;

/// Tells whether a step has no value; an ordinary NaN is one.
pub fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// The values of one series, one for each step.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its labels, `__name__` where it still has one.
    pub labels: Labels,
    /// One value a step, [`ABSENT`] where there is none; not all are absent.
    pub values: Vec<f64>,
}

impl Curve {
    /// Tells whether no step has a value.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.iter().all(|value| is_absent(*value))
    }
}

/// Returns `labels` without `__name__`.
pub(crate) fn nameless(labels: &Labels) -> Labels {
    labels.kept(|name| name != NAME)
}

/// Puts curves with equal labels together, which may not overlap.
#[derive(Default)]
pub(crate) struct Union {
    curves: Vec<Curve>,
    places: HashMap<Labels, usize>,
}

impl Union {
    /// Adds a curve.
    ///
    /// # Errors
    /// [`Error::SameLabels`] if a curve with the same labels has a value at the same step.
    pub(crate) fn add(&mut self, curve: Curve) -> Result<(), Error> {
        let Some(place) = self.places.get(&curve.labels) else {
            self.places.insert(curve.labels.clone(), self.curves.len());
            self.curves.push(curve);
            return Ok(());
        };
        for (kept, value) in self.curves[*place].values.iter_mut().zip(curve.values) {
            match (is_absent(*kept), is_absent(value)) {
                (_, true) => {}
                (true, false) => *kept = value,
                (false, false) => return Err(Error::SameLabels),
            }
        }
        Ok(())
    }

    /// Sets the value of one of `count` steps; what was there is lost.
    pub(crate) fn put(&mut self, labels: Labels, step: usize, value: f64, count: usize) {
        let place = *self.places.entry(labels).or_insert_with_key(|labels| {
            self.curves.push(Curve { labels: labels.clone(), values: vec![ABSENT; count] });
            self.curves.len() - 1
        });
        self.curves[place].values[step] = value;
    }

    /// Returns the curves in the order in which they first came.
    pub(crate) fn finish(self) -> Vec<Curve> {
        self.curves
    }
}
