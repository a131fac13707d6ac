//! How counters grow and gauges move.

use firetower_model::{Sample, step_increase};

use super::{Window, WindowFunction};
use crate::curve::ABSENT;

pub(super) const TABLE: &[WindowFunction] = &[
    WindowFunction::new("rate", |window| per_second(window, increase(window))).prepared(lost_in_resets).of_counters(),
    WindowFunction::new("increase", increase).prepared(lost_in_resets).of_counters(),
    WindowFunction::new("delta", |window| {
        let (first, last) = window.ends();
        extrapolated(window, last.value - first.value, false)
    }),
    WindowFunction::new("irate", irate),
    WindowFunction::new("idelta", |window| last_two(window).map_or(ABSENT, |(first, last)| last.value - first.value)),
    WindowFunction::new("changes", |window| window.growth()).prepared(|samples| {
        running(samples, |from, to| f64::from(u8::from(from != to && !(from.is_nan() && to.is_nan()))))
    }),
    WindowFunction::new("resets", |window| window.growth())
        .prepared(|samples| running(samples, |from, to| f64::from(u8::from(to < from)))),
];

/// Returns, for each sample, the sum of what `step` says of each pair of neighbours up to it.
fn running(samples: &[Sample], step: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let mut total = 0.0;
    let mut previous = None;
    let mut up_to = |sample: &Sample| {
        total += previous.map_or(0.0, |previous| step(previous, sample.value));
        previous = Some(sample.value);
        total
    };
    samples.iter().map(&mut up_to).collect()
}

fn lost_in_resets(samples: &[Sample]) -> Vec<f64> {
    running(samples, |from, to| if to < from { from } else { 0.0 })
}

fn increase(window: &Window<'_>) -> f64 {
    let (first, last) = window.ends();
    let lost = match window.growth() {
        lost if lost.is_finite() => lost,
        // An infinite value before this window hides what was lost within it.
        _ => *lost_in_resets(window.samples).last().unwrap_or(&0.0),
    };
    extrapolated(window, last.value - first.value + lost, true)
}

fn per_second(window: &Window<'_>, increase: f64) -> f64 {
    if crate::is_absent(increase) { ABSENT } else { increase / ((window.end_ms - window.start_ms) as f64 / 1e3) }
}

/// Returns what `growth` between the outermost samples says of the whole range; nothing with fewer than two samples.
///
/// Goes on to an edge that is at most 1.1 mean distances of samples away, else half a distance; a counter not below zero.
///
/// Source: Prometheus `promql/functions.go`, `extrapolatedRate`.
fn extrapolated(window: &Window<'_>, growth: f64, is_counter: bool) -> f64 {
    if window.samples.len() < 2 {
        return ABSENT;
    }
    let (first, last) = window.ends();
    let mut to_start = (first.at.as_millis() - window.start_ms) as f64 / 1e3;
    let mut to_end = (window.end_ms - last.at.as_millis()) as f64 / 1e3;
    let sampled = (last.at.as_millis() - first.at.as_millis()) as f64 / 1e3;
    let mean_distance = sampled / (window.samples.len() - 1) as f64;
    let threshold = mean_distance * 1.1;
    if to_start >= threshold {
        to_start = mean_distance / 2.0;
    }
    if is_counter && growth > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / growth));
    }
    if to_end >= threshold {
        to_end = mean_distance / 2.0;
    }
    growth * ((sampled + to_start + to_end) / sampled)
}

fn last_two(window: &Window<'_>) -> Option<(Sample, Sample)> {
    let [.., first, last] = window.samples else { return None };
    (first.at < last.at).then_some((*first, *last))
}

fn irate(window: &Window<'_>) -> f64 {
    let Some((first, last)) = last_two(window) else { return ABSENT };
    let seconds = (last.at.as_millis() - first.at.as_millis()) as f64 / 1e3;
    step_increase(first.value, last.value) / seconds
}
