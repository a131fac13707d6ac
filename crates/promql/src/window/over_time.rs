//! What the samples in a range have in common.

use firetower_model::Sample;

use super::{Window, WindowFunction};
use crate::kahan::{Mean, Sum};
use crate::quantile::quantile;

pub(super) const TABLE: &[WindowFunction] = &[
    WindowFunction::new("sum_over_time", |window| {
        let mut sum = Sum::default();
        window.values().for_each(|value| sum.add(value));
        sum.value()
    }),
    WindowFunction::new("avg_over_time", |window| {
        let mut mean = Mean::of(window.samples[0].value);
        window.values().skip(1).for_each(|value| mean.add(value));
        mean.value()
    }),
    WindowFunction::new("count_over_time", |window| window.samples.len() as f64),
    WindowFunction::new("min_over_time", |window| best(window, |value, best| value < best).value),
    WindowFunction::new("max_over_time", |window| best(window, |value, best| value > best).value),
    WindowFunction::new("first_over_time", |window| window.ends().0.value).keeping_name(),
    WindowFunction::new("last_over_time", |window| window.ends().1.value).keeping_name(),
    WindowFunction::new("present_over_time", |_| 1.0),
    WindowFunction::new("stdvar_over_time", variance),
    WindowFunction::new("stddev_over_time", |window| variance(window).sqrt()),
    WindowFunction::new("quantile_over_time", |window| {
        quantile(window.arguments[0], &mut window.values().collect::<Vec<_>>())
    })
    .checked(|arguments, notes| {
        notes.check_quantile(arguments[0]);
        Ok(())
    }),
    WindowFunction::new("mad_over_time", |window| {
        let median = quantile(0.5, &mut window.values().collect::<Vec<_>>());
        quantile(0.5, &mut window.values().map(|value| (value - median).abs()).collect::<Vec<_>>())
    }),
    WindowFunction::new("ts_of_first_over_time", |window| window.ends().0.at.as_seconds()),
    WindowFunction::new("ts_of_last_over_time", |window| window.ends().1.at.as_seconds()),
    WindowFunction::new("ts_of_min_over_time", |window| best(window, |value, best| value <= best).at.as_seconds()),
    WindowFunction::new("ts_of_max_over_time", |window| best(window, |value, best| value >= best).at.as_seconds()),
];

/// Returns the sample that is `better` than those before it; NaN is the worst.
fn best(window: &Window<'_>, better: impl Fn(f64, f64) -> bool) -> Sample {
    let mut best = window.samples[0];
    for sample in &window.samples[1..] {
        if best.value.is_nan() || better(sample.value, best.value) {
            best = *sample;
        }
    }
    best
}

/// Returns the population variance.
///
/// Source: Prometheus `promql/functions.go`, `varianceOverTime` (Welford's algorithm with compensated sums).
fn variance(window: &Window<'_>) -> f64 {
    let (mut mean, mut squares) = (Sum::default(), Sum::default());
    for (at, value) in window.values().enumerate() {
        let difference = value - mean.value();
        mean.add(difference / (at + 1) as f64);
        squares.add(difference * (value - mean.value()));
    }
    squares.value() / window.samples.len() as f64
}
