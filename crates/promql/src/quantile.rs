//! Quantiles of values that are all there.

/// Returns the `quantile` of `values`, interpolated; it sorts them, NaN first.
///
/// NaN of no values or for a quantile that is NaN, -Inf below 0, +Inf above 1.
///
/// Source: Prometheus `promql/quantile.go`, `quantile`.
pub(crate) fn quantile(quantile: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || quantile.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&quantile) {
        return if quantile < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    values.sort_unstable_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = quantile * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let check = |at: f64, values: &[f64], expected: f64| {
            let found = quantile(at, &mut values.to_vec());
            assert!((found - expected).abs() < 1e-12 || found == expected || found.is_nan() && expected.is_nan());
        };
        check(0.5, &[4.0, 0.0, 1.0], 1.0);
        check(0.8, &[4.0, 0.0, 1.0], 2.8);
        check(0.8, &[f64::NAN, 0.0, 1.0], 0.6);
        check(0.2, &[f64::NAN, 0.0, 1.0], f64::NAN);
        check(-1.0, &[1.0], f64::NEG_INFINITY);
        check(2.0, &[1.0], f64::INFINITY);
        check(0.5, &[], f64::NAN);
    }
}
