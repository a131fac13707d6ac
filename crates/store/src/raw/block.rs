//! Some metrics of up to 64 targets over one bucket, a column for each of both.

use std::ops::Range;

use firetower_model::MetricId;
use xxhash_rust::xxh3::xxh3_64;

use crate::raw::bytes::{Reader, put_varint, zigzag};
use crate::raw::code::{self, Code};
use crate::raw::column::{CONSTANT, ColumnWriter, Trial, read_column};
use crate::raw::key::GROUP_TARGETS;
use crate::raw::times::read_pattern;

const FLOATS: u8 = 0;
const ALL: u8 = 64;
const BITMAP: u8 = 65;
/// Most samples that a series is believed to have in a block.
const SAMPLES_MAX: usize = 1 << 26;
/// A block takes no more metrics once its columns have so many bytes.
const BLOCK_BYTES: usize = 16 << 10;
const GROUP_MAX: usize = GROUP_TARGETS as usize;

/// How the columns of a metric lie: each on its own, after their lengths.
const EACH: u64 = 0;
/// One value each, never changing, as its difference from the target's before.
const CONSTANTS: u64 = 1;
/// One value for all.
const SAME: u64 = 2;
const LAYOUT_BITS: u32 = 2;

/// The time patterns of a group, each once.
#[derive(Default)]
pub(crate) struct Patterns(Vec<Vec<u8>>);

impl Patterns {
    /// Returns the number of `pattern`.
    pub(crate) fn intern(&mut self, pattern: &[u8]) -> u32 {
        let known = self.0.iter().position(|known| known == pattern).unwrap_or_else(|| {
            self.0.push(pattern.to_vec());
            self.0.len() - 1
        });
        known as u32
    }
}

/// Which targets have a metric, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LineUp {
    present: u64,
    /// Per target: its pattern and its first time.
    times: Vec<(u32, i64)>,
}

/// The columns of one metric.
#[derive(Default)]
pub(crate) struct MetricColumns {
    line_up: LineUp,
    /// Bytes of each column.
    lengths: Vec<u32>,
    columns: Vec<u8>,
    trial: Trial,
}

impl MetricColumns {
    /// Adds the series of the target at `place`, whose times start at `first` and follow the pattern of that number.
    ///
    /// Places come in order.
    pub(crate) fn add(&mut self, place: u8, first: i64, pattern: u32, values: &[f64], writer: &mut ColumnWriter) {
        let start = self.columns.len();
        writer.put(&mut self.columns, values, &mut self.trial);
        self.line_up.present |= 1 << place;
        self.line_up.times.push((pattern, first));
        self.lengths.push((self.columns.len() - start) as u32);
    }

    /// Appends the columns, and returns how they lie.
    fn put(&self, out: &mut Vec<u8>) -> u64 {
        let start = out.len();
        match self.put_constants(out) {
            Some(layout) => layout,
            None => {
                out.truncate(start);
                let lengths = self.lengths.split_last().map_or(&[] as &[u32], |(_, lengths)| lengths);
                lengths.iter().for_each(|length| put_varint(out, u64::from(*length)));
                out.extend_from_slice(&self.columns);
                EACH
            }
        }
    }

    /// Appends values if no column ever changes.
    fn put_constants(&self, out: &mut Vec<u8>) -> Option<u64> {
        let (start, mut same_end) = (out.len(), 0);
        let (mut rest, mut previous, mut is_same) = (Reader(&self.columns), 0.0f64, true);
        for length in &self.lengths {
            let mut column = Reader(rest.take(*length as usize)?);
            let value = match (column.byte()?, code::read_code(&mut column, 0.0)?) {
                (CONSTANT, Code::Value(value)) => value,
                _ => return None,
            };
            is_same &= out.len() == start || value.to_bits() == previous.to_bits();
            code::put_value(out, previous, value);
            if same_end == 0 {
                same_end = out.len();
            }
            previous = value;
        }
        if is_same {
            out.truncate(same_end);
        }
        Some(if is_same { SAME } else { CONSTANTS })
    }
}

/// Puts blocks together.
pub(crate) struct BlockWriter<'a> {
    patterns: &'a Patterns,
    start: i64,
    line_ups: Vec<LineUp>,
    /// Per metric: its id, its line-up and layout, the bytes of its columns.
    metrics: Vec<(MetricId, u64, usize)>,
    columns: Vec<u8>,
}

impl<'a> BlockWriter<'a> {
    /// Makes one for blocks of a bucket that begins at `start`.
    pub(crate) fn new(patterns: &'a Patterns, start: i64) -> BlockWriter<'a> {
        BlockWriter { patterns, start, line_ups: Vec::new(), metrics: Vec::new(), columns: Vec::new() }
    }

    /// Adds a metric; ids come in order. Tells whether the block is full.
    pub(crate) fn add(&mut self, metric: MetricId, columns: &MetricColumns) -> bool {
        if columns.lengths.is_empty() {
            return false;
        }
        let known = self.line_ups.iter().rposition(|known| *known == columns.line_up);
        let line_up = known.unwrap_or_else(|| {
            self.line_ups.push(columns.line_up.clone());
            self.line_ups.len() - 1
        });
        let start = self.columns.len();
        let layout = columns.put(&mut self.columns);
        self.metrics.push((metric, (line_up as u64) << LAYOUT_BITS | layout, self.columns.len() - start));
        self.columns.len() >= BLOCK_BYTES
    }

    /// Returns the block of what was added since the last, and its first metric; `None` if that is nothing.
    pub(crate) fn finish(&mut self) -> Option<(MetricId, Vec<u8>)> {
        let first = self.metrics.first()?.0;
        let mut block = Vec::with_capacity(self.columns.len() + 8 * self.metrics.len() + 512);
        let out = &mut block;
        out.extend_from_slice(&[0; 4]);
        out.push(FLOATS);
        self.put_line_ups(out);
        put_varint(out, self.metrics.len() as u64);
        let mut next = first.0;
        for (metric, layout, bytes) in self.metrics.drain(..) {
            put_varint(out, u64::from(metric.0 - next));
            put_varint(out, layout);
            put_varint(out, bytes as u64);
            next = metric.0.saturating_add(1);
        }
        out.append(&mut self.columns);
        let checksum = xxh3_64(&out[4..]) as u32;
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        Some((first, block))
    }

    fn put_line_ups(&mut self, out: &mut Vec<u8>) {
        let mut used: Vec<u32> = self.line_ups.iter().flat_map(|line_up| &line_up.times).map(|time| time.0).collect();
        used.sort_unstable();
        used.dedup();
        put_varint(out, used.len() as u64);
        for pattern in &used {
            let pattern = &self.patterns.0[*pattern as usize];
            put_varint(out, pattern.len() as u64);
            out.extend_from_slice(pattern);
        }
        put_varint(out, self.line_ups.len() as u64);
        for line_up in self.line_ups.drain(..) {
            put_present(out, line_up.present);
            for (pattern, first) in line_up.times {
                put_varint(out, used.partition_point(|known| *known < pattern) as u64);
                put_varint(out, zigzag(first.wrapping_sub(self.start)));
            }
        }
    }
}

/// A block, opened for reading.
pub(crate) struct Block<'a> {
    patterns: Vec<&'a [u8]>,
    line_ups: Vec<LineUp>,
    metrics: Vec<Entry>,
    columns: &'a [u8],
}

/// One metric in a block.
struct Entry {
    metric: MetricId,
    line_up: usize,
    layout: u64,
    bytes: Range<usize>,
}

/// The columns of one metric, opened for reading.
pub(crate) struct MetricBlock<'a> {
    line_up: &'a LineUp,
    patterns: &'a [&'a [u8]],
    layout: u64,
    columns: &'a [u8],
}

impl<'a> Block<'a> {
    /// Checks `block`, whose first metric is `first`, and reads what it says of its columns.
    ///
    /// `None` if it is damaged, or of another kind.
    pub(crate) fn open(block: &'a [u8], first: MetricId, start: i64) -> Option<Block<'a>> {
        let mut from = Reader(block);
        let checksum = u32::from_le_bytes(from.array()?);
        if xxh3_64(from.0) as u32 != checksum || from.byte()? != FLOATS {
            return None;
        }
        let mut patterns = Vec::new();
        for _ in 0..from.count(block.len())? {
            let bytes = from.count(block.len())?;
            patterns.push(from.take(bytes)?);
        }
        let line_ups = (0..from.count(block.len())?).map(|_| read_line_up(&mut from, start)).collect::<Option<_>>()?;
        let (mut metrics, mut next, mut end) = (Vec::new(), u64::from(first.0), 0usize);
        for _ in 0..from.count(block.len())? {
            let metric = next.checked_add(from.varint()?)?;
            let layout = from.varint()?;
            let bytes = from.count(block.len())?;
            metrics.push(Entry {
                metric: MetricId(u32::try_from(metric).ok()?),
                line_up: usize::try_from(layout >> LAYOUT_BITS).ok()?,
                layout: layout & ((1 << LAYOUT_BITS) - 1),
                bytes: end..end + bytes,
            });
            (next, end) = (metric + 1, end + bytes);
        }
        (from.0.len() == end).then_some(Block { patterns, line_ups, metrics, columns: from.0 })
    }

    /// Returns its last metric.
    pub(crate) fn last(&self) -> Option<MetricId> {
        self.metrics.last().map(|entry| entry.metric)
    }

    /// Returns its metrics, in order.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = MetricId> {
        self.metrics.iter().map(|entry| entry.metric)
    }

    /// Returns how many samples all its metrics and targets have. `None` if it is damaged.
    pub(crate) fn samples(&self) -> Option<u64> {
        let of_pattern = |(pattern, _): &(u32, i64)| Reader(self.patterns.get(*pattern as usize)?).varint();
        let of_metric =
            |entry: &Entry| self.line_ups.get(entry.line_up)?.times.iter().map(of_pattern).sum::<Option<u64>>();
        self.metrics.iter().map(of_metric).sum::<Option<u64>>()
    }

    /// Returns the columns of `metric`; `None` if it is not here.
    pub(crate) fn metric(&self, metric: MetricId) -> Option<MetricBlock<'_>> {
        let at = self.metrics.binary_search_by_key(&metric, |entry| entry.metric).ok()?;
        let entry = &self.metrics[at];
        Some(MetricBlock {
            line_up: self.line_ups.get(entry.line_up)?,
            patterns: &self.patterns,
            layout: entry.layout,
            columns: self.columns.get(entry.bytes.clone())?,
        })
    }
}

/// Appends who of a group is there: all, one, or some. It begins with a byte of at most 65.
pub(crate) fn put_present(out: &mut Vec<u8>, present: u64) {
    match present {
        u64::MAX => out.push(ALL),
        one if one.is_power_of_two() => out.push(one.trailing_zeros() as u8),
        some => {
            out.push(BITMAP);
            out.extend_from_slice(&some.to_le_bytes());
        }
    }
}

/// Reads what [`put_present`] appended, after its first byte.
pub(crate) fn read_present(first: u8, from: &mut Reader<'_>) -> Option<u64> {
    match first {
        ALL => Some(u64::MAX),
        BITMAP => from.array().map(u64::from_le_bytes),
        place => 1u64.checked_shl(u32::from(place)),
    }
}

fn read_line_up(from: &mut Reader<'_>, start: i64) -> Option<LineUp> {
    let first = from.byte()?;
    let present = read_present(first, from)?;
    let mut time = || Some((u32::try_from(from.varint()?).ok()?, from.signed()?.wrapping_add(start)));
    let times = (0..present.count_ones()).map(|_| time()).collect::<Option<_>>()?;
    Some(LineUp { present, times })
}

impl MetricBlock<'_> {
    /// Tells whether the target at `place` has samples here.
    pub(crate) fn has(&self, place: u8) -> bool {
        self.line_up.present >> place & 1 == 1
    }

    /// Reads the series of the target at `place`, which is here. `None` if it is damaged.
    pub(crate) fn read(&self, place: u8, times: &mut Vec<i64>, values: &mut Vec<f64>) -> Option<()> {
        let before = (self.line_up.present & ((1 << place) - 1)).count_ones() as usize;
        let (pattern, first) = *self.line_up.times.get(before)?;
        read_pattern(self.patterns.get(pattern as usize)?, first, SAMPLES_MAX, times)?;
        match self.layout {
            EACH => read_column(self.column(before)?, times.len(), values),
            CONSTANTS | SAME => {
                let skipped = if self.layout == SAME { 0 } else { before };
                let (mut from, mut value) = (Reader(self.columns), 0.0);
                for _ in 0..=skipped {
                    let Code::Value(next) = code::read_code(&mut from, value)? else { return None };
                    value = next;
                }
                values.clear();
                values.resize(times.len(), value);
                Some(())
            }
            _ => None,
        }
    }

    /// Returns the bytes of the column that so many are before.
    fn column(&self, before: usize) -> Option<&[u8]> {
        let mut from = Reader(self.columns);
        let (mut start, mut end) = (0usize, None);
        for at in 0..self.line_up.times.len().min(GROUP_MAX).checked_sub(1)? {
            let bytes = from.count(self.columns.len())?;
            if at < before {
                start += bytes;
            } else if at == before {
                end = Some(start + bytes);
            }
        }
        from.0.get(start..end.unwrap_or(from.0.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::times::put_pattern;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::{Just, Strategy};

    /// Steps of time with bits of values; of many a series all the same.
    fn a_series() -> impl Strategy<Value = Vec<(i64, u64)>> {
        let bits = prop_oneof![Just(5f64.to_bits()), any::<u64>()];
        let same = (bits.clone(), 1..30usize).prop_map(|(bits, count)| vec![(15_000, bits); count]);
        prop_oneof![same, proptest::collection::vec((1..20_000i64, bits), 1..30)]
    }

    fn samples(start: i64, steps: &[(i64, u64)]) -> (Vec<i64>, Vec<f64>) {
        let time = |at: &mut i64, step: &(i64, u64)| {
            *at = at.wrapping_add(step.0);
            Some(*at)
        };
        (steps.iter().scan(start, time).collect(), steps.iter().map(|step| f64::from_bits(step.1)).collect())
    }

    proptest! {
        #[test]
        fn any_series_read_back(
            metrics in proptest::collection::btree_map(
                0..1000u32, proptest::collection::btree_map(0..64u8, a_series(), 0..64), 1..4),
            start in any::<i64>(),
        ) {
            let (mut patterns, mut columns) = (Patterns::default(), ColumnWriter::default());
            let mut written = Vec::new();
            for (metric, targets) in &metrics {
                let mut of_metric = MetricColumns::default();
                for (place, steps) in targets {
                    let (times, values) = samples(start, steps);
                    let mut pattern = Vec::new();
                    put_pattern(&mut pattern, &times);
                    of_metric.add(*place, times[0], patterns.intern(&pattern), &values, &mut columns);
                }
                written.push((MetricId(*metric), of_metric));
            }
            let mut writer = BlockWriter::new(&patterns, start);
            written.iter().for_each(|(metric, columns)| { writer.add(*metric, columns); });
            let Some((first, bytes)) = writer.finish() else { return Ok(()) };
            assert!(writer.finish().is_none());
            let block = Block::open(&bytes, first, start).unwrap();
            for (metric, targets) in metrics.iter().filter(|(_, targets)| !targets.is_empty()) {
                let found = block.metric(MetricId(*metric)).unwrap();
                for place in 0..64 {
                    assert_eq!(found.has(place), targets.contains_key(&place));
                    let Some(steps) = targets.get(&place) else { continue };
                    let (mut times, mut values) = (Vec::new(), Vec::new());
                    found.read(place, &mut times, &mut values).unwrap();
                    let expected = samples(start, steps);
                    assert_eq!(times, expected.0);
                    assert!(values.iter().map(|v| v.to_bits()).eq(expected.1.iter().map(|v| v.to_bits())));
                }
            }
            let mut damaged = bytes.clone();
            damaged[bytes.len() / 2] ^= 1;
            assert!(Block::open(&damaged, first, start).is_none());
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(rubbish in any::<Vec<u8>>(), place in 0..64u8) {
            let mut bytes = vec![0; 4];
            bytes.push(FLOATS);
            bytes.extend_from_slice(&rubbish);
            let checksum = xxh3_64(&bytes[4..]) as u32;
            bytes[..4].copy_from_slice(&checksum.to_le_bytes());
            if let Some(block) = Block::open(&bytes, MetricId(0), 0)
                && let Some(metric) = block.metric(MetricId(0))
                && metric.has(place)
            {
                metric.read(place, &mut Vec::new(), &mut Vec::new());
            }
        }
    }
}
