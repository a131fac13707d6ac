//! Functions of one series' samples in a range.

mod over_time;
mod rate;
mod regression;

use firetower_model::Sample;

use crate::error::Error;
use crate::notes::Notes;

/// The samples of one series in one range, at least one, none of them a staleness marker.
pub(crate) struct Window<'a> {
    /// In time order.
    pub samples: &'a [Sample],
    /// What the function's `prepare` found for each of them; empty where it has none.
    pub before: &'a [f64],
    /// The range is open here,
    pub start_ms: i64,
    /// and closed here.
    pub end_ms: i64,
    /// The step; not the same as the end where there is an `offset` or `@`.
    pub now_ms: i64,
    /// The scalar arguments at this step.
    pub arguments: &'a [f64],
}

impl Window<'_> {
    /// Returns the oldest and the newest sample.
    fn ends(&self) -> (Sample, Sample) {
        (self.samples[0], self.samples[self.samples.len() - 1])
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|sample| sample.value)
    }

    /// Returns by how much a running total grew after the oldest sample.
    fn growth(&self) -> f64 {
        self.before[self.before.len() - 1] - self.before[0]
    }
}

/// Looks once at all samples of a series, and says something of each.
type Prepare = fn(&[Sample]) -> Vec<f64>;

/// Looks at the arguments of a step.
type Check = fn(&[f64], &Notes) -> Result<(), Error>;

/// A function of the samples in a range.
#[derive(Debug)]
pub(crate) struct WindowFunction {
    /// As it is written.
    pub name: &'static str,
    /// Returns its value, or [`ABSENT`](crate::ABSENT).
    pub apply: fn(&Window<'_>) -> f64,
    /// Runs once over all samples of a series, so that a window needs not look at each of its own.
    pub prepare: Option<Prepare>,
    /// Looks at the arguments of a step.
    pub check: Option<Check>,
    /// Its values are the series' own.
    pub keeps_name: bool,
    /// Its value depends on the step, not only on what is in the range.
    pub wants_now: bool,
    /// It makes sense for counters only.
    pub wants_counter: bool,
}

impl WindowFunction {
    const fn new(name: &'static str, apply: fn(&Window<'_>) -> f64) -> WindowFunction {
        WindowFunction {
            name,
            apply,
            prepare: None,
            check: None,
            keeps_name: false,
            wants_now: false,
            wants_counter: false,
        }
    }

    const fn prepared(self, prepare: Prepare) -> WindowFunction {
        WindowFunction { prepare: Some(prepare), ..self }
    }

    const fn checked(self, check: Check) -> WindowFunction {
        WindowFunction { check: Some(check), ..self }
    }

    const fn of_counters(self) -> WindowFunction {
        WindowFunction { wants_counter: true, ..self }
    }

    const fn keeping_name(self) -> WindowFunction {
        WindowFunction { keeps_name: true, ..self }
    }

    const fn of_now(self) -> WindowFunction {
        WindowFunction { wants_now: true, ..self }
    }

    /// Returns the function that is written `name`.
    pub(crate) fn find(name: &str) -> Option<&'static WindowFunction> {
        [rate::TABLE, over_time::TABLE, regression::TABLE].into_iter().flatten().find(|function| function.name == name)
    }
}
