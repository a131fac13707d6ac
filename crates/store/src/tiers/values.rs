//! The values of one target's spans: what follows from other fields is left out, the rest are columns of numbers.
//!
//! Numbers are the values themselves, scaled where they have few decimals, or else the bits of floating point in order
//! of size. `FORMAT.md` has the layout.

use firetower_model::Span;

use super::bits::{BitReader, BitWriter};
use super::pieces::canonical;
use crate::raw::bytes::Reader;
use crate::raw::code::{self, Code};
use crate::tiers::decimal::{SCALES, scaled, whole};

const CONSTANT: u8 = 0;
const NUMBERS: u8 = 1;
const SCALE_SHIFT: u8 = 1;
const SCALE_MASK: u8 = 7;
/// All spans rise from first to last.
const RISING: u8 = 1 << 4;
/// Sums are measured by their bits.
const SUM_BITS: u8 = 1 << 5;
/// So are increases.
const INCREASE_BITS: u8 = 1 << 6;

/// How values stand for numbers: whole, scaled by one of [`SCALES`], or by their bits.
#[derive(Clone, Copy)]
struct Scale(u8);

impl Scale {
    const BITS: Scale = Scale(1 + SCALES.len() as u8);

    fn number(self, value: f64) -> Option<i64> {
        match self.0 {
            0 => whole(value),
            at if at < Scale::BITS.0 => scaled(value, SCALES[usize::from(at) - 1]),
            _ => Some(ordered(value)),
        }
    }

    fn value(self, number: i64) -> f64 {
        match self.0 {
            0 => number as f64,
            at if at < Scale::BITS.0 => number as f64 / SCALES[usize::from(at) - 1],
            _ => unordered(number),
        }
    }
}

/// Maps floating point to whole numbers, greater to greater.
fn ordered(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

fn unordered(number: i64) -> f64 {
    f64::from_bits((number ^ ((number >> 63) as u64 >> 1) as i64) as u64)
}

/// The ends of a span as numbers.
#[derive(Clone, Copy, Default)]
struct Ends {
    first: i64,
    last: i64,
    min: i64,
    max: i64,
}

impl Ends {
    fn of(span: &Span, scale: Scale) -> Option<Ends> {
        let number = |value| scale.number(value);
        Some(Ends {
            first: number(span.first)?,
            last: number(span.last)?,
            min: number(span.min)?,
            max: number(span.max)?,
        })
    }

    /// Returns what `finite` samples should add up to, and by how much the resets should have raised the increase.
    fn expected(self, finite: u64, resets: u64) -> (i128, i128) {
        let (low, high) = (i128::from(self.min), i128::from(self.max));
        let sum = (i128::from(finite) * (low + high)).div_euclid(2);
        // Where values are spread evenly, what a fall starts from is on average two thirds up.
        let increase =
            i128::from(self.last) - i128::from(self.first) + i128::from(resets) * (low + 2 * (high - low) / 3);
        (sum, increase)
    }
}

/// The same two, in floating point.
fn expected_values(span: &Span) -> (f64, f64) {
    let finite = (span.samples - span.special) as f64;
    let sum = finite * (span.min / 2.0 + span.max / 2.0);
    (sum, span.last - span.first + span.resets as f64 * (span.min + (span.max - span.min) * (2.0 / 3.0)))
}

/// Appends the values of `spans`, each of which has a finite one and is canonical.
pub(crate) fn put_values(out: &mut Vec<u8>, spans: &[Span]) {
    let Some(first) = spans.first() else { return };
    let bits = first.min.to_bits();
    if spans.iter().all(|span| span.min.to_bits() == bits && span.max.to_bits() == bits && span.resets == 0) {
        out.push(CONSTANT);
        code::put_value(out, 0.0, first.min);
        return;
    }
    let found = (0..Scale::BITS.0).find_map(|at| Some((Scale(at), ends(spans, Scale(at))?)));
    let (scale, ends) = found.unwrap_or_else(|| (Scale::BITS, ends(spans, Scale::BITS).unwrap_or_default()));
    let is_rising =
        spans.iter().zip(&ends).all(|(span, ends)| span.resets == 0 && (ends.min, ends.max) == (ends.first, ends.last));
    let sums = sums(spans, &ends, scale);
    let increases = if is_rising { Some(Vec::new()) } else { increases(spans, &ends, scale) };
    let mut head = NUMBERS | scale.0 << SCALE_SHIFT;
    head |= if is_rising { RISING } else { 0 };
    head |= if sums.is_none() { SUM_BITS } else { 0 };
    head |= if increases.is_none() { INCREASE_BITS } else { 0 };
    out.push(head);
    let mut bits = BitWriter::new(out);
    if is_rising {
        bits.put_number(ends[0].first);
        bits.put_column(&ends.windows(2).map(|pair| pair[1].first.wrapping_sub(pair[0].last)).collect::<Vec<_>>());
        bits.put_column(&ends.iter().map(|ends| ends.last.wrapping_sub(ends.first)).collect::<Vec<_>>());
    } else {
        put_ranges(&mut bits, &ends);
        bits.put_column(&spans.iter().map(|span| span.resets as i64).collect::<Vec<_>>());
        let by_bits = |span: &Span| ordered(span.increase).wrapping_sub(ordered(expected_values(span).1));
        let falling = spans.iter().filter(|span| span.resets > 0);
        bits.put_column(&increases.unwrap_or_else(|| falling.map(by_bits).collect()));
    }
    let by_bits = |span: &Span| ordered(span.sum).wrapping_sub(ordered(expected_values(span).0));
    bits.put_column(&sums.unwrap_or_else(|| spans.iter().map(by_bits).collect()));
    bits.finish();
}

fn ends(spans: &[Span], scale: Scale) -> Option<Vec<Ends>> {
    spans.iter().map(|span| Ends::of(span, scale)).collect()
}

/// Returns how far sums are from what is expected; `None` if they are not numbers of this scale.
fn sums(spans: &[Span], ends: &[Ends], scale: Scale) -> Option<Vec<i64>> {
    if scale.0 == Scale::BITS.0 {
        return None;
    }
    let residual = |(span, ends): (&Span, &Ends)| {
        let (expected, _) = ends.expected(span.samples - span.special, span.resets);
        i64::try_from(i128::from(scale.number(span.sum)?) - expected).ok()
    };
    spans.iter().zip(ends).map(residual).collect()
}

/// Returns the same for the increases of spans with resets.
fn increases(spans: &[Span], ends: &[Ends], scale: Scale) -> Option<Vec<i64>> {
    if scale.0 == Scale::BITS.0 {
        return None;
    }
    let residual = |(span, ends): (&Span, &Ends)| {
        let (_, expected) = ends.expected(span.samples - span.special, span.resets);
        i64::try_from(i128::from(scale.number(span.increase)?) - expected).ok()
    };
    spans.iter().zip(ends).filter(|(span, _)| span.resets > 0).map(residual).collect()
}

/// Appends least and greatest, then first and last in the bits that what lies between these two needs.
fn put_ranges(bits: &mut BitWriter<'_>, ends: &[Ends]) {
    bits.put_column(&ends.iter().map(|ends| ends.min).collect::<Vec<_>>());
    bits.put_column(&ends.iter().map(|ends| ends.max.wrapping_sub(ends.min)).collect::<Vec<_>>());
    for ends in ends {
        let width = width(*ends);
        bits.put(ends.first.wrapping_sub(ends.min) as u64, width);
        bits.put(ends.last.wrapping_sub(ends.min) as u64, width);
    }
}

fn width(ends: Ends) -> u32 {
    64 - (ends.max.wrapping_sub(ends.min) as u64).leading_zeros()
}

/// Fills in the values of `spans`, whose counts and times are known and each of which has a finite value.
pub(crate) fn read_values(bytes: &[u8], spans: &mut [Span]) -> Option<()> {
    let (head, rest) = bytes.split_first()?;
    if *head == CONSTANT {
        let mut from = Reader(rest);
        let Code::Value(value) = code::read_code(&mut from, 0.0)? else { return None };
        for span in spans {
            (span.first, span.last, span.min, span.max) = (value, value, value, value);
            canonical(span);
        }
        return from.0.is_empty().then_some(());
    }
    let scale = Scale(head >> SCALE_SHIFT & SCALE_MASK);
    if head & NUMBERS == 0 || scale.0 > Scale::BITS.0 || spans.is_empty() {
        return None;
    }
    let mut bits = BitReader::new(rest);
    let is_rising = head & RISING != 0;
    let ends = if is_rising { read_rising(&mut bits, spans.len())? } else { read_ranges(&mut bits, spans.len())? };
    for (span, ends) in spans.iter_mut().zip(&ends) {
        let value = |number| scale.value(number);
        (span.first, span.last, span.min, span.max) =
            (value(ends.first), value(ends.last), value(ends.min), value(ends.max));
    }
    if !is_rising {
        read_increases(&mut bits, spans, &ends, scale, head & INCREASE_BITS != 0)?;
    }
    for ((span, ends), residual) in spans.iter_mut().zip(&ends).zip(bits.column(ends.len())?) {
        span.sum = if head & SUM_BITS != 0 {
            unordered(ordered(expected_values(span).0).wrapping_add(residual))
        } else {
            let (expected, _) = ends.expected(span.samples - span.special, span.resets);
            scale.value(i64::try_from(expected + i128::from(residual)).ok()?)
        };
        if span.resets == 0 {
            let sum = span.sum;
            canonical(span);
            span.sum = sum;
        }
    }
    bits.is_at_end().then_some(())
}

fn read_rising(bits: &mut BitReader<'_>, count: usize) -> Option<Vec<Ends>> {
    let mut first = bits.number()?;
    let steps = bits.column(count - 1)?;
    let rises = bits.column(count)?;
    let mut ends = Vec::with_capacity(count);
    for (at, rise) in rises.into_iter().enumerate() {
        let last = first.wrapping_add(rise);
        ends.push(Ends { first, last, min: first, max: last });
        first = last.wrapping_add(steps.get(at).copied().unwrap_or(0));
    }
    Some(ends)
}

fn read_ranges(bits: &mut BitReader<'_>, count: usize) -> Option<Vec<Ends>> {
    let least = bits.column(count)?;
    let heights = bits.column(count)?;
    let mut read = |(min, height): (i64, i64)| {
        let mut ends = Ends { min, max: min.wrapping_add(height), ..Ends::default() };
        let width = width(ends);
        ends.first = min.wrapping_add(bits.take(width)? as i64);
        ends.last = min.wrapping_add(bits.take(width)? as i64);
        Some(ends)
    };
    least.into_iter().zip(heights).map(&mut read).collect()
}

fn read_increases(
    bits: &mut BitReader<'_>,
    spans: &mut [Span],
    ends: &[Ends],
    scale: Scale,
    is_by_bits: bool,
) -> Option<()> {
    for (span, resets) in spans.iter_mut().zip(bits.column(ends.len())?) {
        span.resets = u64::try_from(resets).ok().filter(|resets| *resets <= span.samples)?;
    }
    let falling = spans.iter().filter(|span| span.resets > 0).count();
    let mut residuals = bits.column(falling)?.into_iter();
    for (span, ends) in spans.iter_mut().zip(ends).filter(|(span, _)| span.resets > 0) {
        let residual = residuals.next()?;
        span.increase = if is_by_bits {
            unordered(ordered(expected_values(span).1).wrapping_add(residual))
        } else {
            let (_, expected) = ends.expected(span.samples - span.special, span.resets);
            scale.value(i64::try_from(expected + i128::from(residual)).ok()?)
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiers::pieces::{cut, roll_up};
    use firetower_model::Timestamp;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    fn check(values: &[f64]) -> usize {
        let times: Vec<i64> = (0..values.len() as i64).map(|n| n * 15_000).collect();
        let mut five = Vec::new();
        cut(&times, values, 300_000, &mut five);
        let mut hours = Vec::new();
        roll_up(&five, 300_000, 3_600_000, &mut hours);
        [five, hours].map(|pieces| {
            let spans: Vec<Span> = pieces.iter().map(|piece| piece.span).collect();
            let spans: Vec<Span> = spans.into_iter().filter(|span| span.samples > span.special).collect();
            let mut out = Vec::new();
            put_values(&mut out, &spans);
            let blank = |span: &Span| Span {
                samples: span.samples,
                special: span.special,
                first_t: span.first_t,
                last_t: span.last_t,
                ..Span::EMPTY
            };
            let mut found: Vec<Span> = spans.iter().map(blank).collect();
            if !spans.is_empty() {
                read_values(&out, &mut found).unwrap();
            }
            for (found, span) in found.iter().zip(&spans) {
                let bits = |span: &Span| {
                    [span.first, span.last, span.sum, span.min, span.max, span.increase].map(f64::to_bits)
                };
                assert_eq!((bits(found), found.resets), (bits(span), span.resets), "{found:?} {span:?}");
            }
            out.len()
        })[0]
    }

    #[test]
    fn common_series_are_short() {
        let series = |value: &dyn Fn(u64) -> f64| check(&(0..480).map(value).collect::<Vec<_>>());
        let random = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        assert!(series(&|_| 1.5) <= 4);
        assert!(series(&|n| (n * 15) as f64) <= 12);
        assert!(series(&|n| (n * 15 + random(n) % 4) as f64 / 100.0) <= 60);
        assert!(series(&|n| random(n) as f64) <= 24 * 18);
        assert_eq!(Timestamp::MIN, Span::EMPTY.last_t);
    }

    fn any_values() -> impl Strategy<Value = Vec<f64>> {
        let one = |what: u8| match what {
            0 => any::<u64>().prop_map(f64::from_bits).boxed(),
            1 => (0..50i64).prop_map(|n| n as f64).boxed(),
            2 => (0..50_000_000i64).prop_map(|n| n as f64 / 1e3).boxed(),
            3 => (-1_000_000_000_000_000i64..9_000_000_000_000_000).prop_map(|n| n as f64).boxed(),
            _ => {
                prop_oneof![Just(-0.0), Just(0.0), Just(f64::NAN), Just(f64::INFINITY), any::<f64>(), 0.0..1.0].boxed()
            }
        };
        (0..5u8, any::<bool>()).prop_flat_map(move |(what, is_rising)| {
            proptest::collection::vec(one(what), 0..300).prop_map(move |mut values| {
                if is_rising {
                    values.sort_by(f64::total_cmp);
                }
                values
            })
        })
    }

    proptest! {
        #[test]
        fn any_spans_read_back(values in any_values()) {
            check(&values);
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in any::<Vec<u8>>(), count in 0..50usize) {
            let mut spans = vec![Span { samples: 20, ..Span::EMPTY }; count];
            read_values(&bytes, &mut spans);
        }
    }
}
