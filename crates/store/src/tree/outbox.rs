//! Frames kept on disk until every parent replica has acknowledged them, and the account of each.

mod limits;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use firetower_model::{Account, DropReason, Sequence, Timestamp, Tombstone};

use crate::database::{Batch, Store};
use crate::error::Error;
use crate::tree::outbox::record::{Entry, Kind, Totals};
use crate::tree::ranges::RangeSet;

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
    bytes: u64,
}

/// What one parent replica has acknowledged, and its side of the account.
#[derive(Clone, Debug, PartialEq, Default)]
struct Parent {
    acknowledged: RangeSet,
    delivered: u64,
    outbox_full: u64,
    /// What had been collected, and settled with others, before this replica was first named.
    collected_before: u64,
    dropped_before: BTreeMap<DropReason, u64>,
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
        let mut outbox = Outbox { store: store.clone(), totals, entries, parents: BTreeMap::new(), bytes };
        let mut batch = Batch::default();
        for name in parents {
            let parent = known.remove(name).unwrap_or_else(|| outbox.new_parent());
            record::put_parent(&mut batch, store, name, &parent);
            outbox.parents.insert(name.clone(), parent);
        }
        for gone in known.keys() {
            record::delete_parent(&mut batch, store, gone);
        }
        let all: Vec<u64> = outbox.entries.keys().copied().collect();
        outbox.forget_settled(&mut batch, all);
        store.commit(batch)?;
        Ok(outbox)
    }

    fn new_parent(&self) -> Parent {
        let mut acknowledged = RangeSet::new();
        let mut next = 1;
        for (from, entry) in &self.entries {
            acknowledged.insert_range(next, from - 1);
            next = entry.to + 1;
        }
        acknowledged.insert_range(next, self.totals.next - 1);
        let queued: u64 = self.entries.values().map(|entry| entry.weight).sum();
        let dropped: u64 = self.totals.dropped.values().sum();
        Parent {
            acknowledged,
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
    pub fn unacknowledged(&self, parent: &str) -> impl DoubleEndedIterator<Item = Sequence> + '_ {
        let parent = self.parents.get(parent);
        let next = parent.map_or(0, |parent| parent.acknowledged.contiguous_through().saturating_add(1));
        let start = self.entries.range(..=next).next_back().map_or(next, |(from, _)| *from);
        let entries = parent.into_iter().flat_map(move |parent| {
            let entries = self.entries.range(start..);
            entries.filter(move |(from, entry)| !parent.acknowledged.contains_range(**from, entry.to))
        });
        entries.map(|(from, _)| Sequence(*from))
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
        let queued: u64 = self.unacknowledged(name).filter_map(|at| self.entries.get(&at.0)).map(|e| e.weight).sum();
        let mut dropped = self.totals.dropped.clone();
        for (reason, before) in &parent.dropped_before {
            *dropped.entry(*reason).or_default() -= before;
        }
        *dropped.entry(DropReason::OutboxFull).or_default() += parent.outbox_full;
        Account {
            parent: name.to_owned(),
            collected: self.totals.collected - parent.collected_before,
            delivered: parent.delivered,
            queued: queued + open_weight,
            dropped: dropped.into_iter().filter(|(_, samples)| *samples > 0).collect(),
        }
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
