//! Frames on their way up: written, then published once they are durable.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use firetower_model::{Account, Body, Claim, DropReason, Sequence, Timestamp, Tombstone};
use firetower_store::{Batch, Outbox, RangeSet, Store, Stored};
use firetower_wire::{Bytes, SealedFrame, encode_frame, kind};
use tokio::sync::watch;

use crate::error::Error;

/// Bytes before the payload of a frame in the outbox: kind and row keys needed, both u32 little-endian.
const ENVELOPE_BYTES: usize = 8;

/// How much is kept for parents that are away; the oldest frames go first, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes of frames.
    pub bytes: u64,
    /// Age of frames.
    pub age: Duration,
}

/// Frames on their way up, shared by whoever writes them and the links that take them to the parent replicas.
///
/// Locked for memory and RocksDB's memtable only, never across a wait.
pub struct Outlet {
    store: Store,
    outbox: Mutex<Outbox>,
    limits: OutboxLimits,
    /// One for each lane, so that they hear of it in order: who waits on one channel is woken in any.
    published: Mutex<Vec<watch::Sender<Sequence>>>,
    last_published: AtomicU64,
}

impl Outlet {
    /// Opens the outbox of `store` for these parent replicas, which keeps what `limits` allow.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(store: &Store, parents: &[String], limits: OutboxLimits) -> Result<Arc<Outlet>, Error> {
        let outbox = Outbox::open(store, parents)?;
        for account in outbox.ended() {
            let Account { parent, collected, delivered, queued, .. } = account;
            tracing::warn!(parent, collected, delivered, queued, "parent is no longer named: its account ends");
        }
        let last_published = AtomicU64::new(outbox.last_sequence().0);
        let (store, outbox, published) = (store.clone(), Mutex::new(outbox), Mutex::default());
        Ok(Arc::new(Outlet { store, outbox, limits, published, last_published }))
    }

    /// Adds a frame that carries `weight` raw samples to `batch`.
    ///
    /// It is sent only after the batch is committed, the store synced, and [`Outlet::publish`] called.
    ///
    /// # Errors
    /// If `body` is over a limit of the wire.
    pub fn push(&self, batch: &mut Batch, body: &Body, weight: u64, now: Timestamp) -> Result<Sequence, Error> {
        let row_keys_needed = match body {
            Body::Rows(rows) => rows.rows.last().map_or(0, |(id, _)| id.0 + 1),
            Body::Health(_) | Body::Tombstone(_) | Body::Kept(_) | Body::Unknown => 0,
        };
        let mut sealed = Vec::new();
        sealed.extend_from_slice(&kind(body).to_le_bytes());
        sealed.extend_from_slice(&row_keys_needed.to_le_bytes());
        sealed.extend_from_slice(&encode_frame(body)?);
        let mut outbox = self.outbox();
        let sequence = outbox.push(batch, &sealed, weight, now);
        self.enforce_on(&mut outbox, batch, now);
        Ok(sequence)
    }

    /// Lets the links send what was pushed and committed so far. Call it after the store is synced.
    ///
    /// While what was committed waits for room on the disk nothing is let out: it is not durable.
    pub fn publish(&self) {
        if self.store.is_waiting() {
            return;
        }
        let last = self.outbox().last_sequence();
        if self.last_published.swap(last.0, Ordering::Relaxed) == last.0 {
            return;
        }
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.retain(|lane| lane.send(last).is_ok());
    }

    /// Drops the oldest frames past the limits; a tombstone takes their place, and each replica's account counts those it
    /// has not acknowledged. Pushing does so too.
    pub fn enforce(&self, batch: &mut Batch, now: Timestamp) {
        self.enforce_on(&mut self.outbox(), batch, now);
    }

    fn enforce_on(&self, outbox: &mut Outbox, batch: &mut Batch, now: Timestamp) {
        let is_first = outbox.tombstones() == 0;
        let Some(tombstone) = outbox.enforce(batch, self.limits.bytes, self.limits.age, now) else { return };
        if is_first {
            let OutboxLimits { bytes, age } = self.limits;
            let oldest = tombstone.to.0;
            tracing::warn!(
                bytes,
                ?age,
                through = oldest,
                "outbox is full, oldest frames are dropped: a parent is away"
            );
        }
    }

    /// Counts raw samples as collected here.
    pub fn collect(&self, batch: &mut Batch, samples: u64) {
        self.outbox().collect(batch, samples);
    }

    /// Counts raw samples as given up.
    pub fn drop_samples(&self, batch: &mut Batch, reason: DropReason, samples: u64) {
        self.outbox().drop_samples(batch, reason, samples);
    }

    /// Returns the account of each parent replica; `open_weight` raw samples are collected and in no frame yet.
    pub fn accounts(&self, open_weight: u64) -> Vec<Account> {
        self.outbox().accounts(open_weight)
    }

    /// Returns what is claimed towards `parent`, once it has said what it has applied.
    pub(crate) fn claim(&self, parent: &str) -> Option<Claim> {
        self.outbox().claim(parent)
    }

    /// Returns how many frames, and how many bytes, are queued.
    pub fn queued(&self) -> (u64, u64) {
        let outbox = self.outbox();
        (outbox.frames(), outbox.bytes())
    }

    /// Returns the highest sequence written.
    pub fn last_sequence(&self) -> Sequence {
        self.outbox().last_sequence()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn published(&self) -> watch::Receiver<Sequence> {
        let (lane, heard) = watch::channel(Sequence(self.last_published.load(Ordering::Relaxed)));
        self.published.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
        heard
    }

    /// Returns the last sequence of the frames that were pushed before `before`.
    pub(crate) fn last_before(&self, before: Timestamp) -> Sequence {
        self.outbox().last_before(before)
    }

    /// Returns the last sequence that was done with for `parent` before the first that was not.
    pub(crate) fn settled_through(&self, parent: &str) -> Sequence {
        Sequence(self.outbox().acknowledged(parent).map_or(0, RangeSet::contiguous_through))
    }

    /// Returns the first frame after `after` that `parent` has not acknowledged and that may be sent.
    pub(crate) fn next_for(&self, parent: &str, after: Sequence) -> Option<Sequence> {
        let published = Sequence(self.last_published.load(Ordering::Relaxed));
        self.outbox().next_frame(parent, after, published)
    }

    /// Returns the tombstone that `parent` has not acknowledged as a whole, if there is one.
    pub(crate) fn tombstone_for(&self, parent: &str) -> Option<Tombstone> {
        self.outbox().tombstone(parent)
    }

    /// Reads a queued frame to be sent to `parent`; `None` if it is not queued any more.
    pub(crate) fn offer(&self, parent: &str, sequence: Sequence) -> Result<Option<SealedFrame>, Error> {
        let mut outbox = self.outbox();
        let Some(Stored::Frame { sequence, weight, payload }) = outbox.read(sequence)? else { return Ok(None) };
        outbox.offer(parent, sequence);
        let number = |at: usize| payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let (kind, row_keys_needed) = (number(0), number(4));
        let payload = Bytes::from(payload).slice(ENVELOPE_BYTES..);
        Ok(Some(SealedFrame { sequence, weight, kind, row_keys_needed, payload }))
    }

    /// Takes what `parent` says when it takes this child on: what of this data directory it has applied.
    pub(crate) fn greet(
        &self,
        parent: &str,
        applied: &[RangeInclusive<Sequence>],
        samples: Option<u64>,
    ) -> Result<(), Error> {
        let mut batch = Batch::default();
        let mut outbox = self.outbox();
        let lost = outbox.greet(&mut batch, parent, &range_set(applied), samples);
        self.store.commit(batch)?;
        if lost > 0 {
            tracing::warn!(parent, samples = lost, "parent has lost what it had acknowledged");
        }
        Ok(())
    }

    /// Notes what `parent` has acknowledged; frames that every replica has are forgotten.
    pub(crate) fn acknowledge(&self, parent: &str, ranges: &[RangeInclusive<Sequence>]) -> Result<(), Error> {
        let mut batch = Batch::default();
        let mut outbox = self.outbox();
        outbox.acknowledge(&mut batch, parent, &range_set(ranges));
        self.store.commit(batch)?;
        Ok(())
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn range_set(ranges: &[RangeInclusive<Sequence>]) -> RangeSet {
    ranges.iter().map(|range| (range.start().0, range.end().0)).collect()
}

/// Returns the frame that says `tombstone`.
pub(crate) fn sealed(tombstone: Tombstone) -> Result<SealedFrame, Error> {
    let (sequence, body) = (tombstone.from, Body::Tombstone(tombstone));
    let payload = Bytes::from(encode_frame(&body)?);
    Ok(SealedFrame { sequence, weight: 0, kind: kind(&body), row_keys_needed: 0, payload })
}
