//! Where the samples in a range lead.

use super::{Window, WindowFunction};
use crate::curve::ABSENT;
use crate::error::Error;
use crate::kahan::Sum;
use crate::notes::Notes;

pub(super) const TABLE: &[WindowFunction] = &[
    WindowFunction::new("deriv", |window| line(window, window.samples[0].at.as_millis()).map_or(ABSENT, |line| line.0)),
    WindowFunction::new("predict_linear", |window| {
        line(window, window.now_ms).map_or(ABSENT, |(slope, now)| slope * window.arguments[0] + now)
    })
    .of_now(),
    WindowFunction::new("double_exponential_smoothing", smooth).checked(check_factors),
];

/// Returns the slope per second, and the value at `at_ms`, of the least squares line; nothing with fewer than two samples.
///
/// Source: Prometheus `promql/functions.go`, `linearRegression`.
fn line(window: &Window<'_>, at_ms: i64) -> Option<(f64, f64)> {
    if window.samples.len() < 2 {
        return None;
    }
    let first = window.samples[0].value;
    if window.values().all(|value| value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let count = window.samples.len() as f64;
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Sum::default(); 4];
    for sample in window.samples {
        let (x, y) = ((sample.at.as_millis() - at_ms) as f64 / 1e3, sample.value);
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let (x_sum, y_sum) = (x_sum.value(), y_sum.value());
    let covariance = xy_sum.value() - x_sum * y_sum / count;
    let slope = covariance / (xx_sum.value() - x_sum * x_sum / count);
    Some((slope, y_sum / count - slope * x_sum / count))
}

/// Returns the newest smoothed value by Holt and Winters; nothing with fewer than two samples.
///
/// Source: Prometheus `promql/functions.go`, `funcDoubleExponentialSmoothing`.
fn smooth(window: &Window<'_>) -> f64 {
    let [first, second, ..] = window.samples else { return ABSENT };
    let [smoothing, trending] = window.arguments else { return ABSENT };
    let (mut before, mut level, mut trend) = (0.0, first.value, second.value - first.value);
    for (at, value) in window.values().enumerate().skip(1) {
        if at > 1 {
            trend = trending * (level - before) + (1.0 - trending) * trend;
        }
        before = level;
        level = smoothing * value + (1.0 - smoothing) * (level + trend);
    }
    level
}

fn check_factors(factors: &[f64], _: &Notes) -> Result<(), Error> {
    for (factor, what) in factors.iter().zip(["smoothing", "trend"]) {
        if !(*factor > 0.0 && *factor < 1.0) {
            let short = if what == "trend" { "tf" } else { "sf" };
            return Err(Error::argument(format!("invalid {what} factor. Expected: 0 < {short} < 1, got: {factor}")));
        }
    }
    Ok(())
}
