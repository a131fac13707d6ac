//! The order of an instant query's answer.

use std::cmp::Ordering;

use firetower_model::Labels;

use crate::curve::Curve;
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::plan::Vector;
use crate::steps::Steps;

/// What a vector is sorted by.
#[derive(Debug)]
pub(crate) enum Order {
    Values { is_descending: bool },
    Labels { names: Vec<String>, is_descending: bool },
}

impl Order {
    fn compare(&self, a: &Curve, b: &Curve) -> Ordering {
        match self {
            Order::Values { is_descending } => {
                let (a_value, b_value) = (a.values[0], b.values[0]);
                let order = if *is_descending { b_value.partial_cmp(&a_value) } else { a_value.partial_cmp(&b_value) };
                a_value
                    .is_nan()
                    .cmp(&b_value.is_nan())
                    .then(order.unwrap_or(Ordering::Equal))
                    .then(a.labels.cmp(&b.labels))
            }
            Order::Labels { names, is_descending } => {
                let order = by_labels(names, &a.labels, &b.labels);
                if *is_descending { order.reverse() } else { order }
            }
        }
    }
}

impl Evaluation<'_> {
    /// Hands on what `of` has, in order. A range query's answer has an order of its own.
    pub(crate) fn sort(&self, order: &Order, of: &Vector, steps: Steps, sink: Sink<'_>) -> Result<(), Error> {
        if steps.step_ms() > 0 {
            self.notes.warn("sort is ineffective for range queries since results are always ordered by labels");
            return self.stream(of, steps, sink);
        }
        let mut curves = self.collect(of, steps)?;
        self.forget(curves.len(), steps);
        curves.sort_by(|a, b| order.compare(a, b));
        curves.into_iter().try_for_each(sink)
    }
}

fn by_labels(names: &[String], a: &Labels, b: &Labels) -> Ordering {
    let one = |name: &String| natural(a.get(name).unwrap_or(""), b.get(name).unwrap_or(""));
    names.iter().map(one).find(|order| order.is_ne()).unwrap_or_else(|| a.cmp(b))
}

/// Compares as people sort: numbers within the texts count as numbers.
fn natural(mut a: &str, mut b: &str) -> Ordering {
    while !a.is_empty() && !b.is_empty() {
        let (a_part, a_rest) = a.split_at(part_bytes(a));
        let (b_part, b_rest) = b.split_at(part_bytes(b));
        let is_number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
        let order = if is_number(a_part) && is_number(b_part) {
            let (a_digits, b_digits) = (a_part.trim_start_matches('0'), b_part.trim_start_matches('0'));
            a_digits.len().cmp(&b_digits.len()).then(a_digits.cmp(b_digits)).then(a_part.len().cmp(&b_part.len()))
        } else {
            a_part.cmp(b_part)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (a_rest, b_rest);
    }
    a.len().cmp(&b.len())
}

/// Returns how far the digits reach that `text` begins with, or what is no digits.
fn part_bytes(text: &str) -> usize {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    text.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_within_texts_count_as_numbers() {
        let check = |a: &str, b: &str| assert_eq!((natural(a, b), natural(b, a)), (Ordering::Less, Ordering::Greater));
        check("4m5", "4m600");
        check("4m600", "4m1000");
        check("1.2.3", "1.11.3");
        check("2", "10");
        check("a", "a1");
        check("", "0");
        check("7", "007");
        assert_eq!(natural("x10y", "x10y"), Ordering::Equal);
    }
}
