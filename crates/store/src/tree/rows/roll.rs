//! Longer steps made of shorter ones.

use std::collections::BTreeMap;
use std::time::Duration;

use firetower_model::{Coverage, Epoch, Revision, RowId, Timestamp, Watermark, Window};

use crate::database::{Batch, Store};
use crate::engine::Snapshot;
use crate::error::Error;
use crate::tree::UNPOISONED;
use crate::tree::rows::key::{Place, Table, mark_bound, row_of_key, step_number, step_of_mark, step_start};
use crate::tree::rows::query::{decode_row, worse};
use crate::tree::rows::value::{encode_header, encode_tier_row};
use crate::tree::rows::{FAMILY, RowHeader, RowTier, TierRow};

/// How long after its end five minutes are made; an hour waits twice as long, for its last five minutes.
pub const ROLL_DELAY: Duration = Duration::from_secs(30);

/// A longer step to be made, for the first time or anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Roll {
    /// Of which tier: five minutes or an hour.
    pub tier: RowTier,
    /// Of which datacenter.
    pub datacenter: String,
    /// Which step.
    pub step: Window,
    datacenter_id: u16,
    /// Why it is to be made; these go with the batch that makes it.
    marks: Vec<Box<[u8]>>,
}

impl Store {
    /// Returns the steps that have ended, [`ROLL_DELAY`] ago, and have windows put since they were last made.
    ///
    /// # Errors
    /// If the marks cannot be read.
    pub fn roll_due(&self, now: Timestamp) -> Result<Vec<Roll>, Error> {
        let mut due = self.marked(RowTier::FiveMinutes, now - ROLL_DELAY)?;
        due.extend(self.marked(RowTier::Hour, now - 2 * ROLL_DELAY)?);
        Ok(due)
    }

    /// Returns the marked steps of `tier` that end by `by`.
    fn marked(&self, tier: RowTier, by: Timestamp) -> Result<Vec<Roll>, Error> {
        let mut marks: BTreeMap<(u32, u16), Vec<Box<[u8]>>> = BTreeMap::new();
        let mut options = self.reading();
        options.set_iterate_range(mark_bound(tier, 0).to_vec()..mark_bound(tier, step_number(tier, by)).to_vec());
        let pairs = self.db.pairs_cf(self.family(FAMILY), options);
        for pair in pairs {
            let (key, _) = pair.map_err(Error::at("read marks of rows"))?;
            let step = step_of_mark(&key).ok_or_else(|| Error::corrupt("mark of rows", &key))?;
            marks.entry(step).or_default().push(key);
        }
        let roll = |((step, datacenter_id), marks)| {
            let datacenter = self.datacenter_name(datacenter_id)?;
            let step = Window::containing(step_start(tier, step), tier.step()?);
            Some(Roll { tier, datacenter, step, datacenter_id, marks })
        };
        Ok(marks.into_iter().filter_map(roll).collect())
    }

    /// Makes a step out of the committed rows of the next finer tier; returns how many rows it has.
    ///
    /// What is put while it is made marks the step again, so that nothing is missed.
    ///
    /// # Errors
    /// If rows cannot be read.
    pub fn roll(&self, batch: &mut Batch, roll: &Roll) -> Result<usize, Error> {
        let cf = self.family(FAMILY);
        roll.marks.iter().for_each(|mark| batch.0.delete_cf(cf, mark));
        let source = if roll.tier == RowTier::Hour { RowTier::FiveMinutes } else { RowTier::Window };
        let no_place = || Error::NoPlace { at: roll.step.start() };
        let from = Place::new(source, roll.datacenter_id, roll.step.start()).ok_or_else(no_place)?;
        let place = Place::new(roll.tier, roll.datacenter_id, roll.step.start()).ok_or_else(no_place)?;
        let snapshot = self.db.snapshot();
        let found = self.headers_in(&snapshot, source, Some(roll.datacenter_id), roll.step.range())?;
        let Some(headers) = found.get(&(from.bucket, from.datacenter)) else { return Ok(0) };
        let rows = self.merged_rows(&snapshot, from, headers, roll.step.length())?;
        let mut newest = self.tree.row_headers.lock().expect(UNPOISONED);
        let before = self.newest_header(&newest, place)?;
        let put = self.next_put(place, before.as_ref())?;
        let header = merged_header(roll.step, put, headers.values());
        for (id, row) in &rows {
            batch.0.put_cf(cf, place.row_key(*id), encode_tier_row(put, row));
        }
        batch.0.put_cf(cf, place.key(Table::Headers), encode_header(&header));
        if roll.tier == RowTier::FiveMinutes {
            batch.0.put_cf(cf, place.mark_key(RowTier::Hour, put), []);
        }
        newest.put(place, header);
        Ok(rows.len())
    }

    /// Merges each row of a bucket over the windows from `from` on, jumping from row to row.
    fn merged_rows(
        &self,
        snapshot: &Snapshot<'_>,
        from: Place,
        headers: &BTreeMap<u32, RowHeader>,
        length: Duration,
    ) -> Result<BTreeMap<RowId, TierRow>, Error> {
        let end_ms = from.offset_ms + length.as_millis() as u32;
        let mut rows: BTreeMap<RowId, TierRow> = BTreeMap::new();
        let mut iterator = snapshot.raw_iterator_cf_opt(self.family(FAMILY), self.reading());
        iterator.seek(from.row_key(RowId(0)));
        while let Some((key, value)) = iterator.item() {
            let Some((id, offset_ms)) = row_of_key(from, key) else { break };
            if offset_ms < from.offset_ms {
                iterator.seek(from.row_key(id));
                continue;
            }
            if end_ms <= offset_ms {
                let Some(next) = id.0.checked_add(1) else { break };
                iterator.seek(from.row_key(RowId(next)));
                continue;
            }
            let (put, value) = decode_row(from.tier, value).ok_or_else(|| Error::corrupt("row", key))?;
            if headers.get(&offset_ms).is_some_and(|header| header.put == put) {
                let later = value.over_time();
                rows.entry(id).and_modify(|row| row.merge(&later)).or_insert(later);
            }
            iterator.next();
        }
        iterator.status().map_err(Error::at("read rows to merge"))?;
        Ok(rows)
    }
}

fn merged_header<'a>(step: Window, put: u64, headers: impl Iterator<Item = &'a RowHeader>) -> RowHeader {
    let mut merged = RowHeader {
        window: step,
        coverage: Coverage::default(),
        worst: Coverage::default(),
        epoch: Epoch(0),
        revision: Revision(0),
        watermark: Watermark::default(),
        put,
    };
    for header in headers {
        merged.coverage.merge(&header.coverage);
        merged.worst = worse(merged.worst, header.worst);
        merged.epoch = merged.epoch.max(header.epoch);
        merged.revision.0 += header.revision.0;
        merged.watermark.newest = merged.watermark.newest.max(header.watermark.newest);
        let complete_through = merged.watermark.complete_through.max(header.watermark.complete_through);
        merged.watermark.complete_through = complete_through;
    }
    merged
}
