//! The buckets of one histogram at one moment.

/// How much counts may differ, relatively, that should be equal: what floating point loses.
const TOLERANCE: f64 = 1e-12;

/// Upper bounds, ascending, each once, and how many observations are at or below each.
#[derive(Debug, Default)]
pub(super) struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    /// Takes buckets in ascending order; those with equal bounds are added up.
    pub(super) fn fill(&mut self, buckets: impl Iterator<Item = (f64, f64)>) {
        self.0.clear();
        for (bound, count) in buckets {
            match self.0.last_mut() {
                Some(last) if last.0 == bound => last.1 += count,
                _ => self.0.push((bound, count)),
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_whole(&self) -> bool {
        self.0.last().is_some_and(|(bound, _)| *bound == f64::INFINITY)
    }

    /// Returns the value below which `quantile` of the observations are, and whether counts had to be made to ascend.
    ///
    /// Source: Prometheus `promql/quantile.go`, `BucketQuantile`.
    pub(super) fn quantile(&self, quantile: f64) -> (f64, bool) {
        if quantile.is_nan() {
            return (f64::NAN, false);
        }
        if !(0.0..=1.0).contains(&quantile) {
            return (if quantile < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY }, false);
        }
        if !self.is_whole() {
            return (f64::NAN, false);
        }
        let (buckets, is_forced) = self.ascending();
        let last = buckets.len() - 1;
        let observations = buckets[last].1;
        if buckets.len() < 2 || observations == 0.0 || observations.is_nan() {
            return (f64::NAN, is_forced);
        }
        let rank = quantile * observations;
        let at = buckets[..last].iter().position(|(_, count)| *count >= rank).unwrap_or(last);
        let value = match at {
            at if at == last => buckets[last - 1].0,
            0 if buckets[0].0 <= 0.0 => buckets[0].0,
            0 => buckets[0].0 * (rank / buckets[0].1),
            at => {
                let ((start, below), (end, count)) = (buckets[at - 1], buckets[at]);
                start + (end - start) * ((rank - below) / (count - below))
            }
        };
        (value, is_forced)
    }

    /// Returns the buckets with counts that never descend, and whether one did by more than rounding.
    fn ascending(&self) -> (Vec<(f64, f64)>, bool) {
        let mut buckets = self.0.clone();
        let mut is_forced = false;
        let mut previous = buckets[0].1;
        for (_, count) in &mut buckets[1..] {
            if is_almost_equal(previous, *count) {
                *count = previous;
            } else if *count < previous {
                *count = previous;
                is_forced = true;
            } else {
                previous = *count;
            }
        }
        (buckets, is_forced)
    }

    /// Returns which fraction of the observations lies between `lower` and `upper`.
    ///
    /// Source: Prometheus `promql/quantile.go`, `BucketFraction`.
    pub(super) fn fraction(&self, lower: f64, upper: f64) -> f64 {
        let count = self.0.last().map_or(0.0, |(_, count)| *count);
        if !self.is_whole() || count == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN;
        }
        if lower >= upper {
            return 0.0;
        }
        (self.rank(upper).min(count) - self.rank(lower).min(count)) / count
    }

    /// Returns how many observations are at or below `value`, interpolated where its bucket has two finite bounds.
    fn rank(&self, value: f64) -> f64 {
        let mut below = 0.0;
        for (at, (upper, count)) in self.0.iter().enumerate() {
            let lower = match at {
                0 if *upper > 0.0 => 0.0,
                0 => f64::NEG_INFINITY,
                at => self.0[at - 1].0,
            };
            if lower >= value {
                return below;
            }
            if *upper > value {
                let is_open = lower == f64::NEG_INFINITY;
                return if is_open { *count } else { below + (count - below) * (value - lower) / (upper - lower) };
            }
            below = *count;
        }
        f64::INFINITY
    }
}

fn is_almost_equal(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() / (a.abs() + b.abs()).min(f64::MAX) < TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Buckets {
        let mut buckets = Buckets::default();
        buckets.fill(pairs.iter().copied());
        buckets
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let check = |pairs: &[(f64, f64)], quantile: f64, expected: f64| {
            let (found, _) = buckets(pairs).quantile(quantile);
            assert!((found - expected).abs() < 1e-9 || found.is_nan() && expected.is_nan(), "{pairs:?}: {found}");
        };
        let inf = f64::INFINITY;
        check(&[(0.1, 5.0), (0.2, 7.0), (1.0, 11.0), (inf, 12.0)], 0.8, 0.72);
        check(&[(0.1, 5.0), (0.2, 7.0), (1.0, 11.0), (inf, 12.0)], 1.0, 1.0);
        check(&[(-0.2, 1.0), (-0.1, 2.0), (inf, 3.0)], 0.0, -0.2);
        check(&[(0.1, 1.0), (0.1, 1.0), (inf, 4.0)], 0.25, 0.05);
        check(&[(0.1, 1.0), (1.0, 4.0)], 0.5, f64::NAN);
        check(&[(inf, 4.0)], 0.5, f64::NAN);
        check(&[(1.0, 0.0), (inf, 0.0)], 0.5, f64::NAN);
        assert!(buckets(&[(0.1, 2.0), (1.0, 1.0), (inf, 3.0)]).quantile(0.5).1);
        assert!(!buckets(&[(0.1, 2.0), (1.0, 2.0 - 1e-13), (inf, 3.0)]).quantile(0.5).1);
    }

    #[test]
    fn fractions_interpolate_between_finite_bounds() {
        let inf = f64::INFINITY;
        let positive = [(1.0, 1.0), (2.0, 3.0), (3.0, 6.0), (inf, 100.0)];
        let check = |pairs: &[(f64, f64)], lower: f64, upper: f64, expected: f64| {
            let found = buckets(pairs).fraction(lower, upper);
            assert!((found - expected).abs() < 1e-12, "{lower}..{upper}: {found}");
        };
        check(&positive, 0.5, 2.0, 0.025);
        check(&positive, 2.0, 5.0, 0.03);
        check(&positive, -inf, inf, 1.0);
        check(&positive, 3.0, 2.0, 0.0);
        check(&[(-3.0, 10.0), (-2.0, 12.0), (inf, 100.0)], -4.0, -2.0, 0.02);
        assert!(buckets(&positive).fraction(f64::NAN, 1.0).is_nan());
    }
}
