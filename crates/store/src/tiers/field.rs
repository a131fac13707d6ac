//! Numbers of one kind from many series, one after the other: each by how its size compares with those lately.
//!
//! What is learnt is about that ratio, so series of any magnitude teach each other.

use crate::raw::coder::{Bits, Model, code_number};

/// Distinguished sizes that numbers had lately, for whether the next is zero.
const ZERO_CONTEXTS: usize = 12;
/// The mean of sizes is kept in this many bits below one.
const FRACTION: u32 = 4;
/// A length as long as expected has this symbol; 0 stands for one too far from it.
const AS_EXPECTED: u32 = 8;
const SYMBOL_BITS: u32 = 4;
/// Bits of a length, less 1, that no symbol stands for.
const LENGTH_BITS: u32 = 6;
/// A mean moves by at least this part of the way to what came, as a power of two; the first ones move it further.
pub(crate) const MEAN_SHIFT_MAX: u32 = 3;

/// What numbers of one kind and one metric were lately.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lately {
    /// The mean of sizes, with [`FRACTION`].
    mean: u64,
    /// How many numbers there were, up to where that no longer matters.
    seen: u32,
    /// The sign before: none, minus, plus.
    sign_before: u32,
}

impl Lately {
    #[inline]
    fn learn(&mut self, size: u64) {
        let shift = self.seen.min(MEAN_SHIFT_MAX);
        self.seen = shift + 1;
        self.mean = self.mean - (self.mean >> shift) + (size.min(u64::MAX >> (2 * FRACTION)) << FRACTION >> shift);
    }
}

/// What is learnt of numbers of one kind.
pub(crate) struct Field {
    zero: [Model; ZERO_CONTEXTS],
    /// By the expected length: 1, 2, 3, or more of either half of an octave.
    length: [[Model; 1 << SYMBOL_BITS]; 5],
    sign: [Model; 3],
    /// The two bits after the first, by two neighbouring symbols; the second by the first.
    top: [[Model; 3]; 1 << (SYMBOL_BITS - 1)],
}

impl Field {
    pub(crate) const NEW: Field = Field {
        zero: [Model::NEW; ZERO_CONTEXTS],
        length: [[Model::NEW; 1 << SYMBOL_BITS]; 5],
        sign: [Model::NEW; 3],
        top: [[Model::NEW; 3]; 1 << (SYMBOL_BITS - 1)],
    };

    /// Writes `number`, or reads it; returns it. `None` if what is read is none.
    pub(crate) fn code(&mut self, bits: &mut impl Bits, lately: &mut Lately, number: i64) -> Option<i64> {
        let size = number.unsigned_abs();
        let mean_bits = u64::BITS - lately.mean.leading_zeros();
        if bits.bit(&mut self.zero[(mean_bits as usize).min(ZERO_CONTEXTS - 1)], size == 0) {
            lately.learn(0);
            lately.sign_before = 0;
            return Some(0);
        }
        let length = u64::BITS - size.leading_zeros();
        let (symbol, length) = self.code_length(bits, lately.mean, length)?;
        let sign = &mut self.sign[lately.sign_before as usize];
        let number = code_number(bits, (sign, &mut self.top[symbol as usize / 2]), length, number)?;
        lately.sign_before = if number < 0 { 1 } else { 2 };
        lately.learn(number.unsigned_abs());
        Some(number)
    }

    /// Writes a length in bits, or reads it; returns its symbol, too.
    #[inline]
    fn code_length(&mut self, bits: &mut impl Bits, mean: u64, length: u32) -> Option<(u32, u32)> {
        let mean_bits = u64::BITS - mean.leading_zeros();
        if mean_bits == 0 {
            return Some((0, bits.plain(u64::from(length.wrapping_sub(1)), LENGTH_BITS)? as u32 + 1));
        }
        let expected = mean_bits.saturating_sub(FRACTION).max(1);
        let tree = if expected > 3 { 3 + (mean >> (mean_bits - 2) & 1) as usize } else { expected as usize - 1 };
        let symbol = (length + AS_EXPECTED).checked_sub(expected).filter(|symbol| *symbol < 1 << SYMBOL_BITS);
        let symbol = bits.symbol(&mut self.length[tree], symbol.unwrap_or(0), SYMBOL_BITS);
        let length = match symbol {
            0 => bits.plain(u64::from(length.wrapping_sub(1)), LENGTH_BITS)? as u32 + 1,
            _ => (symbol + expected).checked_sub(AS_EXPECTED)?,
        };
        (length > 0 && length <= u64::BITS).then_some((symbol, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::coder::{Decoder, Encoder};
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::Just;

    fn check(numbers: &[i64]) -> usize {
        let (mut bits, mut field) = (Encoder::new(Vec::new(), Vec::new()), Field::NEW);
        let mut lately = Lately::default();
        for number in numbers {
            assert_eq!(field.code(&mut bits, &mut lately, *number), Some(*number));
        }
        let bytes = bits.finish();
        let (mut bits, mut field) = (Decoder::new(&bytes), Field::NEW);
        let mut lately = Lately::default();
        for number in numbers {
            assert_eq!(field.code(&mut bits, &mut lately, 0), Some(*number));
        }
        bytes.len()
    }

    #[test]
    fn numbers_of_any_magnitude_teach_each_other() {
        let noise = |n: i64| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
        let small: Vec<i64> = (0..480).map(|n| noise(n) as i64).collect();
        let growing: Vec<i64> = (0..480).map(|n| (noise(n) as i64) << (n / 48)).collect();
        assert!(check(&small) < 480 * 6 / 8 * 112 / 100, "{}", check(&small));
        assert!(check(&growing) < (480 * 6 + 480 * 9 / 2) / 8 * 112 / 100, "{}", check(&growing));
        assert!(check(&[0; 1000]) < 12);
    }

    proptest! {
        #[test]
        fn any_numbers_read_back(numbers in proptest::collection::vec(
            prop_oneof![any::<i64>(), -100..100i64, Just(0), Just(i64::MAX), Just(i64::MIN)], 0..300)) {
            check(&numbers);
        }

        #[test]
        fn rubbish_is_read_without_a_panic(bytes in any::<Vec<u8>>(), count in 0..300usize) {
            let (mut bits, mut field) = (Decoder::new(&bytes), Field::NEW);
            let mut lately = Lately::default();
            for _ in 0..count {
                field.code(&mut bits, &mut lately, 0);
            }
        }
    }
}
