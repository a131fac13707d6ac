//! The values of spans: what follows from other fields is left out, of the rest goes by how much it is not as foretold.
//!
//! Numbers are the values themselves, scaled where they have few decimals, or else the bits of floating point in order
//! of size. `FORMAT.md` has the layout.

use firetower_model::Span;

use super::field::{Bits, Field};
use super::pieces::canonical;
use super::scale::{Scale, greatest_common_divisor, ordered, unordered};
use crate::raw::coder::Model;

/// Numbers of resets of so many bits have models of their own; ...
const RESETS_BITS: u32 = 5;
/// ... from this one on they are a field's.
const RESETS_MOST: u32 = (1 << RESETS_BITS) - 1;
/// A level that follows a number from span to span, with this many bits below one.
const FRACTION: u32 = 4;

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

    /// Returns what `finite` samples should add up to; nonsense where numbers are too large to tell, but the same for
    /// writer and reader.
    fn expected_sum(self, finite: u64) -> i64 {
        let [first, last, low, high] = [self.first, self.last, self.min, self.max].map(i128::from);
        (first + last + ((i128::from(finite) - 2) * (low + high)).div_euclid(2)) as i64
    }

    /// Returns what the increase should be: each reset is from about the mean.
    fn expected_increase(self, finite: u64, resets: u64, sum: i64) -> i64 {
        let from = (i128::from(resets) * i128::from(sum)).div_euclid(i128::from(finite.max(1)));
        (i128::from(self.last) - i128::from(self.first) + from) as i64
    }
}

/// The same two, in floating point.
fn expected_values(span: &Span) -> (f64, f64) {
    let finite = (span.samples - span.special) as f64;
    let sum = finite * (span.min / 2.0 + span.max / 2.0);
    (sum, span.last - span.first + span.resets as f64 * (span.min / 2.0 + span.max / 2.0))
}

/// How the spans of one target are written.
#[derive(Clone, Copy)]
struct Form {
    scale: Scale,
    /// All values are the same.
    is_constant: bool,
    /// Sums are measured by their bits.
    sums_by_bits: bool,
    /// So are increases.
    increases_by_bits: bool,
}

impl Form {
    /// What whoever reads knows of a form.
    const OPEN: Form =
        Form { scale: Scale { at: 0, divisor: 1 }, is_constant: false, sums_by_bits: false, increases_by_bits: false };

    /// Returns the form for `spans`, each of which has a finite value and is canonical.
    fn of(spans: &[Span]) -> Form {
        let fits = |scale: &Scale| spans.iter().all(|span| Ends::of(span, *scale).is_some());
        let bits_scale = Scale { at: Scale::BITS, divisor: 1 };
        let scale = (0..Scale::BITS).map(|at| Scale { at, divisor: 1 }).find(fits).unwrap_or(bits_scale);
        let bits = spans.first().map_or(0, |span| span.min.to_bits());
        let is_same = |span: &Span| (span.min.to_bits(), span.max.to_bits(), span.resets) == (bits, bits, 0);
        let by_bits = |values: fn(&Span) -> f64| {
            scale.at == Scale::BITS || spans.iter().any(|span| scale.number(values(span)).is_none())
        };
        let mut form = Form {
            scale,
            is_constant: spans.iter().all(is_same),
            sums_by_bits: by_bits(|span| span.sum),
            increases_by_bits: by_bits(|span| span.increase),
        };
        if scale.at != Scale::BITS && !form.is_constant {
            form.scale.divisor = form.divisor(spans).max(1);
        }
        form
    }

    /// Returns what all numbers are multiples of.
    fn divisor(self, spans: &[Span]) -> i64 {
        let mut divisor = 0;
        for span in spans {
            let sums = [(span.sum, self.sums_by_bits), (span.increase, self.increases_by_bits)];
            let sums = sums.into_iter().filter(|(_, by_bits)| !by_bits).map(|(sum, _)| sum);
            let numbers = [span.first, span.last, span.min, span.max].into_iter().chain(sums);
            divisor = numbers.filter_map(|value| self.scale.number(value)).fold(divisor, greatest_common_divisor);
            if divisor == 1 {
                break;
            }
        }
        divisor
    }
}

/// A number that changes slowly from span to span.
#[derive(Clone, Copy, Default)]
struct Level {
    level: i64,
    seen: u32,
}

impl Level {
    /// Returns what comes next.
    fn next(self) -> i64 {
        self.level >> FRACTION
    }

    /// Takes what came.
    fn learn(&mut self, number: i64) {
        let shift = self.seen.min(3);
        self.seen = shift + 1;
        self.level = self.level.wrapping_add((number << FRACTION).wrapping_sub(self.level) >> shift);
    }

    /// Writes `number`, or reads it, by how far it is from what was to come; returns it.
    fn code(&mut self, field: &mut Field, bits: &mut impl Bits, number: i64) -> Option<i64> {
        let next = self.next();
        let number = field.code(bits, number.wrapping_sub(next))?.wrapping_add(next);
        self.learn(number);
        Some(number)
    }
}

/// What is learnt of the values of many series of one metric, the same by whoever writes them and whoever reads them.
pub(crate) struct SpanValues {
    /// First value of the series before.
    before: i64,
    /// Its divisor.
    divisor: i64,
    scale: [Model; 8],
    flags: [Model; 3],
    divisors: Field,
    start: Field,
    gap: Field,
    rise: Field,
    low: Field,
    high: Field,
    few_resets: [[Model; 1 << RESETS_BITS]; 2],
    resets: Field,
    /// The last that were many.
    many_resets: i64,
    increase: Field,
    sum: Field,
    by_bits: Field,
}

impl Default for SpanValues {
    fn default() -> SpanValues {
        SpanValues {
            before: 0,
            divisor: 1,
            scale: [Model::NEW; 8],
            flags: [Model::NEW; 3],
            divisors: Field::NEW,
            start: Field::NEW,
            gap: Field::NEW,
            rise: Field::NEW,
            low: Field::NEW,
            high: Field::NEW,
            few_resets: [[Model::NEW; 1 << RESETS_BITS]; 2],
            resets: Field::NEW,
            many_resets: 0,
            increase: Field::NEW,
            sum: Field::NEW,
            by_bits: Field::NEW,
        }
    }
}

impl SpanValues {
    /// Writes the values of the spans of one series, each of which has a finite one and is canonical.
    pub(crate) fn put(&mut self, bits: &mut impl Bits, spans: &mut [Span]) {
        let form = Form::of(spans);
        let written = self.code(bits, form, spans);
        debug_assert!(written.is_some(), "only what is read can be wrong");
    }

    /// Fills in the values of `spans`, whose counts and times are known and each of which has a finite value.
    pub(crate) fn get(&mut self, bits: &mut impl Bits, spans: &mut [Span]) -> Option<()> {
        self.code(bits, Form::OPEN, spans)
    }

    /// Writes the values, or reads them; then `form` does not matter.
    fn code(&mut self, bits: &mut impl Bits, form: Form, spans: &mut [Span]) -> Option<()> {
        let at = bits.symbol(&mut self.scale, u32::from(form.scale.at), 3) as u8;
        let divisor = form.scale.divisor.wrapping_sub(self.divisor);
        let divisor = self.divisors.code(bits, divisor)?.wrapping_add(self.divisor);
        if at > Scale::BITS || divisor < 1 {
            return None;
        }
        self.divisor = divisor;
        let scale = Scale { at, divisor };
        let is_constant = bits.bit(&mut self.flags[0], form.is_constant);
        let first = spans.first().and_then(|span| scale.number(span.first)).unwrap_or_default();
        let first = self.start.code(bits, first.wrapping_sub(self.before))?.wrapping_add(self.before);
        self.before = first;
        if is_constant {
            let value = scale.value(first);
            for span in spans {
                (span.first, span.last, span.min, span.max) = (value, value, value, value);
                canonical(span);
            }
            return Some(());
        }
        let sums_by_bits = bits.bit(&mut self.flags[1], form.sums_by_bits);
        let increases_by_bits = bits.bit(&mut self.flags[2], form.increases_by_bits);
        let form = Form { scale, is_constant, sums_by_bits, increases_by_bits };
        let [mut gap, mut rise, mut above] = [Level::default(); 3];
        let mut before = 0;
        let mut last = None;
        for span in spans {
            let given = Ends::of(span, scale).unwrap_or_default();
            let first = match last {
                None => first,
                Some(last) => gap.code(&mut self.gap, bits, given.first.wrapping_sub(last))?.wrapping_add(last),
            };
            let rise = rise.code(&mut self.rise, bits, given.last.wrapping_sub(given.first))?;
            let mut ends = Ends { first, last: first.wrapping_add(rise), min: 0, max: 0 };
            let (least, greatest) = (ends.first.min(ends.last), ends.first.max(ends.last));
            ends.min = least.wrapping_sub(self.low.code(bits, least.wrapping_sub(given.min))?);
            ends.max = greatest.wrapping_add(self.high.code(bits, given.max.wrapping_sub(greatest))?);
            last = Some(ends.last);
            (span.first, span.last, span.min, span.max) =
                (scale.value(ends.first), scale.value(ends.last), scale.value(ends.min), scale.value(ends.max));
            span.resets = self.code_resets(bits, before, span.resets)?.min(span.samples);
            before = span.resets;
            self.code_sums(bits, form, (ends, &mut above), span)?;
        }
        Some(())
    }

    /// Writes how many resets there are, after so many in the span before, or reads it.
    fn code_resets(&mut self, bits: &mut impl Bits, before: u64, resets: u64) -> Option<u64> {
        let few = resets.min(u64::from(RESETS_MOST)) as u32;
        let few = bits.symbol(&mut self.few_resets[usize::from(before > 0)], few, RESETS_BITS);
        if few < RESETS_MOST {
            return Some(u64::from(few));
        }
        let more = (resets as i64).wrapping_sub(self.many_resets);
        self.many_resets = self.resets.code(bits, more)?.wrapping_add(self.many_resets);
        u64::try_from(self.many_resets).ok()
    }

    /// Writes the sum, and the increase unless it is the rise, or reads them.
    fn code_sums(
        &mut self,
        bits: &mut impl Bits,
        form: Form,
        (ends, above): (Ends, &mut Level),
        span: &mut Span,
    ) -> Option<()> {
        let finite = span.samples - span.special;
        let by_bits = expected_values(span);
        let expected = ends.expected_sum(finite);
        let (mut sum, mut sum_number) = (span.sum, expected);
        if form.sums_by_bits {
            sum = self.code_bits(bits, sum, by_bits.0)?;
        } else {
            let number = form.scale.number(sum).unwrap_or_default();
            sum_number = self.sum.code(bits, number.wrapping_sub(expected))?.wrapping_add(expected);
            sum = form.scale.value(sum_number);
        }
        if span.resets == 0 {
            canonical(span);
        } else if form.increases_by_bits {
            span.increase = self.code_bits(bits, span.increase, by_bits.1)?;
        } else {
            // Where values jump at random, they fall from above the mean: how far above is learnt.
            let resets = span.resets as i64;
            let expected = ends.expected_increase(finite, span.resets, sum_number);
            let expected = expected.wrapping_add(above.next().wrapping_mul(resets));
            let number = form.scale.number(span.increase).unwrap_or_default();
            let residual = self.increase.code(bits, number.wrapping_sub(expected))?;
            above.learn(above.next().wrapping_add(residual / resets));
            span.increase = form.scale.value(expected.wrapping_add(residual));
        }
        span.sum = sum;
        Some(())
    }

    fn code_bits(&mut self, bits: &mut impl Bits, value: f64, expected: f64) -> Option<f64> {
        let residual = self.by_bits.code(bits, ordered(value).wrapping_sub(ordered(expected)))?;
        Some(unordered(ordered(expected).wrapping_add(residual)))
    }
}

#[cfg(test)]
mod tests;
