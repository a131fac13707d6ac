//! The spans of one metric of up to 64 targets over one bucket.

use firetower_model::Span;
use xxhash_rust::xxh3::xxh3_64;

use super::pieces::Piece;
use super::timing::{RowTimes, Times, read_timing, timing};
use super::values::SpanValues;
use crate::raw::bytes::{Reader, put_varint, zigzag};
use crate::raw::coder::{Decoder, Encoder};
use crate::raw::key::GROUP_TARGETS;

const FLOATS: u8 = 0;
const FLOATS_AT_ROW_TIMES: u8 = 1;
const GROUP_MAX: usize = GROUP_TARGETS as usize;

/// Which steps a block is about, and what its times count from.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) step_ms: i64,
    /// Start of the bucket, in milliseconds.
    pub(crate) start: i64,
}

impl Place {
    fn first_step(self) -> i64 {
        self.start.div_euclid(self.step_ms)
    }
}

/// Puts one block together.
#[derive(Default)]
pub(crate) struct SpanBlockWriter {
    present: u64,
    /// Timings that are not those of rows: with the first time where there is one.
    timings: Vec<Vec<u8>>,
    /// Per target: 0 for the times of its rows, else 1 + which timing; its first time.
    entries: Vec<(usize, Option<i64>)>,
    /// Made when there are values.
    values: Option<Box<(SpanValues, Encoder<Vec<u8>>)>>,
    scratch: Vec<Span>,
}

impl SpanBlockWriter {
    /// Tells whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Adds the target at `target`, whose finite samples were at `finite`; `rows` are the times of its rows.
    ///
    /// Targets come in order.
    pub(crate) fn add(&mut self, place: Place, target: u8, pieces: &[Piece], finite: &[i64], rows: Option<&Times>) {
        if pieces.is_empty() {
            return;
        }
        let (first, bytes) = timing(pieces, finite, place.step_ms, place.first_step());
        let is_rows = rows.is_some_and(|(row_first, pattern)| Some(*row_first) == first && *pattern == bytes);
        let timing = if is_rows { 0 } else { 1 + self.intern(bytes) };
        self.scratch.clear();
        self.scratch.extend(pieces.iter().map(|piece| piece.span).filter(|span| span.samples > span.special));
        if !self.scratch.is_empty() {
            let encoder = || Box::new((SpanValues::default(), Encoder::new(Vec::new(), Vec::new())));
            let (values, encoder) = &mut **self.values.get_or_insert_with(encoder);
            values.put(encoder, &mut self.scratch);
        }
        self.present |= 1 << target;
        self.entries.push((timing, first));
    }

    fn intern(&mut self, timing: Vec<u8>) -> usize {
        let known = self.timings.iter().position(|known| *known == timing);
        known.unwrap_or_else(|| {
            self.timings.push(timing);
            self.timings.len() - 1
        })
    }

    /// Returns the block of what was added.
    pub(crate) fn finish(self, place: Place) -> Vec<u8> {
        let mut out = vec![0; 4];
        let is_at_rows = self.timings.is_empty();
        out.push(if is_at_rows { FLOATS_AT_ROW_TIMES } else { FLOATS });
        out.extend_from_slice(&self.present.to_le_bytes());
        if !is_at_rows {
            put_varint(&mut out, self.timings.len() as u64);
            for timing in &self.timings {
                put_varint(&mut out, timing.len() as u64);
                out.extend_from_slice(timing);
            }
            for (timing, first) in &self.entries {
                put_varint(&mut out, *timing as u64);
                if let Some(first) = first.filter(|_| *timing > 0) {
                    put_varint(&mut out, zigzag(first.wrapping_sub(place.start)));
                }
            }
        }
        out.extend(self.values.map(|values| values.1.finish()).unwrap_or_default());
        let checksum = xxh3_64(&out[4..]) as u32;
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        out
    }
}

/// A block, opened for reading.
pub(crate) struct SpanBlock<'a> {
    place: Place,
    present: u64,
    timings: Vec<&'a [u8]>,
    /// Per target: 0 for the times of its rows, else 1 + which timing; its first time.
    entries: Vec<(usize, i64)>,
    values: &'a [u8],
}

impl<'a> SpanBlock<'a> {
    /// Checks `block` and reads what it says of its targets. `None` if it is damaged, or of another kind.
    pub(crate) fn open(block: &'a [u8], place: Place) -> Option<SpanBlock<'a>> {
        let mut from = Reader(block);
        let checksum = u32::from_le_bytes(from.array()?);
        if xxh3_64(from.0) as u32 != checksum {
            return None;
        }
        let kind = from.byte().filter(|kind| *kind <= FLOATS_AT_ROW_TIMES)?;
        let present = u64::from_le_bytes(from.array()?);
        let count = present.count_ones() as usize;
        let (mut timings, mut entries) = (Vec::new(), vec![(0, 0); count]);
        if kind == FLOATS {
            for _ in 0..from.count(GROUP_MAX)? {
                let bytes = from.count(block.len())?;
                timings.push(from.take(bytes)?);
            }
            for (timing, first) in &mut entries {
                *timing = from.count(timings.len())?;
                let has_first = *timing > 0 && timings[*timing - 1].first() != Some(&0);
                *first = if has_first { from.signed()?.wrapping_add(place.start) } else { 0 };
            }
        }
        Some(SpanBlock { place, present, timings, entries, values: from.0 })
    }

    /// Tells whether its times are those of rows, which are kept once for all metrics.
    pub(crate) fn needs_row_times(&self) -> bool {
        self.entries.iter().any(|(timing, _)| *timing == 0)
    }

    /// Reads the pieces of the targets whose bits are set in `wanted`, in order. `None` if they are damaged.
    ///
    /// What one says is learnt from those before it, so these are read too.
    pub(crate) fn read(&self, wanted: u64, rows: &RowTimes) -> Option<Vec<(u8, Vec<Piece>)>> {
        let (mut values, mut bits) = (SpanValues::default(), Decoder::new(self.values));
        let (mut found, mut spans) = (Vec::new(), Vec::new());
        let wanted = wanted & self.present;
        let up_to_last = u64::MAX.checked_shr(wanted.leading_zeros()).unwrap_or(0);
        let targets = (0..GROUP_TARGETS as u8).filter(|target| (self.present & up_to_last) >> target & 1 == 1);
        for (target, (timing, first)) in targets.zip(&self.entries) {
            let (first, timing) = match timing.checked_sub(1) {
                Some(at) => (*first, *self.timings.get(at)?),
                None => rows.0.get(&target).map(|(first, pattern)| (*first, pattern.as_slice()))?,
            };
            let mut pieces = Vec::new();
            read_timing(timing, first, self.place.step_ms, self.place.first_step(), &mut pieces)?;
            let is_finite = |piece: &&mut Piece| piece.span.samples > piece.span.special;
            spans.clear();
            spans.extend(pieces.iter_mut().filter(is_finite).map(|piece| piece.span));
            if !spans.is_empty() {
                values.get(&mut bits, &mut spans)?;
            }
            if wanted >> target & 1 == 1 {
                pieces.iter_mut().filter(is_finite).zip(&spans).for_each(|(piece, span)| piece.span = *span);
                found.push((target, pieces));
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiers::pieces::cut;
    use crate::tiers::timing::times;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    proptest! {
        #[test]
        fn any_block_reads_back(
            targets in proptest::collection::btree_map(0..64u8, proptest::collection::vec((1..50_000i64, prop_oneof![
                4 => Just(1.0), 3 => (0..100i64).prop_map(|n| n as f64), 1 => any::<f64>()]), 1..60), 1..64),
            start in -10_000_000..10_000_000i64,
            has_rows in any::<u64>(),
        ) {
            let place = Place { step_ms: 300_000, start };
            let (mut writer, mut rows) = (SpanBlockWriter::default(), RowTimes::default());
            let mut expected = Vec::new();
            for (target, samples) in &targets {
                let mut at = start;
                let all: Vec<i64> = samples.iter().map(|(later, _)| { at += later; at }).collect();
                let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
                if has_rows >> target & 1 == 1 {
                    rows.0.insert(*target, times(&all).unwrap());
                }
                let mut pieces = Vec::new();
                cut(&all, &values, 300_000, &mut pieces);
                let finite: Vec<i64> = all.iter().zip(&values).filter(|(_, v)| v.is_finite()).map(|(at, _)| *at).collect();
                writer.add(place, *target, &pieces, &finite, rows.0.get(target));
                expected.push((*target, pieces));
            }
            assert!(!writer.is_empty());
            let bytes = writer.finish(place);
            let block = SpanBlock::open(&bytes, place).unwrap();
            assert_eq!(block.read(u64::MAX, &rows).unwrap(), expected);
            for (target, pieces) in expected {
                assert_eq!(block.read(1 << target, &rows).unwrap(), [(target, pieces)]);
            }
            assert!(block.read(!block.present, &rows).unwrap().is_empty());
            let mut damaged = bytes.clone();
            damaged[bytes.len() / 2] ^= 1;
            assert!(SpanBlock::open(&damaged, place).is_none());
        }
    }
}
