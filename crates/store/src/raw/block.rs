//! One metric of up to 64 targets over one bucket, a column each.

use xxhash_rust::xxh3::xxh3_64;

use crate::raw::bytes::{Reader, put_varint, zigzag};
use crate::raw::column::{ColumnWriter, Trial, read_column};
use crate::raw::times::read_pattern;

const FLOATS: u8 = 0;
const ALL: u8 = 64;
const BITMAP: u8 = 65;
/// Most samples that a series is believed to have in a block.
const SAMPLES_MAX: usize = 1 << 26;

/// Puts one block together.
#[derive(Default)]
pub(crate) struct BlockWriter {
    present: u64,
    patterns: Vec<Vec<u8>>,
    /// Per target: its pattern, its first time, the bytes of its column.
    entries: Vec<(usize, i64, usize)>,
    columns: Vec<u8>,
    trial: Trial,
}

impl BlockWriter {
    /// Tells whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// Adds the series of the target at `place`, whose times start at `first` and follow `pattern`.
    ///
    /// Places come in order.
    pub(crate) fn add(&mut self, place: u8, first: i64, pattern: &[u8], values: &[f64], writer: &mut ColumnWriter) {
        let known = self.patterns.iter().position(|known| known == pattern);
        let known = known.unwrap_or_else(|| {
            self.patterns.push(pattern.to_vec());
            self.patterns.len() - 1
        });
        let start = self.columns.len();
        writer.put(&mut self.columns, values, &mut self.trial);
        self.present |= 1 << place;
        self.entries.push((known, first, self.columns.len() - start));
    }

    /// Returns the block of what was added; first times are kept relative to `start`.
    pub(crate) fn finish(mut self, start: i64) -> Vec<u8> {
        let mut block = Vec::with_capacity(self.columns.len() + 16 * self.entries.len() + 64);
        let out = &mut block;
        out.extend_from_slice(&[0; 4]);
        out.push(FLOATS);
        match self.present {
            u64::MAX => out.push(ALL),
            one if one.is_power_of_two() => out.push(one.trailing_zeros() as u8),
            some => {
                out.push(BITMAP);
                out.extend_from_slice(&some.to_le_bytes());
            }
        }
        for (pattern, first, bytes) in self.entries.drain(..) {
            put_varint(out, pattern as u64);
            put_varint(out, zigzag(first.wrapping_sub(start)));
            put_varint(out, bytes as u64);
        }
        put_varint(out, self.patterns.len() as u64);
        for pattern in self.patterns.drain(..) {
            put_varint(out, pattern.len() as u64);
            out.extend_from_slice(&pattern);
        }
        out.append(&mut self.columns);
        let checksum = xxh3_64(&out[4..]) as u32;
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        block
    }
}

/// A block, opened for reading.
pub(crate) struct Block<'a> {
    present: u64,
    /// Per target: its pattern, its first time, where its column ends.
    entries: Vec<(usize, i64, usize)>,
    patterns: Vec<&'a [u8]>,
    columns: &'a [u8],
}

impl<'a> Block<'a> {
    /// Checks `block` and reads what it says of its columns. `None` if it is damaged, or of another kind.
    pub(crate) fn open(block: &'a [u8], start: i64) -> Option<Block<'a>> {
        let mut from = Reader(block);
        let checksum = u32::from_le_bytes(from.array()?);
        if xxh3_64(from.0) as u32 != checksum || from.byte()? != FLOATS {
            return None;
        }
        let present = match from.byte()? {
            ALL => u64::MAX,
            BITMAP => u64::from_le_bytes(from.array()?),
            place => 1u64.checked_shl(u32::from(place))?,
        };
        let mut end = 0usize;
        let mut entries = Vec::with_capacity(present.count_ones() as usize);
        for _ in 0..present.count_ones() {
            let pattern = from.count(GROUP_MAX)?;
            let first = from.signed()?.wrapping_add(start);
            end += from.count(block.len())?;
            entries.push((pattern, first, end));
        }
        let mut patterns = Vec::new();
        for _ in 0..from.count(GROUP_MAX)? {
            let bytes = from.count(block.len())?;
            patterns.push(from.take(bytes)?);
        }
        (from.0.len() == end).then_some(Block { present, entries, patterns, columns: from.0 })
    }

    /// Tells whether the target at `place` has samples here.
    pub(crate) fn has(&self, place: u8) -> bool {
        self.present >> place & 1 == 1
    }

    /// Reads the series of the target at `place`, which is here. `None` if it is damaged.
    pub(crate) fn read(&self, place: u8, times: &mut Vec<i64>, values: &mut Vec<f64>) -> Option<()> {
        let before = (self.present & ((1 << place) - 1)).count_ones() as usize;
        let (pattern, first, end) = *self.entries.get(before)?;
        let start = if before == 0 { 0 } else { self.entries[before - 1].2 };
        read_pattern(self.patterns.get(pattern)?, first, SAMPLES_MAX, times)?;
        read_column(self.columns.get(start..end)?, times.len(), values)
    }
}

const GROUP_MAX: usize = crate::raw::key::GROUP_TARGETS as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::times::put_pattern;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn any_series_read_back(
            targets in proptest::collection::btree_map(0..64u8, proptest::collection::vec((1..20_000i64, any::<u64>()), 1..30), 1..64),
            start in any::<i64>(),
        ) {
            let mut writer = BlockWriter::default();
            let series = |steps: &[(i64, u64)]| {
                let times = steps.iter().scan(start, |at, step| { *at = at.wrapping_add(step.0); Some(*at) }).collect::<Vec<_>>();
                (times, steps.iter().map(|step| f64::from_bits(step.1)).collect::<Vec<_>>())
            };
            let mut columns = ColumnWriter::default();
            for (place, steps) in &targets {
                let (times, values) = series(steps);
                let mut pattern = Vec::new();
                put_pattern(&mut pattern, &times);
                writer.add(*place, times[0], &pattern, &values, &mut columns);
            }
            let bytes = writer.finish(start);
            let block = Block::open(&bytes, start).unwrap();
            for place in 0..64 {
                assert_eq!(block.has(place), targets.contains_key(&place));
                let Some(steps) = targets.get(&place) else { continue };
                let (mut times, mut values) = (Vec::new(), Vec::new());
                block.read(place, &mut times, &mut values).unwrap();
                let expected = series(steps);
                assert_eq!(times, expected.0);
                assert!(values.iter().map(|v| v.to_bits()).eq(expected.1.iter().map(|v| v.to_bits())));
            }
            let mut damaged = bytes.clone();
            damaged[bytes.len() / 2] ^= 1;
            assert!(Block::open(&damaged, start).is_none());
        }
    }
}
