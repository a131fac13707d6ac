//! Many series in one window.

/// Many series in one window: what goes up the tree.
///
/// Each series gives its last non-stale value, carried forward for at most its scrape interval.
/// NaN and infinities are counted in `special` and never summed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cross {
    /// How many series, special ones included.
    pub series: u64,
    /// How many of them stand at NaN or an infinity.
    pub special: u64,
    /// Sum of the finite values.
    pub sum: f64,
    /// Least finite value; `+Inf` if there is none.
    pub min: f64,
    /// Greatest finite value; `-Inf` if there is none.
    pub max: f64,
    /// Sum of the increases in the window of those series that are counters.
    pub increase: f64,
    /// How many counters had no earlier sample to measure their increase from.
    pub unanchored: u64,
}

impl Cross {
    /// A window without series.
    pub const EMPTY: Cross = Cross {
        series: 0,
        special: 0,
        sum: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        increase: 0.0,
        unanchored: 0,
    };

    /// Adds other series of the same window.
    ///
    /// Always in the order of the children's names, so that every replica comes to the same bits.
    pub fn merge(&mut self, other: &Cross) {
        self.series += other.series;
        self.special += other.special;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.increase += other.increase;
        self.unanchored += other.unanchored;
    }
}

/// Adds up series into a [`Cross`], with compensated sums.
///
/// Sums of integers stay exact below 2^53 in any order; other sums stay within 1e-12 of the sum of the absolute values.
///
/// Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen" (1974).
#[derive(Clone, Copy, Debug)]
pub struct CrossSum {
    cross: Cross,
    sum_carry: f64,
    increase_carry: f64,
}

impl CrossSum {
    /// Nothing added yet.
    pub const EMPTY: CrossSum = CrossSum { cross: Cross::EMPTY, sum_carry: 0.0, increase_carry: 0.0 };

    /// Adds one series that stands at `value`, which is not stale.
    pub fn add_value(&mut self, value: f64) {
        self.cross.series += 1;
        if !value.is_finite() {
            self.cross.special += 1;
            return;
        }
        add(&mut self.cross.sum, &mut self.sum_carry, value);
        self.cross.min = self.cross.min.min(value);
        self.cross.max = self.cross.max.max(value);
    }

    /// Adds the growth of one counter; growth from or to NaN or an infinity is none.
    pub fn add_increase(&mut self, increase: f64) {
        if increase.is_finite() {
            add(&mut self.cross.increase, &mut self.increase_carry, increase);
        }
    }

    /// Counts a counter without an earlier sample.
    pub fn add_unanchored(&mut self) {
        self.cross.unanchored += 1;
    }

    /// Adds what another has added.
    pub fn merge(&mut self, other: &CrossSum) {
        let (sum, increase) = (self.cross.sum, self.cross.increase);
        self.cross.merge(&other.cross);
        (self.cross.sum, self.cross.increase) = (sum, increase);
        add(&mut self.cross.sum, &mut self.sum_carry, other.cross.sum);
        add(&mut self.cross.increase, &mut self.increase_carry, other.cross.increase);
        self.sum_carry += other.sum_carry;
        self.increase_carry += other.increase_carry;
    }

    /// Returns what was added.
    pub fn finish(&self) -> Cross {
        Cross {
            sum: self.cross.sum + self.sum_carry,
            increase: self.cross.increase + self.increase_carry,
            ..self.cross
        }
    }
}

fn add(sum: &mut f64, carry: &mut f64, value: f64) {
    let next = *sum + value;
    *carry += if sum.abs() >= value.abs() { (*sum - next) + value } else { (value - next) + *sum };
    *sum = next;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specials_are_counted_and_not_summed() {
        let mut sum = CrossSum::EMPTY;
        for value in [1.0, f64::NAN, f64::INFINITY, -3.0] {
            sum.add_value(value);
        }
        sum.add_increase(4.0);
        sum.add_increase(f64::NAN);
        let cross = sum.finish();
        assert_eq!((cross.series, cross.special, cross.sum, cross.min, cross.max), (4, 2, -2.0, -3.0, 1.0));
        assert_eq!(cross.increase, 4.0);
    }

    #[test]
    fn compensation_keeps_what_plain_sums_lose() {
        let values: Vec<f64> = (0..100_000).map(|i| if i % 2 == 0 { 1e16 } else { 0.1 }).collect();
        let mut sum = CrossSum::EMPTY;
        values.iter().for_each(|v| sum.add_value(*v));
        let exact = 50_000.0 * 1e16 + 5_000.0;
        assert!((sum.finish().sum - exact).abs() <= 1e-12 * exact);
    }

    #[test]
    fn integers_are_bit_equal_however_they_are_merged() {
        let values: Vec<f64> = (0..1000u64).map(|i| (i * i * 7919 % 1_000_003) as f64).collect();
        let whole = merged_in_chunks(&values, values.len());
        for chunk in [1, 3, 64, 999] {
            assert_eq!(merged_in_chunks(&values, chunk), whole, "chunks of {chunk}");
        }
    }

    fn merged_in_chunks(values: &[f64], chunk: usize) -> Cross {
        let mut merged = Cross::EMPTY;
        for part in values.chunks(chunk) {
            let mut sum = CrossSum::EMPTY;
            part.iter().for_each(|v| sum.add_value(*v));
            merged.merge(&sum.finish());
        }
        merged
    }
}
