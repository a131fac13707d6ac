//! Numbers in bits: Rice codes, with what they are measured from chosen for each column.

use crate::raw::bytes::{unzigzag, zigzag};

/// A quotient of so many ones stands for a number written in full.
const ESCAPE: u64 = 20;
/// What a column's numbers are measured from.
const ZERO: u64 = 0;
const PREVIOUS: u64 = 1;
const MEAN: u64 = 2;
const ZERO_UNSIGNED: u64 = 3;
/// The parameter that says that all numbers are zero, and nothing follows.
const NOTHING: u64 = 63;

/// Appends bits, low ones first.
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    held: u128,
    bits: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter { out, held: 0, bits: 0 }
    }

    /// Appends the low `width` bits of `number`, at most 64; the others are zero.
    pub(crate) fn put(&mut self, number: u64, width: u32) {
        self.held |= u128::from(number) << self.bits;
        self.bits += width;
        while self.bits >= 8 {
            self.out.push(self.held as u8);
            self.held >>= 8;
            self.bits -= 8;
        }
    }

    /// Appends a number in as many bits as it has, and how many these are.
    pub(crate) fn put_number(&mut self, number: i64) {
        let width = 64 - zigzag(number).leading_zeros();
        self.put(u64::from(width), 7);
        self.put(zigzag(number), width);
    }

    /// Appends a column; whoever reads it knows how long it is.
    pub(crate) fn put_column(&mut self, numbers: &[i64]) {
        let Some(first) = numbers.first() else { return };
        let mean = mean(numbers);
        let choices = [ZERO, ZERO_UNSIGNED, MEAN, PREVIOUS].map(|from| {
            let head_bits = match from {
                MEAN => 71 - zigzag(mean).leading_zeros(),
                PREVIOUS => 71 - zigzag(*first).leading_zeros(),
                _ => 0,
            };
            let (bits, parameter) = parameter(&measured(numbers, from, mean));
            (bits + u64::from(head_bits), parameter, from)
        });
        let is_unsigned = numbers.iter().all(|number| *number >= 0);
        let choices = choices.into_iter().filter(|choice| is_unsigned || choice.2 != ZERO_UNSIGNED);
        let (_, parameter, from) = choices.min().unwrap_or((0, NOTHING, ZERO));
        self.put(from << 6 | parameter, 8);
        match from {
            MEAN => self.put_number(mean),
            PREVIOUS => self.put_number(*first),
            _ => {}
        }
        if parameter != NOTHING {
            measured(numbers, from, mean).for_each(|number| self.put_rice(number, parameter as u32));
        }
    }

    fn put_rice(&mut self, number: u64, parameter: u32) {
        let quotient = number >> parameter;
        if quotient >= ESCAPE {
            self.put((1 << ESCAPE) - 1, ESCAPE as u32);
            self.put(number, 64);
            return;
        }
        self.put((1 << quotient) - 1, quotient as u32 + 1);
        self.put(number & ((1 << parameter) - 1), parameter);
    }

    /// Fills up the last byte.
    pub(crate) fn finish(self) {
        if self.bits > 0 {
            self.out.push(self.held as u8);
        }
    }
}

fn mean(numbers: &[i64]) -> i64 {
    let sum: i128 = numbers.iter().map(|number| i128::from(*number)).sum();
    (sum / numbers.len().max(1) as i128) as i64
}

/// Returns the numbers measured from what `from` says; the first is not among them where it is the head.
fn measured(numbers: &[i64], from: u64, mean: i64) -> impl Iterator<Item = u64> + Clone {
    let skipped = usize::from(from == PREVIOUS);
    numbers.iter().enumerate().skip(skipped).map(move |(at, number)| match from {
        PREVIOUS => zigzag(number.wrapping_sub(numbers[at - 1])),
        MEAN => zigzag(number.wrapping_sub(mean)),
        ZERO => zigzag(*number),
        _ => *number as u64,
    })
}

/// Returns the Rice parameter under which `numbers` take fewest bits, after how many these are.
fn parameter(numbers: &(impl Iterator<Item = u64> + Clone)) -> (u64, u64) {
    let add =
        |(sum, most, count): (u128, u64, u128), number: u64| (sum + u128::from(number), most.max(number), count + 1);
    let (sum, most, count) = numbers.clone().fold((0, 0, 0), add);
    if sum == 0 {
        return (0, NOTHING);
    }
    let bits = |parameter: u64| -> u64 {
        let one = |number: u64| match number >> parameter {
            quotient if quotient >= ESCAPE => ESCAPE + 64,
            quotient => quotient + 1 + parameter,
        };
        numbers.clone().map(one).sum()
    };
    // The largest alone must not spoil the others: it can be written in full.
    let others = if count > 1 { (sum - u128::from(most)) / (count - 1) } else { sum };
    let width = |mean: u128| u64::from(128 - mean.leading_zeros());
    let (low, high) = (width(others), width(sum / count));
    let near = low.saturating_sub(3)..=(low + 1).min(NOTHING - 1);
    let far = high.saturating_sub(1).max(low + 2)..=high.min(NOTHING - 1);
    near.chain(far).map(|parameter| (bits(parameter), parameter)).min().unwrap_or((0, NOTHING))
}

/// Reads bits, low ones first; every read is `None` past the end.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    held: u128,
    bits: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, held: 0, bits: 0 }
    }

    /// Reads a number of `width` bits, at most 64.
    pub(crate) fn take(&mut self, width: u32) -> Option<u64> {
        self.fill(width)?;
        let number = (self.held & ((1u128 << width) - 1)) as u64;
        self.held >>= width;
        self.bits -= width;
        Some(number)
    }

    fn fill(&mut self, width: u32) -> Option<()> {
        while self.bits < width {
            let (first, rest) = self.bytes.split_first()?;
            self.held |= u128::from(*first) << self.bits;
            self.bits += 8;
            self.bytes = rest;
        }
        Some(())
    }

    pub(crate) fn number(&mut self) -> Option<i64> {
        let width = u32::try_from(self.take(7)?).ok().filter(|width| *width <= 64)?;
        self.take(width).map(unzigzag)
    }

    /// Reads a column of `count` numbers.
    pub(crate) fn column(&mut self, count: usize) -> Option<Vec<i64>> {
        let mut numbers = Vec::with_capacity(count);
        if count == 0 {
            return Some(numbers);
        }
        let head = self.take(8)?;
        let (from, parameter) = (head >> 6, head & NOTHING);
        let mean = if from == MEAN { self.number()? } else { 0 };
        if from == PREVIOUS {
            numbers.push(self.number()?);
        }
        while numbers.len() < count {
            let measured = if parameter == NOTHING { 0 } else { self.rice(parameter as u32)? };
            numbers.push(match from {
                PREVIOUS => numbers.last()?.wrapping_add(unzigzag(measured)),
                MEAN => mean.wrapping_add(unzigzag(measured)),
                ZERO => unzigzag(measured),
                _ => measured as i64,
            });
        }
        Some(numbers)
    }

    fn rice(&mut self, parameter: u32) -> Option<u64> {
        let mut quotient = 0;
        while self.take(1)? == 1 {
            quotient += 1;
            if quotient == ESCAPE {
                return self.take(64);
            }
        }
        Some(quotient << parameter | self.take(parameter)?)
    }

    /// Tells whether nothing but the rest of the last byte is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bytes.is_empty() && self.bits < 8 && self.held == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::Just;

    fn bytes(numbers: &[i64]) -> usize {
        let mut out = Vec::new();
        let mut writer = BitWriter::new(&mut out);
        writer.put_column(numbers);
        writer.finish();
        let mut reader = BitReader::new(&out);
        assert_eq!(reader.column(numbers.len()).unwrap(), numbers);
        assert!(reader.is_at_end());
        out.len()
    }

    #[test]
    fn regular_columns_are_short() {
        assert_eq!(bytes(&[]), 0);
        assert_eq!(bytes(&[0; 24]), 1);
        assert!(bytes(&[300; 24]) <= 4);
        assert!(bytes(&(0..24).map(|n| 1_000_000 + 300 * n).collect::<Vec<_>>()) <= 38);
        assert!(bytes(&[5, 6, 4, 5, 7, 5, 6, i64::MAX, 5, 6]) < 24);
    }

    proptest! {
        #[test]
        fn any_column_reads_back(numbers in proptest::collection::vec(
            prop_oneof![any::<i64>(), 0..100i64, -9..9i64, Just(i64::MAX), Just(i64::MIN)], 0..60)) {
            bytes(&numbers);
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in any::<Vec<u8>>(), count in 0..100usize) {
            let mut reader = BitReader::new(&bytes);
            while reader.column(count).is_some_and(|column| !column.is_empty()) {}
        }
    }
}
