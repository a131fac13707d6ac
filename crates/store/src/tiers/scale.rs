//! Values as whole numbers, as far as they are.

use super::decimal::{SCALES, scaled, whole};

/// How values stand for numbers: whole, scaled by one of [`SCALES`], or by their bits; and divided.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// 0 for whole, 1 and more for one of [`SCALES`], [`Scale::BITS`] for bits.
    pub(super) at: u8,
    pub(super) divisor: i64,
}

impl Scale {
    pub(super) const BITS: u8 = 1 + SCALES.len() as u8;

    fn undivided(self, value: f64) -> Option<i64> {
        match self.at {
            0 => whole(value),
            at if at < Scale::BITS => scaled(value, SCALES[usize::from(at) - 1]),
            _ => Some(ordered(value)),
        }
    }

    /// Returns the number that `value` is, if it is one.
    pub(super) fn number(self, value: f64) -> Option<i64> {
        let number = self.undivided(value)?;
        (number % self.divisor == 0).then(|| number / self.divisor)
    }

    /// Returns the value that `number` stands for.
    pub(super) fn value(self, number: i64) -> f64 {
        let number = number.wrapping_mul(self.divisor);
        match self.at {
            0 => number as f64,
            at if at < Scale::BITS => number as f64 / SCALES[usize::from(at) - 1],
            _ => unordered(number),
        }
    }
}

/// Returns the greatest number that both are multiples of; 0 if both are 0.
pub(super) fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a as i64
}

/// Maps floating point to whole numbers, greater to greater.
pub(super) fn ordered(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The reverse of [`ordered`].
pub(super) fn unordered(number: i64) -> f64 {
    f64::from_bits((number ^ ((number >> 63) as u64 >> 1) as i64) as u64)
}
