//! Whole numbers in as many bits as they need.
//!
//! Of the numbers, their differences, and the differences of those, whichever comes out smallest is cut into runs of
//! 64; each run has its least number and its width, and its numbers follow in that many bits.

use crate::raw::bytes::{Reader, put_varint, varint_bytes, zigzag};

const RUN: usize = 64;
const ORDERS: usize = 3;

/// Appends `numbers`, which are overwritten.
pub(crate) fn put_packed(out: &mut Vec<u8>, numbers: &mut [i64]) {
    let mut best = (packed_bytes(numbers), 0);
    for order in 1..ORDERS.min(numbers.len()) {
        difference(&mut numbers[order - 1..]);
        let bytes = packed_bytes(&numbers[order..]) + heads_bytes(&numbers[..order]);
        best = best.min((bytes, order));
    }
    for order in (best.1 + 1..ORDERS.min(numbers.len())).rev() {
        sum(&mut numbers[order - 1..]);
    }
    let order = best.1;
    out.push(order as u8);
    for head in &numbers[..order] {
        put_varint(out, zigzag(*head));
    }
    for run in numbers[order..].chunks(RUN) {
        let (least, width) = frame(run);
        out.push(width);
        put_varint(out, zigzag(least));
        put_bits(out, run, least, width);
    }
}

/// Reads `count` numbers into `numbers`, and nothing may be left over.
pub(crate) fn read_packed(mut from: Reader<'_>, count: usize, numbers: &mut Vec<i64>) -> Option<()> {
    let order = usize::from(from.byte()?);
    if order >= ORDERS || order > count {
        return None;
    }
    numbers.clear();
    for _ in 0..order {
        numbers.push(from.signed()?);
    }
    while numbers.len() < count {
        let run = RUN.min(count - numbers.len());
        let width = from.byte().filter(|width| *width <= 64)?;
        let least = from.signed()?;
        let bits = from.take((run * usize::from(width)).div_ceil(8))?;
        read_bits(bits, run, least, width, numbers);
    }
    for order in (1..=order).rev() {
        sum(&mut numbers[order - 1..]);
    }
    from.0.is_empty().then_some(())
}

/// Replaces each number but the first by its difference from the one before.
fn difference(numbers: &mut [i64]) {
    for at in (1..numbers.len()).rev() {
        numbers[at] = numbers[at].wrapping_sub(numbers[at - 1]);
    }
}

/// Undoes [`difference`].
fn sum(numbers: &mut [i64]) {
    for at in 1..numbers.len() {
        numbers[at] = numbers[at].wrapping_add(numbers[at - 1]);
    }
}

fn heads_bytes(heads: &[i64]) -> usize {
    heads.iter().map(|head| varint_bytes(zigzag(*head))).sum()
}

fn packed_bytes(numbers: &[i64]) -> usize {
    let run_bytes = |run: &[i64]| {
        let (least, width) = frame(run);
        1 + varint_bytes(zigzag(least)) + (run.len() * usize::from(width)).div_ceil(8)
    };
    numbers.chunks(RUN).map(run_bytes).sum()
}

/// Returns the least number of `run`, and how many bits the distance of any from it needs.
fn frame(run: &[i64]) -> (i64, u8) {
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for number in run {
        least = least.min(*number);
        most = most.max(*number);
    }
    (least, 64 - (most.wrapping_sub(least) as u64).leading_zeros() as u8)
}

fn put_bits(out: &mut Vec<u8>, run: &[i64], least: i64, width: u8) {
    let (mut held, mut bits) = (0u128, 0u32);
    for number in run {
        held |= u128::from(number.wrapping_sub(least) as u64) << bits;
        bits += u32::from(width);
        while bits >= 8 {
            out.push(held as u8);
            held >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(held as u8);
    }
}

fn read_bits(bytes: &[u8], count: usize, least: i64, width: u8, numbers: &mut Vec<i64>) {
    let mask = (1u128 << width) - 1;
    let (mut held, mut bits) = (0u128, 0u32);
    let mut bytes = bytes.iter();
    for _ in 0..count {
        while bits < u32::from(width) {
            held |= u128::from(*bytes.next().unwrap_or(&0)) << bits;
            bits += 8;
        }
        numbers.push(least.wrapping_add((held & mask) as i64));
        held >>= width;
        bits -= u32::from(width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::Just;

    fn check(numbers: &[i64]) -> usize {
        let (mut out, mut back) = (Vec::new(), Vec::new());
        put_packed(&mut out, &mut numbers.to_vec());
        read_packed(Reader(&out), numbers.len(), &mut back).unwrap();
        assert_eq!(back, numbers);
        out.len()
    }

    #[test]
    fn steady_growth_takes_next_to_nothing() {
        assert!(check(&(0..480).map(|n| 1_000_000 + n * 37).collect::<Vec<_>>()) < 30);
        assert!(check(&(0..480).map(|n| n * n).collect::<Vec<_>>()) < 30);
        assert!(check(&[]) < 3 && check(&[5]) < 5);
    }

    proptest! {
        #[test]
        fn any_numbers_read_back(numbers in proptest::collection::vec(
            prop_oneof![any::<i64>(), 0..100i64, Just(i64::MAX), Just(i64::MIN)], 0..300)) {
            check(&numbers);
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in any::<Vec<u8>>(), count in 0..300usize) {
            read_packed(Reader(&bytes), count, &mut Vec::new());
        }
    }
}
