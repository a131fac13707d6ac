//! Aggregations that keep one small state a group and step.

use super::{Grouping, Groups, each_present};
use crate::curve::{ABSENT, Curve};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::kahan::{Mean, Sum};
use crate::plan::Vector;
use crate::steps::Steps;

/// What is known of the values of a group at one step.
pub(super) trait State: Copy {
    /// Begins with the first value.
    fn first(value: f64) -> Self;

    /// Adds another.
    fn add(&mut self, value: f64);

    /// Returns what is said of them.
    fn finish(self) -> f64;
}

impl Evaluation<'_> {
    pub(super) fn fold<S: State>(
        &self,
        grouping: &Grouping,
        of: &Vector,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let mut groups: Groups<Vec<Option<S>>> = Groups::new();
        self.stream(of, steps, &mut |curve| {
            let states = groups.of(
                &curve.labels,
                |name| grouping.keeps(name),
                || {
                    self.meter.hold(steps.count())?;
                    Ok(vec![None; steps.count()])
                },
            )?;
            for (step, value) in each_present(&curve.values) {
                match &mut states[step] {
                    Some(state) => state.add(value),
                    state => *state = Some(S::first(value)),
                }
            }
            Ok(())
        })?;
        self.forget(groups.list.len(), steps);
        groups.list.into_iter().try_for_each(|(labels, states)| {
            let values = states.into_iter().map(|state| state.map_or(ABSENT, S::finish)).collect();
            sink(Curve { labels, values })
        })
    }
}

impl State for Sum {
    fn first(value: f64) -> Sum {
        Sum::of(value)
    }

    fn add(&mut self, value: f64) {
        Sum::add(self, value);
    }

    fn finish(self) -> f64 {
        self.value()
    }
}

impl State for Mean {
    fn first(value: f64) -> Mean {
        Mean::of(value)
    }

    fn add(&mut self, value: f64) {
        Mean::add(self, value);
    }

    fn finish(self) -> f64 {
        self.value()
    }
}

/// The least value; NaN gives way to any.
#[derive(Clone, Copy)]
pub(super) struct Least(f64);

impl State for Least {
    fn first(value: f64) -> Least {
        Least(value)
    }

    fn add(&mut self, value: f64) {
        if value < self.0 || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn finish(self) -> f64 {
        self.0
    }
}

/// The greatest value; NaN gives way to any.
#[derive(Clone, Copy)]
pub(super) struct Greatest(f64);

impl State for Greatest {
    fn first(value: f64) -> Greatest {
        Greatest(value)
    }

    fn add(&mut self, value: f64) {
        if value > self.0 || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn finish(self) -> f64 {
        self.0
    }
}

/// How many values.
#[derive(Clone, Copy)]
pub(super) struct Count(u32);

impl State for Count {
    fn first(_: f64) -> Count {
        Count(1)
    }

    fn add(&mut self, _: f64) {
        self.0 += 1;
    }

    fn finish(self) -> f64 {
        f64::from(self.0)
    }
}

/// That there is any value.
#[derive(Clone, Copy)]
pub(super) struct One;

impl State for One {
    fn first(_: f64) -> One {
        One
    }

    fn add(&mut self, _: f64) {}

    fn finish(self) -> f64 {
        1.0
    }
}

/// The population variance, by Welford's algorithm.
#[derive(Clone, Copy)]
pub(super) struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl State for Variance {
    fn first(value: f64) -> Variance {
        Variance { count: 1.0, mean: value, squares: if value.is_finite() { 0.0 } else { f64::NAN } }
    }

    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let difference = value - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (value - self.mean);
    }

    fn finish(self) -> f64 {
        self.squares / self.count
    }
}

/// The population standard deviation.
#[derive(Clone, Copy)]
pub(super) struct Deviation(Variance);

impl State for Deviation {
    fn first(value: f64) -> Deviation {
        Deviation(Variance::first(value))
    }

    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn finish(self) -> f64 {
        self.0.finish().sqrt()
    }
}
