//! The buckets, count and sum of one histogram at one moment.

use super::line::SampleLine;
use crate::exposition::value::parse_float;

/// What is known of a histogram so far.
#[derive(Debug)]
pub(super) struct Histogram {
    /// The line where it begins.
    pub(super) line: usize,
    bound: Option<f64>,
    bucket: f64,
    has_negative_bounds: bool,
    count: Option<f64>,
    sum: Option<f64>,
}

impl Histogram {
    pub(super) fn new(line: usize) -> Histogram {
        Histogram { line, bound: None, bucket: 0.0, has_negative_bounds: false, count: None, sum: None }
    }

    /// Takes one of its samples, the one called the family's name and `suffix`.
    pub(super) fn take(&mut self, suffix: &str, sample: &SampleLine<'_>) -> Result<(), &'static str> {
        match suffix {
            "_bucket" => return self.take_bucket(sample),
            "_count" | "_gcount" => self.count = Some(sample.value),
            "_sum" | "_gsum" => self.sum = Some(sample.value),
            _ => {}
        }
        Ok(())
    }

    fn take_bucket(&mut self, sample: &SampleLine<'_>) -> Result<(), &'static str> {
        let bound = sample.label("le").and_then(|le| parse_float(le.as_bytes()).ok()).unwrap_or(f64::NAN);
        let (before, bucket) = (self.bound.replace(bound), std::mem::replace(&mut self.bucket, sample.value));
        self.has_negative_bounds |= bound < 0.0;
        if before.is_some_and(|before| bound <= before) {
            return Err("buckets must stand in the order of their bounds");
        }
        if sample.value < bucket {
            return Err("a bucket must hold at least what the one before it holds");
        }
        Ok(())
    }

    /// Finds what is wrong with the buckets as a whole.
    pub(super) fn check_buckets(&self) -> Result<(), &'static str> {
        if self.bound != Some(f64::INFINITY) {
            return Err("the histogram lacks its bucket le=\"+Inf\", which must be the last");
        }
        match self.count {
            Some(count) if count != self.bucket => Err("the histogram's count is not that of its bucket le=\"+Inf\""),
            _ => Ok(()),
        }
    }

    /// Finds what is wrong with the sum of a histogram, or of a gaugehistogram.
    pub(super) fn check_sum(&self, is_gauge: bool) -> Result<(), &'static str> {
        match (self.sum, self.count) {
            (Some(_), None) => Err("a histogram with a sum must have a count"),
            (None, Some(_)) => Err("a histogram with a count must have a sum"),
            (Some(_), _) if self.has_negative_bounds && !is_gauge => {
                Err("a histogram with negative buckets must not have a sum")
            }
            (Some(sum), _) if sum < 0.0 && !self.has_negative_bounds => {
                Err("a histogram without negative buckets must not have a negative sum")
            }
            _ => Ok(()),
        }
    }
}
