//! What is dropped when a parent stays away for too long.

use std::time::Duration;

use firetower_model::{DropReason, Sequence, Timestamp, Tombstone};

use crate::database::Batch;
use crate::tree::outbox::Outbox;
use crate::tree::outbox::record::{self, Entry, Kind};

impl Outbox {
    /// Drops the oldest frames while there are more than `bytes_max` bytes of them, or they are older than `age_max`.
    ///
    /// A dropped frame is counted as `outbox_full` for each parent that had not acknowledged it, and one tombstone at
    /// the front stands for them all. Returns that tombstone if anything was dropped. One that may be on its way to a
    /// parent counts as delivered to it after all, should its acknowledgement come.
    pub fn enforce(
        &mut self,
        batch: &mut Batch,
        bytes_max: u64,
        age_max: Duration,
        now: Timestamp,
    ) -> Option<Tombstone> {
        let mut dropped: Option<(u64, u64)> = None;
        while let Some((from, to)) = self.first_over(bytes_max, age_max, now) {
            self.drop_entry(batch, from);
            dropped = Some((dropped.map_or(from, |(first, _)| first), to));
        }
        let (mut from, to) = dropped?;
        if let Some((first, Kind::Tombstone(_))) = self.entries.first_key_value().map(|(at, entry)| (*at, entry.kind)) {
            from = first;
        }
        let reason = DropReason::OutboxFull;
        let entry = Entry { to, weight: 0, bytes: 0, created: now, kind: Kind::Tombstone(reason) };
        record::put_entry(batch, &self.store, from, &entry, &[]);
        self.entries.insert(from, entry);
        for (name, parent) in &self.parents {
            record::put_parent(batch, &self.store, name, parent);
        }
        Some(Tombstone { from: Sequence(from), to: Sequence(to), reason })
    }

    /// Returns the sequences of the oldest frame, if it has to go.
    fn first_over(&self, bytes_max: u64, age_max: Duration, now: Timestamp) -> Option<(u64, u64)> {
        let (from, entry) = self.entries.iter().take(2).find(|(_, entry)| entry.kind == Kind::Frame)?;
        let is_over = self.bytes > bytes_max || now.since(entry.created) > age_max;
        is_over.then_some((*from, entry.to))
    }

    fn drop_entry(&mut self, batch: &mut Batch, from: u64) {
        let Some(entry) = self.entries.remove(&from) else { return };
        self.bytes -= entry.bytes;
        record::delete_entry(batch, &self.store, from);
        for parent in self.parents.values_mut() {
            if !parent.acknowledged.contains(from) {
                parent.outbox_full += entry.weight;
                if parent.offered.contains(from) {
                    parent.doubtful.insert(from, entry.weight);
                }
            }
        }
    }
}
