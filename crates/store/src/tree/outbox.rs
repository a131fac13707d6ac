//! Frames kept on disk until every parent replica has acknowledged them, and the account of each.

mod limits;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use firetower_model::{Account, Claim, DropReason, Sequence, Timestamp, Tombstone};

use crate::database::{Batch, Store};
use crate::error::Error;
use crate::tree::outbox::record::{Entry, Kind, Totals};
use crate::tree::ranges::RangeSet;

pub(super) use crate::tree::outbox::record::check_entry;
pub(crate) use crate::tree::outbox::record::forget_outbox;

/// Frames kept until every parent replica has acknowledged them, with a cursor and an account for each.
///
/// Owned by one task. What it holds in memory runs ahead of the disk until the caller commits its batch;
/// a caller whose commit fails ends the process.
pub struct Outbox {
    store: Store,
    totals: Totals,
    /// By the first sequence they stand for. Only the first entry may be a tombstone.
    entries: BTreeMap<u64, Entry>,
    parents: BTreeMap<String, Parent>,
    /// Accounts of replicas that are no longer named.
    ended: Vec<Account>,
    bytes: u64,
}

/// What one parent replica has acknowledged, and its side of the account.
#[derive(Clone, Debug, PartialEq, Default)]
struct Parent {
    acknowledged: RangeSet,
    delivered: u64,
    outbox_full: u64,
    parent_lost: u64,
    /// What had been collected, and settled with others, before this replica was first named.
    collected_before: u64,
    dropped_before: BTreeMap<DropReason, u64>,
    /// What it had applied of this data directory before it was named here; unknown until it has said so once.
    applied_before: Option<u64>,
    /// Frames that were dropped and may have come through, with their weights, until it says what it has applied.
    doubtful: BTreeMap<u64, u64>,
    /// Sequences that may have been sent since it last said so. Not stored: after a start, all of them.
    offered: RangeSet,
}

/// Something in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// A frame, as it was pushed.
    Frame {
        /// Its place in the stream.
        sequence: Sequence,
        /// Raw samples that it carries.
        weight: u64,
        /// What was pushed.
        payload: Vec<u8>,
    },
    /// Stands for frames that had to be dropped; it is acknowledged as all of its sequences.
    Tombstone(Tombstone),
}

impl Outbox {
    /// Opens the outbox of `store` for these parent replicas.
    ///
    /// A replica that was not there before starts with what is queued; one that is no longer there is forgotten, and
    /// holds no frames.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn open(store: &Store, parents: &[String]) -> Result<Outbox, Error> {
        let totals = record::load_totals(store)?;
        let entries = record::load_entries(store)?;
        let mut known = record::load_parents(store)?;
        let bytes = entries.values().map(|entry| entry.bytes).sum();
        let ended = Vec::new();
        let mut outbox = Outbox { store: store.clone(), totals, entries, parents: BTreeMap::new(), ended, bytes };
        let mut batch = Batch::default();
        for name in parents {
            let mut parent = known.remove(name).unwrap_or_else(|| outbox.new_parent());
            parent.offered.insert_range(1, outbox.totals.next - 1);
            record::put_parent(&mut batch, store, name, &parent);
            outbox.parents.insert(name.clone(), parent);
        }
        for (name, parent) in known {
            record::delete_parent(&mut batch, store, &name);
            outbox.ended.push(outbox.account(&name, &parent, 0));
        }
        let all: Vec<u64> = outbox.entries.keys().copied().collect();
        outbox.forget_settled(&mut batch, all);
        store.commit(batch)?;
        Ok(outbox)
    }

    /// Returns the sequences given out that are not queued any more.
    fn gone(&self) -> RangeSet {
        let mut gone = RangeSet::new();
        let mut next = 1;
        for (from, entry) in &self.entries {
            gone.insert_range(next, from - 1);
            next = entry.to + 1;
        }
        gone.insert_range(next, self.totals.next - 1);
        gone
    }

    fn new_parent(&self) -> Parent {
        let queued: u64 = self.entries.values().map(|entry| entry.weight).sum();
        let dropped: u64 = self.totals.dropped.values().sum();
        Parent {
            acknowledged: self.gone(),
            collected_before: self.totals.framed - queued + dropped,
            dropped_before: self.totals.dropped.clone(),
            ..Parent::default()
        }
    }

    /// Queues a frame that carries `weight` raw samples no earlier frame did; returns its sequence, from 1, never used again.
    ///
    /// Without parents nothing is kept, and the sequence is used up all the same.
    pub fn push(&mut self, batch: &mut Batch, payload: &[u8], weight: u64, now: Timestamp) -> Sequence {
        let sequence = self.totals.next;
        self.totals.next += 1;
        self.totals.framed += weight;
        record::put_totals(batch, &self.store, &self.totals);
        if !self.parents.is_empty() {
            let bytes = payload.len() as u64;
            let entry = Entry { to: sequence, weight, bytes, created: now, kind: Kind::Frame };
            record::put_entry(batch, &self.store, sequence, &entry, payload);
            self.entries.insert(sequence, entry);
            self.bytes += bytes;
        }
        Sequence(sequence)
    }

    /// Reads what `sequence` stands for, once its batch is committed; nothing if it is not queued.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, sequence: Sequence) -> Result<Option<Stored>, Error> {
        let Some((from, entry)) = self.entry(sequence) else { return Ok(None) };
        Ok(match entry.kind {
            Kind::Tombstone(reason) => {
                Some(Stored::Tombstone(Tombstone { from: Sequence(from), to: Sequence(entry.to), reason }))
            }
            Kind::Frame => record::read_payload(&self.store, from)?.map(|payload| Stored::Frame {
                sequence,
                weight: entry.weight,
                payload,
            }),
        })
    }

    fn entry(&self, sequence: Sequence) -> Option<(u64, &Entry)> {
        let (from, entry) = self.entries.range(..=sequence.0).next_back()?;
        (sequence.0 <= entry.to).then_some((*from, entry))
    }

    /// Returns the queued sequences that `parent` has not acknowledged, oldest first; a tombstone gives its first one.
    ///
    /// Empty for a parent that was not named at [`Outbox::open`].
    pub fn unacknowledged<'a>(&'a self, parent: &'a str) -> impl Iterator<Item = Sequence> + 'a {
        let tombstone = self.tombstone(parent).map(|tombstone| tombstone.from);
        let mut after = Sequence(0);
        let frames = std::iter::from_fn(move || {
            after = self.next_frame(parent, after, Sequence(u64::MAX))?;
            Some(after)
        });
        tombstone.into_iter().chain(frames)
    }

    /// Returns the first frame after `after` and up to `through` that `parent` has not acknowledged.
    pub fn next_frame(&self, parent: &str, after: Sequence, through: Sequence) -> Option<Sequence> {
        let acknowledged = &self.parents.get(parent)?.acknowledged;
        let first = acknowledged.contiguous_through().max(after.0).checked_add(1)?;
        if through.0 < first {
            return None;
        }
        let mut entries = self.entries.range(first..=through.0);
        let is_next = |(from, entry): &(&u64, &Entry)| entry.kind == Kind::Frame && !acknowledged.contains(**from);
        entries.find(is_next).map(|(from, _)| Sequence(*from))
    }

    /// Returns the tombstone from the first sequence on that `parent` has not acknowledged, if there is any.
    pub fn tombstone(&self, parent: &str) -> Option<Tombstone> {
        let acknowledged = &self.parents.get(parent)?.acknowledged;
        let (from, entry) = self.entries.first_key_value()?;
        let Kind::Tombstone(reason) = entry.kind else { return None };
        let (first, _) = *acknowledged.gaps(*from, entry.to).first()?;
        Some(Tombstone { from: Sequence(first), to: Sequence(entry.to), reason })
    }

    /// Returns the last sequence of the frames that were pushed before `before`; 0 if there are none.
    pub fn last_before(&self, before: Timestamp) -> Sequence {
        let fresh = self.entries.iter().rev().take_while(|(_, entry)| before <= entry.created).last();
        Sequence(fresh.map_or(self.totals.next, |(from, _)| *from) - 1)
    }

    /// Notes that `sequence` may reach `parent` from now on.
    pub fn offer(&mut self, parent: &str, sequence: Sequence) {
        if let Some(parent) = self.parents.get_mut(parent) {
            parent.offered.insert(sequence.0);
        }
    }

    /// Notes that `parent` has made `ranges` (both ends inside) durable; what every parent has is deleted.
    ///
    /// Said twice, it changes nothing. Sequences not yet given out, and unknown parents, are passed over.
    /// Returns the weight that is newly delivered.
    pub fn acknowledge(&mut self, batch: &mut Batch, parent: &str, ranges: &RangeSet) -> u64 {
        let Some(cursor) = self.parents.get_mut(parent) else { return 0 };
        let (mut weight, mut touched, mut is_changed) = (0, BTreeSet::new(), false);
        for (from, to) in ranges.iter() {
            let to = to.min(self.totals.next - 1);
            for (from, to) in cursor.acknowledged.gaps(from.max(1), to) {
                let entries = self.entries.range(from..=to);
                weight += entries.clone().map(|(_, entry)| entry.weight).sum::<u64>();
                touched.extend(entries.map(|(from, _)| *from));
                cursor.acknowledged.insert_range(from, to);
                // They were dropped while they were on their way, and have come through.
                for (_, dropped) in cursor.doubtful.extract_if(from..=to, |_, _| true) {
                    cursor.outbox_full -= dropped;
                    weight += dropped;
                }
                is_changed = true;
            }
        }
        if !is_changed {
            return 0;
        }
        cursor.delivered += weight;
        record::put_parent(batch, &self.store, parent, cursor);
        touched.extend(self.entries.first_key_value().map(|(from, _)| *from));
        self.forget_settled(batch, touched);
        weight
    }

    /// Takes what `parent` says when it takes this child on: the sequences that it has applied, and the raw samples in
    /// them. Nothing that was sent before may be applied after that.
    ///
    /// What it has had and lost is queued again as far as it is still here, and the rest is counted as `parent_lost`;
    /// returns how many samples that is.
    pub fn greet(&mut self, batch: &mut Batch, parent: &str, applied: &RangeSet, samples: Option<u64>) -> u64 {
        self.acknowledge(batch, parent, applied);
        let gone = self.gone();
        let Some(cursor) = self.parents.get_mut(parent) else { return 0 };
        cursor.doubtful.clear();
        cursor.offered = RangeSet::new();
        let mut lost = 0;
        if let Some(samples) = samples {
            let before = *cursor.applied_before.get_or_insert(samples.saturating_sub(cursor.delivered));
            if samples < before + cursor.delivered {
                let mut acknowledged = gone;
                for (from, to) in applied.iter() {
                    acknowledged.insert_range(from, to);
                }
                let is_again = |from: u64| cursor.acknowledged.contains(from) && !acknowledged.contains(from);
                let again: u64 = self.entries.iter().filter(|(from, _)| is_again(**from)).map(|(_, e)| e.weight).sum();
                cursor.applied_before = Some(before.min(samples));
                let delivered = samples.saturating_sub(before);
                lost = (cursor.delivered - delivered).saturating_sub(again);
                (cursor.delivered, cursor.acknowledged) = (delivered, acknowledged);
                cursor.parent_lost += lost;
            }
        }
        record::put_parent(batch, &self.store, parent, cursor);
        lost
    }

    /// Deletes those of `entries` that every parent has acknowledged.
    fn forget_settled(&mut self, batch: &mut Batch, entries: impl IntoIterator<Item = u64>) {
        for from in entries {
            let Some(entry) = self.entries.get(&from) else { continue };
            if self.parents.values().all(|parent| parent.acknowledged.contains_range(from, entry.to)) {
                self.bytes -= entry.bytes;
                self.entries.remove(&from);
                record::delete_entry(batch, &self.store, from);
            }
        }
    }

    /// Counts raw samples stored here, or applied from below.
    pub fn collect(&mut self, batch: &mut Batch, samples: u64) {
        self.totals.collected += samples;
        record::put_totals(batch, &self.store, &self.totals);
    }

    /// Counts raw samples that were collected and will be in no frame.
    pub fn drop_samples(&mut self, batch: &mut Batch, reason: DropReason, samples: u64) {
        *self.totals.dropped.entry(reason).or_default() += samples;
        record::put_totals(batch, &self.store, &self.totals);
    }

    /// Returns the account towards each parent, in order of their names; `open_weight` is of windows not yet pushed.
    ///
    /// No term is worked out from the others: collected, delivered and dropped are counted, queued is added up. A frame
    /// that was dropped after it had been sent counts as dropped even if its acknowledgement comes later.
    pub fn accounts(&self, open_weight: u64) -> Vec<Account> {
        self.parents.iter().map(|(name, parent)| self.account(name, parent, open_weight)).collect()
    }

    fn account(&self, name: &str, parent: &Parent, open_weight: u64) -> Account {
        let waiting = parent.acknowledged.gaps(1, self.totals.next - 1);
        let waiting = waiting.into_iter().flat_map(|(from, to)| self.entries.range(from..=to));
        let queued: u64 = waiting.map(|(_, entry)| entry.weight).sum();
        let mut dropped = self.totals.dropped.clone();
        for (reason, before) in &parent.dropped_before {
            *dropped.entry(*reason).or_default() -= before;
        }
        *dropped.entry(DropReason::OutboxFull).or_default() += parent.outbox_full;
        *dropped.entry(DropReason::ParentLost).or_default() += parent.parent_lost;
        Account {
            parent: name.to_owned(),
            collected: self.totals.collected - parent.collected_before,
            delivered: parent.delivered,
            queued: queued + open_weight,
            dropped: dropped.into_iter().filter(|(_, samples)| *samples > 0).collect(),
        }
    }

    /// Returns what this side claims towards `parent`, once that has said what it has applied.
    pub fn claim(&self, parent: &str) -> Option<Claim> {
        let cursor = self.parents.get(parent)?;
        let account = self.account(parent, cursor, 0);
        let before = cursor.applied_before?;
        let dropped = account.dropped.iter().map(|(_, samples)| samples).sum();
        Some(Claim { collected: before + account.collected, delivered: before + account.delivered, dropped })
    }

    /// Returns the last accounts of replicas that had been named and were not at [`Outbox::open`].
    pub fn ended(&self) -> &[Account] {
        &self.ended
    }

    /// Returns the highest sequence given out; 0 before the first.
    pub fn last_sequence(&self) -> Sequence {
        Sequence(self.totals.next - 1)
    }

    /// Returns what `parent` has acknowledged.
    pub fn acknowledged(&self, parent: &str) -> Option<&RangeSet> {
        self.parents.get(parent).map(|parent| &parent.acknowledged)
    }

    /// Returns the parents named at [`Outbox::open`], in order.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.parents.keys().map(String::as_str)
    }

    /// Returns how many tombstones are queued for at least one parent: one at most.
    pub fn tombstones(&self) -> u64 {
        let first = self.entries.first_key_value();
        u64::from(first.is_some_and(|(_, entry)| entry.kind != Kind::Frame))
    }

    /// Returns how many frames and tombstones are queued for at least one parent.
    pub fn frames(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Returns how many bytes of payload are queued for at least one parent.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns how long the oldest queued frame has waited; zero if there is none.
    pub fn oldest_age(&self, now: Timestamp) -> Duration {
        let oldest = self.entries.values().find(|entry| entry.kind == Kind::Frame);
        oldest.map_or(Duration::ZERO, |entry| now.since(entry.created))
    }
}

#[cfg(test)]
mod tests;
