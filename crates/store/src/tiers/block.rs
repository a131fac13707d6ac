//! The spans of some metrics of up to 64 targets over one bucket.
//!
//! What one series says is learnt from those before it: all metrics of a target, then those of the next.

use firetower_model::{MetricId, Span};
use xxhash_rust::xxh3::xxh3_64;

use super::pieces::Piece;
use super::timing::{RowTimes, Times, read_timing, timing};
use super::values::SpanValues;
use crate::raw::block::{put_present, read_present};
use crate::raw::bytes::{Reader, put_varint, zigzag};
use crate::raw::coder::{Decoder, Encoder};
use crate::raw::key::GROUP_TARGETS;

const FLOATS: u8 = 0;
const FLOATS_AT_ROW_TIMES: u8 = 1;

/// Stands for who had the metric before, where blocks of samples say who is there.
const AS_BEFORE: u8 = 66;

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
pub(crate) struct SpanBlockWriter {
    /// Who has each metric.
    present: Vec<u64>,
    /// Timings that are not those of rows: with the first time where there is one.
    timings: Vec<Vec<u8>>,
    /// Per series: 0 for the times of its target's rows, else 1 + which timing; its first time.
    entries: Vec<(usize, Option<i64>)>,
    values: SpanValues,
    bits: Encoder<Vec<u8>>,
    scratch: Vec<Span>,
}

impl SpanBlockWriter {
    /// Makes one for so many metrics.
    pub(crate) fn new(metrics: usize) -> SpanBlockWriter {
        SpanBlockWriter {
            present: vec![0; metrics],
            timings: Vec::new(),
            entries: Vec::new(),
            values: SpanValues::new(metrics),
            bits: Encoder::new(Vec::new(), Vec::new()),
            scratch: Vec::new(),
        }
    }

    /// Adds the series of the metric at `at` that `target` has, whose finite samples were at `finite`; `rows` are the times
    /// of its rows.
    ///
    /// Targets come in order, and the metrics of each.
    pub(crate) fn add(
        &mut self,
        place: Place,
        (at, target): (usize, u8),
        pieces: &[Piece],
        finite: &[i64],
        rows: Option<&Times>,
    ) {
        if pieces.is_empty() {
            return;
        }
        let (first, bytes) = timing(pieces, finite, place.step_ms, place.first_step());
        let is_rows = rows.is_some_and(|(row_first, pattern)| Some(*row_first) == first && *pattern == bytes);
        let timing = if is_rows { 0 } else { 1 + self.intern(bytes) };
        self.scratch.clear();
        self.scratch.extend(pieces.iter().map(|piece| piece.span).filter(|span| span.samples > span.special));
        if !self.scratch.is_empty() {
            self.values.put(&mut self.bits, at, &mut self.scratch);
        }
        self.present[at] |= 1 << target;
        self.entries.push((timing, first));
    }

    fn intern(&mut self, timing: Vec<u8>) -> usize {
        let known = self.timings.iter().position(|known| *known == timing);
        known.unwrap_or_else(|| {
            self.timings.push(timing);
            self.timings.len() - 1
        })
    }

    /// Returns the block of what was added, `metrics` being those it was made for, and its first metric; `None` if that is
    /// nothing.
    pub(crate) fn finish(self, metrics: &[MetricId], place: Place) -> Option<(MetricId, Vec<u8>)> {
        let added = || metrics.iter().zip(&self.present).filter(|(_, present)| **present != 0);
        let (first, _) = added().next()?;
        let mut out = vec![0; 4];
        let is_at_rows = self.timings.is_empty();
        out.push(if is_at_rows { FLOATS_AT_ROW_TIMES } else { FLOATS });
        put_varint(&mut out, added().count() as u64);
        let (mut next, mut before) = (first.0, 0);
        for (metric, present) in added() {
            put_varint(&mut out, u64::from(metric.0 - next));
            put_who(&mut out, *present, before);
            (next, before) = (metric.0.saturating_add(1), *present);
        }
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
        out.extend(self.bits.finish());
        let checksum = xxh3_64(&out[4..]) as u32;
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        Some((*first, out))
    }
}

fn put_who(out: &mut Vec<u8>, present: u64, before: u64) {
    if present == before { out.push(AS_BEFORE) } else { put_present(out, present) }
}

fn read_who(from: &mut Reader<'_>, before: u64) -> Option<u64> {
    match from.byte()? {
        AS_BEFORE => Some(before),
        first => read_present(first, from),
    }
}

/// A block, opened for reading.
pub(crate) struct SpanBlock<'a> {
    place: Place,
    /// Its metrics, and who has each.
    metrics: Vec<(MetricId, u64)>,
    timings: Vec<&'a [u8]>,
    /// Per series: 0 for the times of its target's rows, else 1 + which timing; its first time.
    entries: Vec<(usize, i64)>,
    values: &'a [u8],
}

impl<'a> SpanBlock<'a> {
    /// Checks `block`, whose first metric is `first`, and reads what it says of its series.
    ///
    /// `None` if it is damaged, or of another kind.
    pub(crate) fn open(block: &'a [u8], first: MetricId, place: Place) -> Option<SpanBlock<'a>> {
        let mut from = Reader(block);
        let checksum = u32::from_le_bytes(from.array()?);
        if xxh3_64(from.0) as u32 != checksum {
            return None;
        }
        let kind = from.byte().filter(|kind| *kind <= FLOATS_AT_ROW_TIMES)?;
        let (mut metrics, mut next, mut present, mut series) = (Vec::new(), u64::from(first.0), 0, 0);
        for _ in 0..from.count(block.len())? {
            let metric = u32::try_from(next.checked_add(from.varint()?)?).ok()?;
            present = read_who(&mut from, present)?;
            series += present.count_ones() as usize;
            metrics.push((MetricId(metric), present));
            next = u64::from(metric) + 1;
        }
        let (mut timings, mut entries) = (Vec::new(), vec![(0, 0); series]);
        if kind == FLOATS {
            for _ in 0..from.count(block.len())? {
                let bytes = from.count(block.len())?;
                timings.push(from.take(bytes)?);
            }
            for (timing, first) in &mut entries {
                *timing = from.count(timings.len())?;
                let has_first = *timing > 0 && timings[*timing - 1].first() != Some(&0);
                *first = if has_first { from.signed()?.wrapping_add(place.start) } else { 0 };
            }
        }
        Some(SpanBlock { place, metrics, timings, entries, values: from.0 })
    }

    /// Returns its metrics, in order.
    pub(crate) fn metrics(&self) -> impl DoubleEndedIterator<Item = MetricId> {
        self.metrics.iter().map(|(metric, _)| *metric)
    }

    /// Tells whether its times are those of rows, which are kept once for all metrics.
    pub(crate) fn needs_row_times(&self) -> bool {
        self.entries.iter().any(|(timing, _)| *timing == 0)
    }

    /// Reads the pieces of the series in `wanted`, in order; none where there is no such series. `None` if they are damaged.
    pub(crate) fn read(&self, wanted: &[(u8, MetricId)], rows: &RowTimes) -> Option<Vec<Vec<Piece>>> {
        let (mut values, mut bits) = (SpanValues::new(self.metrics.len()), Decoder::new(self.values));
        let mut found = vec![Vec::new(); wanted.len()];
        let mut rest = wanted.iter().zip(&mut found).peekable();
        let (mut pieces, mut spans) = (Vec::new(), Vec::new());
        let targets =
            (0..GROUP_TARGETS as u8).flat_map(|target| self.metrics.iter().enumerate().map(move |m| (target, m)));
        let series = targets.filter(|(target, (_, (_, present)))| present >> target & 1 == 1);
        for ((target, (at, (metric, _))), (timing, first)) in series.zip(&self.entries) {
            while rest.next_if(|(wanted, _)| **wanted < (target, *metric)).is_some() {}
            if rest.peek().is_none() {
                break;
            }
            let (first, timing) = match timing.checked_sub(1) {
                Some(at) => (*first, *self.timings.get(at)?),
                None => rows.0.get(&target).map(|(first, pattern)| (*first, pattern.as_slice()))?,
            };
            read_timing(timing, first, self.place.step_ms, self.place.first_step(), &mut pieces)?;
            let is_finite = |piece: &&mut Piece| piece.span.samples > piece.span.special;
            spans.clear();
            spans.extend(pieces.iter_mut().filter(is_finite).map(|piece| piece.span));
            if !spans.is_empty() {
                values.get(&mut bits, at, &mut spans)?;
            }
            if let Some((_, found)) = rest.next_if(|(wanted, _)| **wanted == (target, *metric)) {
                pieces.iter_mut().filter(is_finite).zip(&spans).for_each(|(piece, span)| piece.span = *span);
                found.clone_from(&pieces);
            }
        }
        Some(found)
    }
}

/// Reads all series of a block of five-minute spans, as far as their times are its own.
pub(crate) fn read_span_block(bytes: &[u8]) -> Option<()> {
    let block = SpanBlock::open(bytes, MetricId(1), Place { step_ms: 300_000, start: 1_700_000_000_000 })?;
    let metrics: Vec<MetricId> = block.metrics().take(64).collect();
    let wanted: Vec<(u8, MetricId)> =
        (0..GROUP_TARGETS as u8).flat_map(|target| metrics.iter().map(move |metric| (target, *metric))).collect();
    block.read(&wanted, &RowTimes::default()).map(drop)
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
            series in proptest::collection::btree_map((0..64u8, 0..9u32), proptest::collection::vec((1..50_000i64, prop_oneof![
                4 => Just(1.0), 3 => (0..100i64).prop_map(|n| n as f64), 1 => any::<f64>()]), 1..60), 1..64),
            start in -10_000_000..10_000_000i64,
            has_rows in any::<u64>(),
        ) {
            let place = Place { step_ms: 300_000, start };
            let (mut writer, mut rows) = (SpanBlockWriter::new(9), RowTimes::default());
            let mut expected = Vec::new();
            for ((target, at), samples) in &series {
                let mut time = start;
                let all: Vec<i64> = samples.iter().map(|(later, _)| { time += later; time }).collect();
                let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
                if has_rows >> target & 1 == 1 {
                    rows.0.entry(*target).or_insert_with(|| times(&all).unwrap());
                }
                let mut pieces = Vec::new();
                cut(&all, &values, 300_000, &mut pieces);
                let finite: Vec<i64> = all.iter().zip(&values).filter(|(_, v)| v.is_finite()).map(|(at, _)| *at).collect();
                writer.add(place, (*at as usize, *target), &pieces, &finite, rows.0.get(target));
                expected.push(((*target, MetricId(7 + 3 * at)), pieces));
            }
            let metrics: Vec<MetricId> = (0..9).map(|at| MetricId(7 + 3 * at)).collect();
            let (first, bytes) = writer.finish(&metrics, place).unwrap();
            let block = SpanBlock::open(&bytes, first, place).unwrap();
            let (wanted, pieces): (Vec<_>, Vec<_>) = expected.iter().cloned().unzip();
            assert_eq!(block.read(&wanted, &rows).unwrap(), pieces);
            for (wanted, pieces) in expected {
                assert!(block.metrics().any(|metric| metric == wanted.1));
                let others = [(wanted.0, MetricId(6)), wanted, (wanted.0, MetricId(wanted.1.0 + 1))];
                assert_eq!(block.read(&others, &rows).unwrap(), [Vec::new(), pieces, Vec::new()]);
            }
            let mut damaged = bytes.clone();
            damaged[bytes.len() / 2] ^= 1;
            assert!(SpanBlock::open(&damaged, first, place).is_none());
        }
    }
}
