//! Whole numbers as what foretelling them leaves: its length in bits and its sign by models that learn, its two bits
//! after the first likewise, the rest plainly.

use crate::raw::bytes::Reader;
use crate::raw::coder::{Bits, Decoder, Encoder, Model, code_number};
use crate::raw::predict::{PREDICTORS, Predictor};

/// Lengths in bits, none included.
const LENGTHS: usize = 65;

/// What is learnt of the numbers of one series.
struct Models {
    /// Whether the number is as foretold, by whether the one before was.
    zero: [Model; 2],
    /// A node each of the tree that halves the lengths that occur.
    length: [Model; 128],
    /// By the sign before: none, minus, plus.
    sign: [Model; 3],
    /// By length; the second by the first.
    top: [[Model; 3]; LENGTHS],
    last_sign: usize,
    /// Shortest length but none, and longest.
    shortest: u32,
    longest: u32,
    /// How often the lengths are halved.
    halvings: u32,
}

impl Models {
    fn new(shortest: u32, longest: u32) -> Models {
        Models {
            zero: [Model::NEW; 2],
            length: [Model::NEW; 128],
            sign: [Model::NEW; 3],
            top: [[Model::NEW; 3]; LENGTHS],
            last_sign: 0,
            shortest,
            longest,
            halvings: u32::BITS - (longest - shortest).leading_zeros(),
        }
    }

    /// Writes `residual`, or reads it; returns it. `None` if what is read is none.
    #[inline]
    fn code(&mut self, bits: &mut impl Bits, residual: i64) -> Option<i64> {
        let size = residual.unsigned_abs();
        if bits.bit(&mut self.zero[usize::from(self.last_sign == 0)], size == 0) {
            self.last_sign = 0;
            return Some(0);
        }
        let length = u64::BITS - size.leading_zeros();
        let length = bits.symbol(&mut self.length, length.wrapping_sub(self.shortest), self.halvings) + self.shortest;
        if length > self.longest {
            return None;
        }
        let models = (&mut self.sign[self.last_sign], &mut self.top[length as usize]);
        let residual = code_number(bits, models, length, residual)?;
        self.last_sign = if residual < 0 { 1 } else { 2 };
        Some(residual)
    }
}

/// What [`put_residuals`] reuses from one series to the next.
#[derive(Default)]
pub(crate) struct Scratch {
    residuals: Vec<i64>,
    plain: Vec<u8>,
}

/// Appends `numbers`, which follow a zero, as foretold by `predictor`.
///
/// # Panics
/// If there is no such predictor.
pub(crate) fn put_residuals(out: &mut Vec<u8>, numbers: &[i64], predictor: u8, scratch: &mut Scratch) {
    let mut foretold = Predictor::new(predictor).expect("it was chosen among those there are");
    scratch.residuals.clear();
    let (mut shortest, mut longest) = (u64::BITS, 1);
    for number in numbers {
        let residual = number.wrapping_sub(foretold.next());
        foretold.learn(*number);
        scratch.residuals.push(residual);
        if residual != 0 {
            let length = u64::BITS - residual.unsigned_abs().leading_zeros();
            (shortest, longest) = (shortest.min(length), longest.max(length));
        }
    }
    shortest = shortest.min(longest);
    out.extend_from_slice(&[shortest as u8, longest as u8]);
    let mut models = Models::new(shortest, longest);
    let mut encoder = Encoder::new(out, &mut scratch.plain);
    for residual in &scratch.residuals {
        models.code(&mut encoder, *residual);
    }
    encoder.finish();
}

/// Reads `count` numbers that follow a zero, and appends them to `numbers`. `None` if there are none such.
pub(crate) fn read_residuals(mut from: Reader<'_>, count: usize, predictor: u8, numbers: &mut Vec<i64>) -> Option<()> {
    let (shortest, longest) = (u32::from(from.byte()?), u32::from(from.byte()?));
    if shortest == 0 || longest < shortest || longest > u64::BITS {
        return None;
    }
    let mut foretold = Predictor::new(predictor)?;
    let mut models = Models::new(shortest, longest);
    let mut decoder = Decoder::new(from.0);
    numbers.reserve(count);
    for _ in 0..count {
        let number = foretold.next().wrapping_add(models.code(&mut decoder, 0)?);
        foretold.learn(number);
        numbers.push(number);
    }
    Some(())
}

/// Returns the predictor that leaves the least of `numbers`, which follow a zero.
pub(crate) fn best_predictor(numbers: &[i64]) -> u8 {
    (0..PREDICTORS).min_by_key(|predictor| sixteenths(numbers, *predictor)).unwrap_or(0)
}

/// Returns about how many sixteenths of a bit the residuals take.
fn sixteenths(numbers: &[i64], predictor: u8) -> u64 {
    let Some(mut foretold) = Predictor::new(predictor) else { return u64::MAX };
    let bits = |number: &i64| {
        let residual = number.wrapping_sub(foretold.next());
        foretold.learn(*number);
        // Exponent and first bits of a float are its logarithm, roughly.
        ((residual.unsigned_abs() as f64 + 0.7).to_bits() >> 48) - (1022 << 4)
    };
    numbers.iter().map(bits).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::Just;

    fn check(numbers: &[i64], predictor: u8) -> usize {
        let (mut out, mut back) = (Vec::new(), Vec::new());
        put_residuals(&mut out, numbers, predictor, &mut Scratch::default());
        read_residuals(Reader(&out), numbers.len(), predictor, &mut back).unwrap();
        assert_eq!(back, numbers);
        out.len()
    }

    #[test]
    fn what_can_be_foretold_takes_next_to_nothing() {
        let bytes = |number: &dyn Fn(i64) -> i64| {
            let numbers: Vec<i64> = (1..480).map(number).collect();
            check(&numbers, best_predictor(&numbers))
        };
        assert!(bytes(&|n| n * 37) < 16);
        assert!(bytes(&|n| n * n) < 24);
        assert!(bytes(&|n| n / 100) < 24);
        let noise = |n: i64| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        assert!(bytes(&|n| 5000 + noise(n) as i64) < 480 * 10 / 8 * 106 / 100);
        assert!(check(&[], 0) < 4);
    }

    proptest! {
        #[test]
        fn any_numbers_read_back(predictor in 0..PREDICTORS, numbers in proptest::collection::vec(
            prop_oneof![any::<i64>(), 0..100i64, Just(0), Just(i64::MAX), Just(i64::MIN)], 0..300)) {
            check(&numbers, predictor);
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in any::<Vec<u8>>(), count in 0..300usize, predictor in any::<u8>()) {
            read_residuals(Reader(&bytes), count, predictor, &mut Vec::new());
        }
    }
}
