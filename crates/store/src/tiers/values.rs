//! The values of spans: what follows from other fields is left out, of the rest goes by how much it is not as foretold.
//!
//! Numbers are the values themselves, scaled where they have few decimals, or else the bits of floating point in order
//! of size. `FORMAT.md` has the layout.

use firetower_model::Span;

use super::field::{Field, Lately, MEAN_SHIFT_MAX};
use super::pieces::canonical;
use super::scale::{Scale, greatest_common_divisor, ordered, unordered};
use crate::raw::coder::{Bits, Model};

/// Numbers of resets of so many bits have models of their own; ...
const RESETS_BITS: u32 = 5;
/// ... from this one on they are a field's.
const RESETS_MOST: u32 = (1 << RESETS_BITS) - 1;
/// A level that follows a number from span to span, with this many bits below one.
const FRACTION: u32 = 4;

/// The numbers that are told by how they compare with those lately, a field each.
#[derive(Clone, Copy)]
enum Kind {
    Divisor,
    Start,
    Gap,
    Rise,
    Low,
    High,
    Resets,
    Increase,
    Sum,
    ByBits,
}

const KINDS: usize = Kind::ByBits as usize + 1;

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
        let shift = self.seen.min(MEAN_SHIFT_MAX);
        self.seen = shift + 1;
        self.level = self.level.wrapping_add((number << FRACTION).wrapping_sub(self.level) >> shift);
    }
}

/// What is learnt of the values of many series of some metrics, the same by whoever writes them and whoever reads them.
pub(crate) struct SpanValues {
    metrics: Vec<Metric>,
    scale: [Model; 8],
    flags: [Model; 3],
    few_resets: [[Model; 1 << RESETS_BITS]; 2],
    fields: [Field; KINDS],
}

/// What a metric was lately.
#[derive(Clone, Copy)]
struct Metric {
    /// First value of the series before.
    first: i64,
    /// Its divisor.
    divisor: i64,
    /// The last number of resets that were many.
    many_resets: i64,
    fields: [Lately; KINDS],
}

impl SpanValues {
    /// Knows nothing yet of so many metrics.
    pub(crate) fn new(metrics: usize) -> SpanValues {
        SpanValues {
            metrics: vec![Metric { first: 0, divisor: 1, many_resets: 0, fields: [Lately::default(); KINDS] }; metrics],
            scale: [Model::NEW; 8],
            flags: [Model::NEW; 3],
            few_resets: [[Model::NEW; 1 << RESETS_BITS]; 2],
            fields: [const { Field::NEW }; KINDS],
        }
    }

    /// Writes the values of the spans of one series of `metric`, each of which has a finite one and is canonical.
    pub(crate) fn put(&mut self, bits: &mut impl Bits, metric: usize, spans: &mut [Span]) {
        let form = Form::of(spans);
        let written = self.code(bits, form, metric, spans);
        debug_assert!(written.is_some(), "only what is read can be wrong");
    }

    /// Fills in the values of `spans`, whose counts and times are known and each of which has a finite value.
    pub(crate) fn get(&mut self, bits: &mut impl Bits, metric: usize, spans: &mut [Span]) -> Option<()> {
        self.code(bits, Form::OPEN, metric, spans)
    }

    /// Writes the values, or reads them; then `form` does not matter.
    fn code(&mut self, bits: &mut impl Bits, form: Form, metric: usize, spans: &mut [Span]) -> Option<()> {
        let (first_before, divisor_before) = (self.metrics[metric].first, self.metrics[metric].divisor);
        let at = bits.symbol(&mut self.scale, u32::from(form.scale.at), 3) as u8;
        let divisor = form.scale.divisor.wrapping_sub(divisor_before);
        let divisor = self.number(bits, (metric, Kind::Divisor), divisor)?.wrapping_add(divisor_before);
        if at > Scale::BITS || divisor < 1 {
            return None;
        }
        let scale = Scale { at, divisor };
        let is_constant = bits.bit(&mut self.flags[0], form.is_constant);
        let first = spans.first().and_then(|span| scale.number(span.first)).unwrap_or_default();
        let first =
            self.number(bits, (metric, Kind::Start), first.wrapping_sub(first_before))?.wrapping_add(first_before);
        (self.metrics[metric].first, self.metrics[metric].divisor) = (first, divisor);
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
                Some(last) => self
                    .levelled(bits, (metric, Kind::Gap), &mut gap, given.first.wrapping_sub(last))?
                    .wrapping_add(last),
            };
            let rise = self.levelled(bits, (metric, Kind::Rise), &mut rise, given.last.wrapping_sub(given.first))?;
            let mut ends = Ends { first, last: first.wrapping_add(rise), min: 0, max: 0 };
            let (least, greatest) = (ends.first.min(ends.last), ends.first.max(ends.last));
            ends.min = least.wrapping_sub(self.number(bits, (metric, Kind::Low), least.wrapping_sub(given.min))?);
            ends.max =
                greatest.wrapping_add(self.number(bits, (metric, Kind::High), given.max.wrapping_sub(greatest))?);
            last = Some(ends.last);
            (span.first, span.last, span.min, span.max) =
                (scale.value(ends.first), scale.value(ends.last), scale.value(ends.min), scale.value(ends.max));
            span.resets =
                self.code_resets(bits, metric, before, span.resets).filter(|resets| *resets <= span.samples)?;
            before = span.resets;
            self.code_sums(bits, metric, form, (ends, &mut above), span)?;
        }
        Some(())
    }

    /// Writes `number`, or reads it; returns it.
    fn number(&mut self, bits: &mut impl Bits, (metric, kind): (usize, Kind), number: i64) -> Option<i64> {
        self.fields[kind as usize].code(bits, &mut self.metrics[metric].fields[kind as usize], number)
    }

    /// Writes `number`, or reads it, by how far it is from what was to come; returns it.
    fn levelled(&mut self, bits: &mut impl Bits, of: (usize, Kind), level: &mut Level, number: i64) -> Option<i64> {
        let next = level.next();
        let number = self.number(bits, of, number.wrapping_sub(next))?.wrapping_add(next);
        level.learn(number);
        Some(number)
    }

    /// Writes how many resets there are, after so many in the span before, or reads it.
    fn code_resets(&mut self, bits: &mut impl Bits, metric: usize, before: u64, resets: u64) -> Option<u64> {
        let few = resets.min(u64::from(RESETS_MOST)) as u32;
        let few = bits.symbol(&mut self.few_resets[usize::from(before > 0)], few, RESETS_BITS);
        if few < RESETS_MOST {
            return Some(u64::from(few));
        }
        let before = self.metrics[metric].many_resets;
        let many =
            self.number(bits, (metric, Kind::Resets), (resets as i64).wrapping_sub(before))?.wrapping_add(before);
        self.metrics[metric].many_resets = many;
        u64::try_from(many).ok()
    }

    /// Writes the sum, and the increase unless it is the rise, or reads them.
    fn code_sums(
        &mut self,
        bits: &mut impl Bits,
        metric: usize,
        form: Form,
        (ends, above): (Ends, &mut Level),
        span: &mut Span,
    ) -> Option<()> {
        let finite = span.samples - span.special;
        let by_bits = expected_values(span);
        let expected = ends.expected_sum(finite);
        let (mut sum, mut sum_number) = (span.sum, expected);
        if form.sums_by_bits {
            sum = self.code_bits(bits, metric, sum, by_bits.0)?;
        } else {
            let number = form.scale.number(sum).unwrap_or_default();
            sum_number = self.number(bits, (metric, Kind::Sum), number.wrapping_sub(expected))?.wrapping_add(expected);
            sum = form.scale.value(sum_number);
        }
        if span.resets == 0 {
            canonical(span);
        } else if form.increases_by_bits {
            span.increase = self.code_bits(bits, metric, span.increase, by_bits.1)?;
        } else {
            // Where values jump at random, they fall from above the mean: how far above is learnt.
            let resets = span.resets as i64;
            let expected = ends.expected_increase(finite, span.resets, sum_number);
            let expected = expected.wrapping_add(above.next().wrapping_mul(resets));
            let number = form.scale.number(span.increase).unwrap_or_default();
            let residual = self.number(bits, (metric, Kind::Increase), number.wrapping_sub(expected))?;
            above.learn(above.next().wrapping_add(residual / resets));
            span.increase = form.scale.value(expected.wrapping_add(residual));
        }
        span.sum = sum;
        Some(())
    }

    fn code_bits(&mut self, bits: &mut impl Bits, metric: usize, value: f64, expected: f64) -> Option<f64> {
        let residual = self.number(bits, (metric, Kind::ByBits), ordered(value).wrapping_sub(ordered(expected)))?;
        Some(unordered(ordered(expected).wrapping_add(residual)))
    }
}

#[cfg(test)]
mod tests;
