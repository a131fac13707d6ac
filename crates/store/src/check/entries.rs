//! Whether entries decode, and name what is there.

use firetower_model::{MetricId, TargetId};

use crate::database::Store;
use crate::raw::block::Block;
use crate::raw::key::{Bucket, GROUP_TARGETS, read_block_key, read_loose_key, read_row_key};
use crate::raw::loose::read_loose_value;
use crate::raw::row::{RowState, is_keyframe};
use crate::tiers::check_spans;
use crate::tree::check_entry;

/// Bytes of an incarnation, of a bucket, and of most numbers in `meta`.
const META_SIZES: [(&[u8], usize); 5] =
    [(b"format", 4), (b"incarnation", 16), (b"raw_bucket_ms", 8), (b"raw_settled", 4), (b"raw_dropped", 4)];

/// Checks entries in the order of their keys: rows build on each other.
pub(super) struct Entries<'a> {
    store: &'a Store,
    /// Whose rows are read.
    rows_of: Option<(Bucket, TargetId)>,
    state: RowState,
    /// How many places could not be read when the last row was.
    holes: u64,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(store: &'a Store) -> Entries<'a> {
        let (times, values) = (Vec::new(), Vec::new());
        Entries { store, rows_of: None, state: RowState::default(), holes: 0, times, values }
    }

    /// Checks one entry; `holes` is how many places before it could not be read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(
        &mut self,
        family: &'static str,
        key: &[u8],
        value: &[u8],
        holes: u64,
    ) -> Result<(), &'static str> {
        match family {
            "meta" => {
                let size = META_SIZES.iter().find(|(known, _)| *known == key).map(|(_, size)| *size);
                let is_sound = size.is_none_or(|size| value.len() == size);
                is_sound.then_some(()).ok_or("a number of another size")
            }
            // Read whole when the store was opened.
            "names" | "row_keys" | "health" => Ok(()),
            "raw_rows" => self.check_row(key, value, holes),
            "raw_loose" => self.check_loose(key, value),
            "raw_blocks" => self.check_block(key, value),
            "spans_5m" | "spans_1h" => {
                let is_known = |metric| self.store.raw.names.read().metric(metric).is_some();
                check_spans(self.store, family, key, value, is_known).ok_or("a block of spans that does not decode")
            }
            _ => check_entry(self.store, family, key, value).ok_or("an entry that does not decode"),
        }
    }

    fn check_row(&mut self, key: &[u8], value: &[u8], holes: u64) -> Result<(), &'static str> {
        let (bucket, target, _) = read_row_key(key).ok_or("a key that does not decode")?;
        if self.rows_of.replace((bucket, target)) != Some((bucket, target)) || self.holes != holes {
            self.holes = holes;
            self.state.restart();
        }
        if self.state.needs_keyframe() && !is_keyframe(value) {
            // Its keyframe was in what could not be read, which is said already.
            return if holes > 0 { Ok(()) } else { Err("a row without its keyframe") };
        }
        self.state.read(value).ok_or("a row that does not decode")?;
        if self.store.raw.names.read().target(target).is_none() {
            return Err("a row of a target without a name");
        }
        let metrics = self.store.shape_metrics(self.state.shape).ok_or("a row of a shape without a name")?;
        let is_whole = metrics.len() == self.state.values.len();
        is_whole.then_some(()).ok_or("a row with another number of values than its shape has metrics")
    }

    fn check_loose(&self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let (_, metric, target, _) = read_loose_key(key).ok_or("a key that does not decode")?;
        read_loose_value(value).ok_or("a sample that does not decode")?;
        let names = self.store.raw.names.read();
        let is_known = names.metric(metric).is_some() && names.target(target).is_some();
        is_known.then_some(()).ok_or("a sample of a series without a name")
    }

    fn check_block(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let (bucket, group, first) = read_block_key(key).ok_or("a key that does not decode")?;
        let start = self.store.raw.length.start(bucket).as_millis();
        let block = Block::open(value, first, start).ok_or("a block whose checksum is another")?;
        let metrics: Vec<MetricId> = block.metrics().collect();
        for metric in metrics {
            let columns = block.metric(metric).ok_or("a block that does not decode")?;
            if self.store.raw.names.read().metric(metric).is_none() {
                return Err("a block with a metric without a name");
            }
            for place in (0..GROUP_TARGETS as u8).filter(|place| columns.has(*place)) {
                columns.read(place, &mut self.times, &mut self.values).ok_or("a column that does not decode")?;
                if self.store.raw.names.read().target(group.target(place)).is_none() {
                    return Err("a block with a target without a name");
                }
            }
        }
        Ok(())
    }
}
