//! Binary arithmetic coding with probabilities that learn, and plain bits from the other end of the same bytes.
//!
//! Source: Martin, "Range encoding" (1979); models as in LZMA, but with steps that begin large and shrink.

use std::borrow::BorrowMut;

/// A probability is out of this.
const ONE: u32 = 1 << 16;
/// Below this the range is widened by four bytes.
const RANGE_MIN: u64 = 1 << 32;
/// From this many bits on a model learns no slower.
const SLOWEST: u8 = 60;

/// How likely the next bit is 0, by the bits seen so far.
#[derive(Clone, Copy)]
pub(crate) struct Model {
    zero: u16,
    seen: u8,
}

/// What share of the way to the bit just seen a probability moves, of [`ONE`], by how many were seen before.
const STEPS: [u16; SLOWEST as usize + 1] = {
    let mut steps = [0; SLOWEST as usize + 1];
    let mut seen = 0;
    while seen <= SLOWEST as usize {
        steps[seen] = (ONE / (seen as u32 + 3)) as u16;
        seen += 1;
    }
    steps
};

impl Model {
    pub(crate) const NEW: Model = Model { zero: 1 << 15, seen: 0 };

    #[inline]
    fn learn(&mut self, bit: bool) {
        let step = u32::from(STEPS[usize::from(self.seen)]);
        let zero = u32::from(self.zero);
        // Stays inside 32 ..= ONE - 32, so that no bit is impossible.
        let moved = if bit { zero - (((zero - 32) * step) >> 16) } else { zero + (((ONE - 32 - zero) * step) >> 16) };
        self.zero = moved as u16;
        self.seen = (self.seen + 1).min(SLOWEST);
    }
}

/// Writes modelled bits to the front and plain bits to the back of what [`Encoder::finish`] returns.
pub(crate) struct Encoder<V> {
    low: u64,
    range: u64,
    out: V,
    start: usize,
    plain: V,
    held: u64,
    held_bits: u32,
}

impl<V: BorrowMut<Vec<u8>>> Encoder<V> {
    /// Appends to `out`; `plain` is scratch.
    pub(crate) fn new(out: V, mut plain: V) -> Encoder<V> {
        let start = out.borrow().len();
        plain.borrow_mut().clear();
        Encoder { low: 0, range: u64::MAX, out, start, plain, held: 0, held_bits: 0 }
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, model: &mut Model, bit: bool) {
        let bound = (self.range >> 16) * u64::from(model.zero);
        if bit {
            let (low, has_carry) = self.low.overflowing_add(bound);
            self.low = low;
            self.range -= bound;
            if has_carry {
                carry(&mut self.out.borrow_mut()[self.start..]);
            }
        } else {
            self.range = bound;
        }
        model.learn(bit);
        if self.range < RANGE_MIN {
            self.out.borrow_mut().extend_from_slice(&((self.low >> 32) as u32).to_be_bytes());
            self.low <<= 32;
            self.range <<= 32;
        }
    }

    /// Puts the low `count` bits of `bits`, at most 56; the others are zero.
    #[inline]
    pub(crate) fn put_plain(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.held_bits;
        self.held_bits += count;
        while self.held_bits >= 8 {
            self.plain.borrow_mut().push(self.held as u8);
            self.held >>= 8;
            self.held_bits -= 8;
        }
    }

    /// Writes what is held back: as few bytes as tell the end apart, whatever follows them. Returns what it appended to.
    pub(crate) fn finish(mut self) -> V {
        let (out, plain) = (self.out.borrow_mut(), self.plain.borrow_mut());
        let mut bytes = 0u32;
        let end = loop {
            let rest = u64::MAX.checked_shr(8 * bytes).unwrap_or(0);
            let (rounded, has_carry) = self.low.overflowing_add(rest);
            let end = rounded & !rest;
            // The first number of as many bytes that is not below the range, if all that begin so lie inside.
            let distance = end.wrapping_sub(self.low);
            if distance.checked_add(rest).is_some_and(|last| last < self.range) {
                if has_carry {
                    carry(&mut out[self.start..]);
                }
                break end;
            }
            bytes += 1;
        };
        out.extend_from_slice(&end.to_be_bytes()[..bytes as usize]);
        if self.held_bits > 0 {
            plain.push(self.held as u8);
        }
        out.extend(plain.iter().rev());
        self.out
    }
}

/// Adds one to the number that `bytes` are.
fn carry(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
}

/// Reads what an [`Encoder`] wrote; of other bytes it makes something, too.
pub(crate) struct Decoder<'a> {
    code: u64,
    range: u64,
    bytes: &'a [u8],
    next: usize,
    back: usize,
    held: u64,
    held_bits: u32,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Decoder<'a> {
        let mut decoder =
            Decoder { code: 0, range: u64::MAX, bytes, next: 0, back: bytes.len(), held: 0, held_bits: 0 };
        decoder.code = decoder.next_bytes() << 32;
        decoder.code |= decoder.next_bytes();
        decoder
    }

    #[inline]
    fn next_bytes(&mut self) -> u64 {
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        self.next += 4;
        match rest.first_chunk::<4>() {
            Some(four) => u64::from(u32::from_be_bytes(*four)),
            None => (0..4).fold(0, |number, at| number << 8 | u64::from(rest.get(at).copied().unwrap_or(0))),
        }
    }

    #[inline(always)]
    pub(crate) fn get(&mut self, model: &mut Model) -> bool {
        let bound = (self.range >> 16) * u64::from(model.zero);
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        model.learn(bit);
        if self.range < RANGE_MIN {
            self.code = self.code << 32 | self.next_bytes();
            self.range <<= 32;
        }
        bit
    }

    /// Reads `count` plain bits, at most 56. `None` past the front.
    #[inline]
    pub(crate) fn get_plain(&mut self, count: u32) -> Option<u64> {
        while self.held_bits < count {
            self.back = self.back.checked_sub(1)?;
            self.held |= u64::from(self.bytes[self.back]) << self.held_bits;
            self.held_bits += 8;
        }
        let bits = self.held & ((1 << count) - 1);
        self.held >>= count;
        self.held_bits -= count;
        Some(bits)
    }
}

/// Most plain bits put at once.
const PLAIN_MAX: u32 = 32;

/// Bits that are written, or read: what describes the one describes the other.
pub(crate) trait Bits {
    /// Writes `bit`, or reads it; returns it.
    fn bit(&mut self, model: &mut Model, bit: bool) -> bool;

    /// Writes the low `count` bits of `bits`, or reads them; returns them. At most 56. `None` if there are no more.
    fn plain(&mut self, bits: u64, count: u32) -> Option<u64>;

    /// Writes the low `count` bits of `symbol`, or reads them, each by a model chosen by those before; returns them.
    #[inline]
    fn symbol(&mut self, models: &mut [Model], symbol: u32, count: u32) -> u32 {
        let mut node = 1;
        for at in (0..count).rev() {
            node = node << 1 | u32::from(self.bit(&mut models[node as usize], symbol >> at & 1 == 1));
        }
        node - (1 << count)
    }
}

impl<V: BorrowMut<Vec<u8>>> Bits for Encoder<V> {
    #[inline(always)]
    fn bit(&mut self, model: &mut Model, bit: bool) -> bool {
        self.put(model, bit);
        bit
    }

    #[inline]
    fn plain(&mut self, bits: u64, count: u32) -> Option<u64> {
        let bits = bits & ((1 << count) - 1);
        self.put_plain(bits, count);
        Some(bits)
    }
}

impl Bits for Decoder<'_> {
    #[inline(always)]
    fn bit(&mut self, model: &mut Model, _: bool) -> bool {
        self.get(model)
    }

    #[inline]
    fn plain(&mut self, _: u64, count: u32) -> Option<u64> {
        self.get_plain(count)
    }
}

/// Writes sign and bits of `number`, which is `length` bits long, or reads them; returns it.
///
/// Of its bits the first is known, the next two are modelled, the second by the first, and the others are plain.
#[inline]
pub(crate) fn code_number(
    bits: &mut impl Bits,
    (sign, top): (&mut Model, &mut [Model; 3]),
    length: u32,
    number: i64,
) -> Option<i64> {
    let size = number.unsigned_abs();
    let is_negative = bits.bit(sign, number < 0);
    let (mut found, mut rest, mut at) = (1u64, length - 1, 0);
    for _ in 0..rest.min(2) {
        rest -= 1;
        let bit = bits.bit(&mut top[at], size >> rest & 1 == 1);
        found = found << 1 | u64::from(bit);
        at = 1 + usize::from(bit);
    }
    while rest > 0 {
        let count = rest.min(PLAIN_MAX);
        rest -= count;
        found = found << count | bits.plain(size >> rest, count)?;
    }
    Some(if is_negative { (found as i64).wrapping_neg() } else { found as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_rare_bit_costs_little() {
        let (mut out, mut plain, mut model) = (Vec::new(), Vec::new(), Model::NEW);
        let mut encoder = Encoder::new(&mut out, &mut plain);
        (0..1000).for_each(|at| encoder.put(&mut model, at % 100 == 0));
        encoder.finish();
        assert!(out.len() < 15, "{}", out.len());
    }

    proptest! {
        #[test]
        fn any_bits_read_back(
            bits in proptest::collection::vec((0..3usize, any::<bool>(), 0..=32u32, any::<u64>()), 0..300),
            before in any::<Vec<u8>>(),
        ) {
            let cut = |number: u64, count: u32| number & ((1 << count) - 1);
            let (mut out, mut plain, mut models) = (before.clone(), Vec::new(), [Model::NEW; 3]);
            let mut encoder = Encoder::new(&mut out, &mut plain);
            for (model, bit, count, number) in &bits {
                encoder.put(&mut models[*model], *bit && *model > 0);
                encoder.put_plain(cut(*number, *count), *count);
            }
            encoder.finish();
            assert!(out.starts_with(&before));
            let (mut decoder, mut models) = (Decoder::new(&out[before.len()..]), [Model::NEW; 3]);
            for (model, bit, count, number) in &bits {
                assert_eq!(decoder.get(&mut models[*model]), *bit && *model > 0);
                assert_eq!(decoder.get_plain(*count), Some(cut(*number, *count)));
            }
        }
    }
}
