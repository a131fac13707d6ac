//! The values of one series in a block: several codes are tried, the smallest is kept.

use firetower_model::STALE;
use firetower_model::sample::STALE_BITS;
use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use crate::raw::bytes::{Reader, put_varint};
use crate::raw::code::{self, Code, SCALES};
use crate::raw::packed::{put_packed, read_packed};

const CONSTANT: u8 = 0;
const CHANGES: u8 = 1;
const PACKED: u8 = 2;
const PCO_WHOLE: u8 = 3;
const PCO_FLOAT: u8 = 4;
const CODEC_MASK: u8 = 0x0f;
const HAS_ENDS: u8 = 0x10;

/// `pco` is tried on columns that are still larger than this: its bins alone take some tens of bytes.
const PCO_BYTES_MIN: usize = 64;
/// How hard `pco` tries, of 12; its bins are fewer at lower levels, which suits columns of a few hundred.
const PCO_LEVEL: usize = 4;

/// Where `pco` saves less than this share of a column, its likes are not tried.
const PCO_WORTH_PERCENT: usize = 3;
/// Of a metric's columns, the first few and then one in so many are tried in any case.
const TRIALS_FIRST: u32 = 2;
const TRIAL_EVERY: u32 = 16;

/// Whether `pco` was worth its while on the columns of a metric so far: neighbours are alike.
#[derive(Default)]
pub(crate) struct Trial {
    columns: u32,
    is_worth: bool,
}

/// Writes columns, and reuses its memory from one to the next.
#[derive(Default)]
pub(crate) struct ColumnWriter {
    values: Vec<f64>,
    numbers: Vec<i64>,
    scratch: Vec<i64>,
    candidate: Vec<u8>,
}

impl ColumnWriter {
    /// Appends the column of `values`, staleness markers among them.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, values: &[f64], trial: &mut Trial) {
        let head = out.len();
        out.push(0);
        self.values.clear();
        self.values.extend(values.iter().filter(|value| value.to_bits() != STALE_BITS));
        if self.values.len() < values.len() {
            out[head] |= HAS_ENDS;
            put_ends(out, values);
        }
        out[head] |= self.put_values(out, trial);
    }

    /// Appends `self.values` by the smallest code, and returns which.
    fn put_values(&mut self, out: &mut Vec<u8>, trial: &mut Trial) -> u8 {
        let first = self.values.first().copied().unwrap_or(0.0);
        let changes = self.values.windows(2).filter(|pair| pair[0].to_bits() != pair[1].to_bits()).count();
        if changes == 0 {
            code::put_value(out, 0.0, first);
            return CONSTANT;
        }
        let start = out.len();
        let scale = find_scale(&self.values, &mut self.numbers);
        let Some(scale) = scale else {
            put_changes(out, &self.values);
            self.candidate.clear();
            return self.try_pco(out, start, CHANGES, None, trial);
        };
        self.candidate.clear();
        self.candidate.push(scale);
        self.scratch.clone_from(&self.numbers);
        put_packed(&mut self.candidate, &mut self.scratch);
        let order = self.candidate.get(1).copied().unwrap_or(0);
        if changes * 2 > self.values.len() {
            out.extend_from_slice(&self.candidate);
            return self.try_pco(out, start, PACKED, Some((scale, order)), trial);
        }
        put_changes(out, &self.values);
        let codec = self.keep_smaller(out, start, CHANGES, PACKED);
        self.try_pco(out, start, codec, Some((scale, order)), trial)
    }

    /// Puts what `pco` makes of it in place of the column that begins at `start`, if that is smaller.
    ///
    /// `scaled` has the scale of whole numbers and how many differences make them smallest.
    fn try_pco(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        codec: u8,
        scaled: Option<(u8, u8)>,
        trial: &mut Trial,
    ) -> u8 {
        let before = out.len() - start;
        if before <= PCO_BYTES_MIN {
            return codec;
        }
        let is_due = trial.columns < TRIALS_FIRST || trial.columns.is_multiple_of(TRIAL_EVERY);
        trial.columns += 1;
        if !is_due && !trial.is_worth {
            return codec;
        }
        self.candidate.clear();
        let (is_written, candidate) = match scaled {
            Some((scale, order)) => {
                let delta = if order == 0 { DeltaSpec::NoOp } else { DeltaSpec::TryConsecutive(usize::from(order)) };
                self.candidate.push(scale);
                (put_pco(&mut self.candidate, &self.numbers, ModeSpec::Classic, delta), PCO_WHOLE)
            }
            None => (put_pco(&mut self.candidate, &self.values, ModeSpec::Auto, DeltaSpec::Auto), PCO_FLOAT),
        };
        if is_written.is_none() {
            return codec;
        }
        trial.is_worth = self.candidate.len() * 100 < before * (100 - PCO_WORTH_PERCENT);
        self.keep_smaller(out, start, codec, candidate)
    }

    fn keep_smaller(&self, out: &mut Vec<u8>, start: usize, codec: u8, candidate: u8) -> u8 {
        if self.candidate.len() >= out.len() - start {
            return codec;
        }
        out.truncate(start);
        out.extend_from_slice(&self.candidate);
        candidate
    }
}

/// Reads the column of `count` values into `values`. `None` if the bytes are none.
pub(crate) fn read_column(column: &[u8], count: usize, values: &mut Vec<f64>) -> Option<()> {
    let mut from = Reader(column);
    let head = from.byte()?;
    if head & !(CODEC_MASK | HAS_ENDS) != 0 {
        return None;
    }
    let ends = if head & HAS_ENDS != 0 { read_ends(&mut from, count)? } else { Vec::new() };
    values.clear();
    read_values(head & CODEC_MASK, from, count - ends.len(), values)?;
    if !ends.is_empty() {
        let mut present = std::mem::take(values).into_iter();
        let mut ends = ends.into_iter().peekable();
        for at in 0..count {
            values.push(if ends.next_if_eq(&at).is_some() { STALE } else { present.next()? });
        }
    }
    Some(())
}

fn read_values(codec: u8, mut from: Reader<'_>, count: usize, values: &mut Vec<f64>) -> Option<()> {
    match codec {
        CONSTANT => {
            let Code::Value(value) = code::read_code(&mut from, 0.0)? else { return None };
            values.resize(count, value);
            from.0.is_empty().then_some(())
        }
        CHANGES => read_changes(from, count, values),
        PACKED | PCO_WHOLE => {
            let scale = from.byte()?;
            let divisor = if scale == 0 { 1.0 } else { *SCALES.get(usize::from(scale) - 1)? };
            let mut numbers = Vec::new();
            if codec == PACKED {
                read_packed(from, count, &mut numbers)?;
            } else {
                numbers = read_pco(from.0, count)?;
            }
            values.extend(numbers.into_iter().map(|number| number as f64 / divisor));
            Some(())
        }
        PCO_FLOAT => {
            *values = read_pco(from.0, count)?;
            Some(())
        }
        _ => None,
    }
}

fn put_ends(out: &mut Vec<u8>, values: &[f64]) {
    let is_end = |value: &f64| value.to_bits() == STALE_BITS;
    put_varint(out, values.iter().filter(|value| is_end(value)).count() as u64);
    let mut next = 0;
    for (at, _) in values.iter().enumerate().filter(|(_, value)| is_end(value)) {
        put_varint(out, (at - next) as u64);
        next = at + 1;
    }
}

fn read_ends(from: &mut Reader<'_>, count: usize) -> Option<Vec<usize>> {
    let mut next = 0usize;
    (0..from.count(count)?)
        .map(|_| {
            let at = next.checked_add(from.count(count)?).filter(|at| *at < count)?;
            next = at + 1;
            Some(at)
        })
        .collect()
}

/// Appends (how many stay the same, what the next one is) pairs.
fn put_changes(out: &mut Vec<u8>, values: &[f64]) {
    let (mut previous, mut same) = (0.0f64, 0);
    for value in values {
        if value.to_bits() == previous.to_bits() {
            same += 1;
            continue;
        }
        put_varint(out, same);
        code::put_value(out, previous, *value);
        (previous, same) = (*value, 0);
    }
}

fn read_changes(mut from: Reader<'_>, count: usize, values: &mut Vec<f64>) -> Option<()> {
    let mut previous = 0.0;
    while !from.0.is_empty() {
        let same = from.count(count - values.len())?;
        values.resize(values.len() + same, previous);
        let Code::Value(value) = code::read_code(&mut from, previous)? else { return None };
        if values.len() == count {
            return None;
        }
        values.push(value);
        previous = value;
    }
    values.resize(count, previous);
    Some(())
}

/// Fills `numbers` with whole numbers that stand for `values`; returns 0 if they are the values, else 1 + the place of
/// their scale in [`SCALES`].
fn find_scale(values: &[f64], numbers: &mut Vec<i64>) -> Option<u8> {
    if fill(values, numbers, code::whole) {
        return Some(0);
    }
    let found = SCALES.iter().position(|scale| fill(values, numbers, |value| code::scaled(value, *scale)));
    found.map(|at| at as u8 + 1)
}

fn fill(values: &[f64], numbers: &mut Vec<i64>, convert: impl Fn(f64) -> Option<i64>) -> bool {
    numbers.clear();
    values.iter().all(|value| convert(*value).map(|number| numbers.push(number)).is_some())
}

fn put_pco<T: Number>(out: &mut Vec<u8>, numbers: &[T], mode: ModeSpec, delta: DeltaSpec) -> Option<()> {
    let config = ChunkConfig::default().with_compression_level(PCO_LEVEL).with_mode_spec(mode).with_delta_spec(delta);
    let file = FileCompressor::default();
    let mut chunk = file.chunk_compressor(numbers, &config).ok()?;
    file.write_header(&mut *out).ok()?;
    chunk.write_meta(&mut *out).ok()?;
    chunk.write_page(0, out).ok()?;
    Some(())
}

fn read_pco<T: Number + Default>(bytes: &[u8], count: usize) -> Option<Vec<T>> {
    let (file, rest) = FileDecompressor::new(bytes).ok()?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest).ok()?;
    let mut page = chunk.page_decompressor(rest, count).ok()?;
    let mut numbers = vec![T::default(); count];
    let progress = page.read(&mut numbers).ok()?;
    (progress.finished && progress.n_processed == count).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    fn check(values: &[f64]) -> (u8, usize) {
        let (mut out, mut back) = (Vec::new(), Vec::new());
        ColumnWriter::default().put(&mut out, values, &mut Trial::default());
        read_column(&out, values.len(), &mut back).unwrap();
        assert!(back.iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits())), "{values:?} became {back:?}");
        (out[0], out.len())
    }

    fn random(n: i64) -> i64 {
        ((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as i64
    }

    #[test]
    fn each_kind_of_series_finds_its_code() {
        let series = |value: &dyn Fn(i64) -> f64| (0..480).map(value).collect::<Vec<_>>();
        assert_eq!(check(&series(&|_| 1.5)), (CONSTANT, 4));
        assert_eq!(check(&series(&|n| (n / 200) as f64)).0, CHANGES);
        assert_eq!(check(&series(&|n| (n * 15) as f64)).0, PACKED);
        assert_eq!(check(&series(&|n| (n * 15) as f64 / 100.0)).0, PACKED);
        assert_eq!(check(&series(&|n| (n * 15) as f64 / 7.0)).0, PCO_FLOAT);
        assert!(check(&series(&|n| if n == 3 { STALE } else { random(n) as f64 })).0 & HAS_ENDS != 0);
        assert_eq!(check(&[]), (CONSTANT, 2));
        assert_eq!(check(&[STALE; 3]).0, CONSTANT | HAS_ENDS);
    }

    fn any_values() -> impl Strategy<Value = Vec<f64>> {
        let one = |what: u8| match what {
            0 => any::<u64>().prop_map(f64::from_bits).boxed(),
            1 => (0..50i64).prop_map(|n| n as f64).boxed(),
            2 => (0..50_000_000i64).prop_map(|n| n as f64 / 1e3).boxed(),
            _ => prop_oneof![Just(STALE), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), any::<f64>(), 0.0..1.0]
                .boxed(),
        };
        (0..4u8).prop_flat_map(move |what| proptest::collection::vec(one(what), 0..300))
    }

    proptest! {
        #[test]
        fn any_values_read_back(values in any_values()) {
            check(&values);
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(mut bytes in any::<Vec<u8>>(), count in 0..200usize) {
            if let Some(head) = bytes.first_mut() {
                *head &= CODEC_MASK | HAS_ENDS;
            }
            read_column(&bytes, count, &mut Vec::new());
        }
    }
}
