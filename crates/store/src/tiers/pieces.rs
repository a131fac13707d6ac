//! From samples to spans.
//!
//! A span is a function of its samples, whoever asks and from wherever they were read: what floating point leaves open
//! is closed by [`canonical`].

use firetower_model::{Span, Timestamp, is_stale, step_increase};

use crate::tiers::decimal::{SCALES, scaled, whole};

/// How far, relative to its largest value, a sum may be moved to a decimal that stands nearby.
///
/// Sums are exact within 1e-12 of the sum of sizes; this leaves the rest to the addition itself.
const SNAP: f64 = 2e-13;

/// What one bucket has of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    /// The step's number: its start divided by its length.
    pub(crate) step: i64,
    pub(crate) span: Span,
}

/// Appends what `times` and `values`, in time order and of one bucket, make of each step of `step_ms`.
pub(crate) fn cut(times: &[i64], values: &[f64], step_ms: i64, pieces: &mut Vec<Piece>) {
    let mut from = 0;
    while from < times.len() {
        let step = times[from].div_euclid(step_ms);
        let inside = times[from..].partition_point(|at| at.div_euclid(step_ms) == step);
        let span = span(&times[from..from + inside], &values[from..from + inside]);
        if span.samples > 0 {
            pieces.push(Piece { step, span });
        }
        from += inside;
    }
}

/// Appends what `pieces`, in order and of steps of `step_ms`, make of each step of `longer_ms`, a multiple of it.
pub(crate) fn roll_up(pieces: &[Piece], step_ms: i64, longer_ms: i64, longer: &mut Vec<Piece>) {
    let steps = longer_ms / step_ms;
    for same in pieces.chunk_by(|a, b| a.step.div_euclid(steps) == b.step.div_euclid(steps)) {
        let mut span = Span::EMPTY;
        same.iter().for_each(|piece| span.merge(&piece.span));
        canonical(&mut span);
        longer.push(Piece { step: same[0].step.div_euclid(steps), span });
    }
}

/// Adds `later`, which may continue the last piece's step, to `pieces`.
pub(crate) fn join(pieces: &mut Vec<Piece>, later: Piece) {
    match pieces.last_mut() {
        Some(last) if last.step == later.step => {
            last.span.merge(&later.span);
            canonical(&mut last.span);
        }
        _ => pieces.push(later),
    }
}

fn span(times: &[i64], values: &[f64]) -> Span {
    let mut span = Span::EMPTY;
    let mut last: Option<(i64, f64)> = None;
    for (at, value) in times.iter().zip(values) {
        if !value.is_finite() {
            span.samples += u64::from(!is_stale(*value));
            span.special += u64::from(!is_stale(*value));
            continue;
        }
        match last {
            Some((_, previous)) => {
                span.increase += step_increase(previous, *value);
                span.resets += u64::from(*value < previous);
            }
            None => (span.first_t, span.first) = (Timestamp::from_millis(*at), *value),
        }
        last = Some((*at, *value));
        span.samples += 1;
        span.sum += value;
        span.min = span.min.min(*value);
        span.max = span.max.max(*value);
    }
    if let Some((at, value)) = last {
        (span.last_t, span.last) = (Timestamp::from_millis(at), value);
        canonical(&mut span);
    }
    span
}

/// Chooses, among sums as good as each other, the one that follows from the fewest numbers.
///
/// Equal values add up to their product, an unbroken rise is last less first, and sums of decimals are decimals.
pub(crate) fn canonical(span: &mut Span) {
    let finite = span.samples - span.special;
    if finite == 0 {
        return;
    }
    // Of zeros with different signs, the comparison may have kept either.
    span.min = least(least(span.min, span.first), span.last);
    span.max = -least(least(-span.max, -span.first), -span.last);
    if span.min.to_bits() == span.max.to_bits() {
        span.sum = finite as f64 * span.first;
    }
    if span.resets == 0 {
        span.increase = span.last - span.first;
    }
    let ends = [span.first, span.last, span.min, span.max];
    if ends.iter().all(|value| whole(*value).is_some()) {
        return;
    }
    let Some(scale) = SCALES.into_iter().find(|scale| ends.iter().all(|value| scaled(*value, *scale).is_some())) else {
        return;
    };
    let near = SNAP * span.max.abs().max(span.min.abs());
    for sum in [&mut span.sum, &mut span.increase] {
        let decimal = (*sum * scale).round() / scale;
        if (decimal - *sum).abs() <= near {
            *sum = decimal;
        }
    }
}

/// Returns the lesser of two numbers, -0 before 0.
fn least(a: f64, b: f64) -> f64 {
    if b < a || (b == a && b.is_sign_negative()) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firetower_model::{STALE, Sample};
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    fn close(found: f64, expected: f64, size: f64) -> bool {
        found == expected || (found - expected).abs() <= 1e-12 * size || (!expected.is_finite() && !found.is_finite())
    }

    /// Compares spans: sums within the bound for values that add up to `size`, all else equal.
    fn assert_alike(found: &Span, expected: &Span, size: f64) {
        let plain = |span: &Span| Span { sum: 0.0, increase: 0.0, ..*span };
        assert_eq!(plain(found), plain(expected));
        assert!(close(found.sum, expected.sum, size), "{found:?} {expected:?}");
        assert!(close(found.increase, expected.increase, 2.0 * size), "{found:?} {expected:?}");
    }

    #[test]
    fn sums_of_decimals_are_decimals() {
        let times: Vec<i64> = (0..10).collect();
        let mut pieces = Vec::new();
        cut(&times, &[0.1; 10], 100, &mut pieces);
        let mixed: Vec<f64> = (0..10).map(|n| f64::from(n) / 10.0).collect();
        cut(&times, &mixed, 100, &mut pieces);
        assert_eq!((pieces[0].span.sum, pieces[1].span.sum, pieces[1].span.increase), (1.0, 4.5, 0.9));
    }

    proptest! {
        #[test]
        fn spans_are_those_of_the_samples(
            samples in proptest::collection::vec((1..40i64, prop_oneof![
                4 => (0..100_000i64).prop_map(|n| n as f64 / 100.0),
                2 => (-50..50i64).prop_map(|n| n as f64),
                1 => prop_oneof![Just(STALE), Just(f64::NAN), Just(f64::INFINITY), Just(-0.0)],
                1 => any::<f64>().prop_filter("sums stay finite", |v| v.abs() < 1e200 || v.is_nan()),
            ]), 0..60)
        ) {
            let mut at = -500;
            let times: Vec<i64> = samples.iter().map(|(later, _)| { at += later; at }).collect();
            let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
            let mut pieces = Vec::new();
            cut(&times, &values, 100, &mut pieces);
            let mut longer = Vec::new();
            roll_up(&pieces, 100, 600, &mut longer);
            for (pieces, step_ms) in [(pieces, 100), (longer, 600)] {
                let mut found = 0;
                for piece in &pieces {
                    let (mut expected, mut size) = (Span::EMPTY, 0.0);
                    for (at, value) in times.iter().zip(&values).filter(|(at, _)| at.div_euclid(step_ms) == piece.step) {
                        expected.push(Sample { at: Timestamp::from_millis(*at), value: *value });
                        size += if value.is_finite() { value.abs() } else { 0.0 };
                    }
                    assert_alike(&piece.span, &expected, size);
                    found += piece.span.samples;
                }
                assert_eq!(found, values.iter().filter(|value| !is_stale(**value)).count() as u64);
            }
        }
    }
}
