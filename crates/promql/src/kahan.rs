//! Sums that do not lose small terms beside large ones.

/// A running sum with its compensation.
///
/// Source: Prometheus `util/kahansum`, Neumaier's variant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(crate) fn of(first: f64) -> Sum {
        Sum { sum: first, lost: 0.0 }
    }

    /// Returns the sum with `term` added.
    pub(crate) fn plus(self, term: f64) -> Sum {
        let sum = self.sum + term;
        let lost = if sum.is_infinite() {
            0.0
        } else if self.sum.abs() >= term.abs() {
            self.lost + ((self.sum - sum) + term)
        } else {
            self.lost + ((term - sum) + self.sum)
        };
        Sum { sum, lost }
    }

    /// Adds `term`.
    pub(crate) fn add(&mut self, term: f64) {
        *self = self.plus(term);
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: Sum) {
        *self = self.with(other);
    }

    fn with(self, other: Sum) -> Sum {
        let sum = self.plus(other.sum);
        Sum { lost: sum.lost + other.lost, ..sum }
    }

    /// As how many numbers it is passed on.
    pub(crate) const WIDTH: usize = 2;

    pub(crate) fn write(self, out: &mut Vec<f64>) {
        out.extend([self.sum, self.lost]);
    }

    pub(crate) fn read(numbers: &[f64]) -> Sum {
        Sum { sum: numbers[0], lost: numbers[1] }
    }

    pub(crate) fn value(self) -> f64 {
        self.sum + self.lost
    }

    fn scaled(self, factor: f64) -> Sum {
        Sum { sum: self.sum * factor, lost: self.lost * factor }
    }
}

/// A running mean: a sum as long as that does not overflow, then the mean itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    count: f64,
    sum: Sum,
    is_incremental: bool,
}

impl Mean {
    pub(crate) fn of(first: f64) -> Mean {
        Mean { count: 1.0, sum: Sum::of(first), is_incremental: false }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.is_incremental {
            let next = self.sum.plus(value);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.is_incremental = true;
            self.sum = Sum { sum: self.sum.sum / (self.count - 1.0), lost: self.sum.lost / (self.count - 1.0) };
        }
        self.sum = self.sum.scaled((self.count - 1.0) / self.count).plus(value / self.count);
    }

    /// Adds what others come to.
    pub(crate) fn merge(&mut self, other: Mean) {
        let count = self.count + other.count;
        let sum = self.sum.with(other.sum);
        if self.is_incremental || other.is_incremental || sum.sum.is_infinite() {
            let (ours, others) = (self.as_means(), other.as_means());
            let sum = ours.scaled(self.count / count).with(others.scaled(other.count / count));
            *self = Mean { count, sum, is_incremental: true };
        } else {
            *self = Mean { count, sum, is_incremental: false };
        }
    }

    fn as_means(self) -> Sum {
        if self.is_incremental { self.sum } else { self.sum.scaled(1.0 / self.count) }
    }

    /// As how many numbers it is passed on.
    pub(crate) const WIDTH: usize = 4;

    pub(crate) fn write(self, out: &mut Vec<f64>) {
        out.extend([self.count, self.sum.sum, self.sum.lost, f64::from(u8::from(self.is_incremental))]);
    }

    pub(crate) fn read(numbers: &[f64]) -> Mean {
        let sum = Sum { sum: numbers[1], lost: numbers[2] };
        Mean { count: numbers[0], sum, is_incremental: numbers[3] != 0.0 }
    }

    pub(crate) fn value(self) -> f64 {
        if self.is_incremental { self.sum.value() } else { self.sum.sum / self.count + self.sum.lost / self.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_large_ones() {
        let mut sum = Sum::default();
        [2.0, 8.0, 1e100, -1e100].into_iter().for_each(|term| sum.add(term));
        assert_eq!(sum.value(), 10.0);
    }

    #[test]
    fn a_mean_of_huge_values_does_not_overflow() {
        let huge = f64::MAX / 1.8;
        let check = |values: &[f64], expected: f64| {
            let mut mean = Mean::of(values[0]);
            values[1..].iter().for_each(|value| mean.add(*value));
            assert!(mean.value() == expected || mean.value().is_nan() && expected.is_nan(), "{values:?}: {mean:?}");
        };
        check(&[huge, huge, huge], huge);
        check(&[f64::INFINITY, 2.0], f64::INFINITY);
        check(&[f64::INFINITY, f64::NEG_INFINITY], f64::NAN);
        check(&[1.0, 2.0, 6.0], 3.0);
    }
}
