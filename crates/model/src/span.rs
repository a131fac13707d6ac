//! One series over a stretch of time.

use crate::sample::{Sample, is_stale, step_increase};
use crate::time::Timestamp;

/// One series over a stretch of time: what the tiers keep in place of its samples.
///
/// Staleness markers are no samples of it. NaN and infinities are counted in `special` and enter neither
/// `sum`, `min`, `max` nor `increase`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// How many samples, special ones included.
    pub samples: u64,
    /// How many of them are NaN or infinite.
    pub special: u64,
    /// When the first finite sample was.
    pub first_t: Timestamp,
    /// Its value.
    pub first: f64,
    /// When the last finite sample was.
    pub last_t: Timestamp,
    /// Its value.
    pub last: f64,
    /// Sum of the finite values.
    pub sum: f64,
    /// Least finite value; `+Inf` if there is none.
    pub min: f64,
    /// Greatest finite value; `-Inf` if there is none.
    pub max: f64,
    /// Sum of the steps between the finite samples inside, with resets seen as starts from zero.
    pub increase: f64,
    /// How many of these steps went down.
    pub resets: u64,
}

impl Span {
    /// A stretch of time without samples.
    pub const EMPTY: Span = Span {
        samples: 0,
        special: 0,
        first_t: Timestamp::MAX,
        first: 0.0,
        last_t: Timestamp::MIN,
        last: 0.0,
        sum: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        increase: 0.0,
        resets: 0,
    };

    /// Adds the next sample in time order.
    pub fn push(&mut self, sample: Sample) {
        if is_stale(sample.value) {
            return;
        }
        if !sample.value.is_finite() {
            self.samples += 1;
            self.special += 1;
            return;
        }
        let Sample { at, value } = sample;
        self.merge(&Span {
            samples: 1,
            special: 0,
            first_t: at,
            first: value,
            last_t: at,
            last: value,
            sum: value,
            min: value,
            max: value,
            increase: 0.0,
            resets: 0,
        });
    }

    /// Adds a span that lies wholly after this one.
    pub fn merge(&mut self, later: &Span) {
        let has_values = |span: &Span| span.samples > span.special;
        if has_values(self) && has_values(later) {
            assert!(self.last_t < later.first_t, "spans merge in time order");
            self.increase += step_increase(self.last, later.first);
            self.resets += u64::from(later.first < self.last);
        }
        if !has_values(self) {
            (self.first_t, self.first) = (later.first_t, later.first);
        }
        if has_values(later) {
            (self.last_t, self.last) = (later.last_t, later.last);
        }
        self.samples += later.samples;
        self.special += later.special;
        self.sum += later.sum;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.increase += later.increase;
        self.resets += later.resets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::STALE;

    fn span(samples: &[(i64, f64)]) -> Span {
        let mut span = Span::EMPTY;
        for &(at, value) in samples {
            span.push(Sample { at: Timestamp::from_millis(at), value });
        }
        span
    }

    #[test]
    fn merging_equals_pushing_wherever_it_is_cut() {
        let samples =
            [(1, 10.0), (2, 14.0), (3, f64::NAN), (4, 3.0), (5, STALE), (6, 3.0), (7, f64::INFINITY), (8, 9.0)];
        let whole = span(&samples);
        assert_eq!((whole.samples, whole.special, whole.increase, whole.resets), (7, 2, 4.0 + 3.0 + 0.0 + 6.0, 1));
        for cut in 0..=samples.len() {
            let mut merged = span(&samples[..cut]);
            merged.merge(&span(&samples[cut..]));
            assert_eq!(merged, whole, "cut at {cut}");
        }
    }
}
