//! Aggregations that keep one small state a group and step.

use firetower_model::Column as Numbers;

use super::{End, Groups, Members, each_present};
use crate::curve::{ABSENT, Curve, is_absent};
use crate::error::Error;
use crate::evaluate::Evaluation;
use crate::kahan::{Mean, Sum};
use crate::part::Coming;

/// What is known of the values of a group at one step.
pub(super) trait State: Copy {
    /// Begins with the first value.
    fn first(value: f64) -> Self;

    /// As how many numbers it is passed on.
    const WIDTH: usize;

    /// Adds another.
    fn add(&mut self, value: f64);

    /// Adds what is known of others.
    fn merge(&mut self, other: Self);

    /// Appends [`State::WIDTH`] numbers, of which the first is not [`ABSENT`].
    fn write(self, out: &mut Vec<f64>);

    /// Reads back what [`State::write`] wrote.
    fn read(numbers: &[f64]) -> Self;

    /// Returns what is said of them.
    fn finish(self) -> f64;
}

impl Evaluation<'_> {
    pub(super) fn fold<S: State>(&self, members: &Members<'_>, end: End<'_>) -> Result<(), Error> {
        let (grouping, steps) = (members.grouping, members.steps);
        let mut groups: Groups<Vec<Option<S>>> = Groups::new();
        self.members(members, &mut |coming| {
            let labels = match &coming {
                Coming::Curve(curve) => &curve.labels,
                Coming::Group(group) => &group.labels,
            };
            let make = || {
                self.meter.hold(steps.count())?;
                Ok(vec![None; steps.count()])
            };
            let states = groups.of(labels, |name| grouping.keeps(name), make)?;
            match coming {
                Coming::Curve(curve) => {
                    each_present(&curve.values)
                        .for_each(|(step, value)| put(&mut states[step], S::first(value), |state| state.add(value)));
                    Ok(())
                }
                Coming::Group(group) => merge(states, &group.values),
            }
        })?;
        self.forget(groups.list.len(), steps);
        match end {
            End::Values(sink) => groups.list.into_iter().try_for_each(|(labels, states)| {
                let values = states.into_iter().map(|state| state.map_or(ABSENT, S::finish)).collect();
                sink(Curve { labels, values })
            }),
            End::Numbers(sink) => groups.list.into_iter().try_for_each(|(labels, states)| {
                let mut values = Vec::with_capacity(states.len() * S::WIDTH);
                for state in states {
                    match state {
                        Some(state) => state.write(&mut values),
                        None => values.extend(std::iter::repeat_n(ABSENT, S::WIDTH)),
                    }
                }
                sink(Numbers { labels, values })
            }),
        }
    }
}

/// Adds what another knows of a group.
fn merge<S: State>(states: &mut [Option<S>], numbers: &[f64]) -> Result<(), Error> {
    if numbers.len() != states.len() * S::WIDTH {
        return Err(Error::Malformed);
    }
    for (state, numbers) in states.iter_mut().zip(numbers.chunks_exact(S::WIDTH)) {
        if !is_absent(numbers[0]) {
            let other = S::read(numbers);
            put(state, other, |state| state.merge(other));
        }
    }
    Ok(())
}

#[inline]
fn put<S>(state: &mut Option<S>, first: S, add: impl FnOnce(&mut S)) {
    match state {
        Some(state) => add(state),
        None => *state = Some(first),
    }
}

impl State for Sum {
    const WIDTH: usize = Sum::WIDTH;

    fn first(value: f64) -> Sum {
        Sum::of(value)
    }

    fn add(&mut self, value: f64) {
        Sum::add(self, value);
    }

    fn merge(&mut self, other: Sum) {
        Sum::merge(self, other);
    }

    fn write(self, out: &mut Vec<f64>) {
        Sum::write(self, out);
    }

    fn read(numbers: &[f64]) -> Sum {
        Sum::read(numbers)
    }

    fn finish(self) -> f64 {
        self.value()
    }
}

impl State for Mean {
    const WIDTH: usize = Mean::WIDTH;

    fn first(value: f64) -> Mean {
        Mean::of(value)
    }

    fn add(&mut self, value: f64) {
        Mean::add(self, value);
    }

    fn merge(&mut self, other: Mean) {
        Mean::merge(self, other);
    }

    fn write(self, out: &mut Vec<f64>) {
        Mean::write(self, out);
    }

    fn read(numbers: &[f64]) -> Mean {
        Mean::read(numbers)
    }

    fn finish(self) -> f64 {
        self.value()
    }
}

/// The least value; NaN gives way to any.
#[derive(Clone, Copy)]
pub(super) struct Least(f64);

impl State for Least {
    const WIDTH: usize = 1;

    fn first(value: f64) -> Least {
        Least(value)
    }

    fn add(&mut self, value: f64) {
        if value < self.0 || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn merge(&mut self, other: Least) {
        self.add(other.0);
    }

    fn write(self, out: &mut Vec<f64>) {
        out.push(self.0);
    }

    fn read(numbers: &[f64]) -> Least {
        Least(numbers[0])
    }

    fn finish(self) -> f64 {
        self.0
    }
}

/// The greatest value; NaN gives way to any.
#[derive(Clone, Copy)]
pub(super) struct Greatest(f64);

impl State for Greatest {
    const WIDTH: usize = 1;

    fn first(value: f64) -> Greatest {
        Greatest(value)
    }

    fn add(&mut self, value: f64) {
        if value > self.0 || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn merge(&mut self, other: Greatest) {
        self.add(other.0);
    }

    fn write(self, out: &mut Vec<f64>) {
        out.push(self.0);
    }

    fn read(numbers: &[f64]) -> Greatest {
        Greatest(numbers[0])
    }

    fn finish(self) -> f64 {
        self.0
    }
}

/// How many values.
#[derive(Clone, Copy)]
pub(super) struct Count(u64);

impl State for Count {
    const WIDTH: usize = 1;

    fn first(_: f64) -> Count {
        Count(1)
    }

    fn add(&mut self, _: f64) {
        self.0 += 1;
    }

    fn merge(&mut self, other: Count) {
        self.0 += other.0;
    }

    fn write(self, out: &mut Vec<f64>) {
        out.push(self.0 as f64);
    }

    fn read(numbers: &[f64]) -> Count {
        Count(numbers[0] as u64)
    }

    fn finish(self) -> f64 {
        self.0 as f64
    }
}

/// That there is any value.
#[derive(Clone, Copy)]
pub(super) struct One;

impl State for One {
    const WIDTH: usize = 1;

    fn first(_: f64) -> One {
        One
    }

    fn add(&mut self, _: f64) {}

    fn merge(&mut self, other: One) {
        let One = other;
    }

    fn write(self, out: &mut Vec<f64>) {
        out.push(1.0);
    }

    fn read(numbers: &[f64]) -> One {
        let _ = numbers;
        One
    }

    fn finish(self) -> f64 {
        1.0
    }
}

/// The population variance, by Welford's algorithm; merged by that of Chan, Golub and LeVeque.
#[derive(Clone, Copy)]
pub(super) struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl State for Variance {
    const WIDTH: usize = 3;

    fn first(value: f64) -> Variance {
        Variance { count: 1.0, mean: value, squares: if value.is_finite() { 0.0 } else { f64::NAN } }
    }

    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let difference = value - self.mean;
        self.mean += difference / self.count;
        self.squares += difference * (value - self.mean);
    }

    fn merge(&mut self, other: Variance) {
        let count = self.count + other.count;
        let difference = other.mean - self.mean;
        self.mean += difference * (other.count / count);
        self.squares += other.squares + difference * difference * (self.count * other.count / count);
        self.count = count;
    }

    fn write(self, out: &mut Vec<f64>) {
        out.extend([self.count, self.mean, self.squares]);
    }

    fn read(numbers: &[f64]) -> Variance {
        Variance { count: numbers[0], mean: numbers[1], squares: numbers[2] }
    }

    fn finish(self) -> f64 {
        self.squares / self.count
    }
}

/// The population standard deviation.
#[derive(Clone, Copy)]
pub(super) struct Deviation(Variance);

impl State for Deviation {
    const WIDTH: usize = Variance::WIDTH;

    fn first(value: f64) -> Deviation {
        Deviation(Variance::first(value))
    }

    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn merge(&mut self, other: Deviation) {
        self.0.merge(other.0);
    }

    fn write(self, out: &mut Vec<f64>) {
        self.0.write(out);
    }

    fn read(numbers: &[f64]) -> Deviation {
        Deviation(Variance::read(numbers))
    }

    fn finish(self) -> f64 {
        self.0.finish().sqrt()
    }
}
