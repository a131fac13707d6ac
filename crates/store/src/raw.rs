//! Raw samples: a log of scrapes that is settled into blocks, and samples that came alone.
//!
//! A scrape is written as a *row*. Once its bucket of time is over, the rows of 64 neighbours at a time are turned into
//! *blocks*, one per metric. What fits in neither, because it came late or has a time of its own, is *loose*. Readers
//! merge the three: at one moment of one series a loose sample counts before a block's, and that before a row's, so
//! that an answer does not depend on what has been settled.

mod appender;
mod arena;
pub(crate) mod block;
pub(crate) mod buckets;
pub(crate) mod bytes;
pub(crate) mod candidates;
pub(crate) mod code;
pub(crate) mod coder;
mod column;
mod dictionary;
mod form;
pub(crate) mod gate;
pub(crate) mod index;
pub(crate) mod key;
mod listing;
pub(crate) mod loose;
mod narrowed;
mod posting;
mod predict;
mod residual;
mod restore;
pub(crate) mod row;
mod rows;
pub(crate) mod select;
pub(crate) mod settle;
mod shape;
mod slices;
pub(crate) mod times;
mod transpose;
mod uses;

#[cfg(test)]
mod tests;

use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::database::Store;
use crate::engine::{Engine, WriteBatch};
use crate::error::Error;
use crate::unreadable::Holes;

pub use appender::{Appended, Appender, LastRow};
pub(crate) use gate::Touched;
pub use key::Bucket;
pub use loose::LooseSample;
pub use narrowed::OfTargets;
pub(crate) use row::read_rows;
pub use rows::{ScrapeRow, ScrapeRows};
pub use settle::Settle;

use appender::LastRows;
use dictionary::Dictionary;
use gate::Gate;
use key::BucketLength;

const LENGTH_KEY: &[u8] = b"raw_bucket_ms";
const SETTLED_KEY: &[u8] = b"raw_settled";
const DROPPED_KEY: &[u8] = b"raw_dropped";

/// What of the raw tier is held in memory.
pub(crate) struct Raw {
    pub(crate) names: Dictionary,
    pub(crate) length: BucketLength,
    pub(crate) gate: Gate,
    pub(crate) counters: Counters,
    /// What the appender knows, if there is one.
    pub(crate) last_rows: RwLock<LastRows>,
    /// How many queries have a second thread at the moment.
    pub(crate) helpers: AtomicUsize,
}

/// What is counted since the store was opened.
#[derive(Default)]
pub(crate) struct Counters {
    samples: AtomicU64,
    loose: AtomicU64,
    /// Loose samples older than what is kept.
    pub(crate) refused: AtomicU64,
    pub(crate) merged: AtomicU64,
    /// Samples for which there was no room.
    given_up: AtomicU64,
    /// Dropped buckets of raw samples, 5m and 1h spans; by age, for their bytes, and because the disk was full.
    pub(crate) dropped: [[AtomicU64; 3]; 3],
    active: AtomicI64,
    pub(crate) unreadable: Holes,
    /// RocksDB's number of the last entry that is synced; 0 once the log says so.
    pub(crate) synced: AtomicU64,
}

/// What the raw tier has taken and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Samples appended since the store was opened, staleness markers included.
    pub samples_appended: u64,
    /// Those of them that came late or with a time of their own.
    pub loose_samples: u64,
    /// Series whose last value is not a staleness marker, by their targets' last rows.
    pub active_series: u64,
    /// Targets with an id.
    pub targets: u64,
    /// Metrics with an id.
    pub metrics: u64,
    /// Shapes with an id.
    pub shapes: u64,
    /// Loose samples refused because they were older than what is kept.
    pub samples_refused: u64,
    /// Samples left out of answers because another pair with equal final labels had one at the same moment.
    pub duplicates_merged: u64,
    /// Samples that were given up because there was no room on the disk.
    pub samples_given_up: u64,
    /// How often something was left out because it lies in a damaged part of a file.
    pub unreadable_reads: u64,
    /// Damaged parts of files that are known.
    pub damaged_places: u64,
}

impl Raw {
    /// Reads back what is held in memory; a store without buckets gets those of `length`.
    pub(crate) fn load(db: &Engine, length: Duration) -> Result<Raw, Error> {
        let meta = db.family("meta");
        let read = |key| db.get_cf(meta, key).map_err(Error::at("read how time is cut"));
        let length = match read(LENGTH_KEY)? {
            Some(millis) => {
                let millis = millis.try_into().map_err(|_| Error::corrupt("bucket length", LENGTH_KEY))?;
                BucketLength::new(Duration::from_millis(u64::from_be_bytes(millis)))
            }
            None => {
                let length = BucketLength::new(length);
                db.put_cf(meta, LENGTH_KEY, length.as_millis().to_be_bytes())
                    .map_err(Error::at("write how time is cut"))?;
                length
            }
        };
        let mark = |key| -> Result<Option<Bucket>, Error> {
            let bytes = read(key)?.map(|bytes| bytes.try_into().map_err(|_| Error::corrupt("bucket mark", key)));
            Ok(bytes.transpose()?.map(Bucket::from_bytes))
        };
        let gate = Gate::new(mark(SETTLED_KEY)?, mark(DROPPED_KEY)?);
        Ok(Raw {
            names: Dictionary::load(db)?,
            length,
            gate,
            counters: Counters::default(),
            last_rows: RwLock::default(),
            helpers: AtomicUsize::new(0),
        })
    }
}

impl Store {
    /// Returns what the raw tier has taken and holds.
    pub fn raw_stats(&self) -> StoreStats {
        let counters = &self.raw.counters;
        let (metrics, targets, shapes) = self.raw.names.read().counts();
        StoreStats {
            samples_appended: counters.samples.load(Ordering::Relaxed),
            loose_samples: counters.loose.load(Ordering::Relaxed),
            active_series: counters.active.load(Ordering::Relaxed).max(0) as u64,
            targets: targets as u64,
            metrics: metrics as u64,
            shapes: shapes as u64,
            samples_refused: counters.refused.load(Ordering::Relaxed),
            duplicates_merged: counters.merged.load(Ordering::Relaxed),
            samples_given_up: counters.given_up.load(Ordering::Relaxed),
            unreadable_reads: counters.unreadable.passed(),
            damaged_places: counters.unreadable.places(),
        }
    }

    /// Counts samples that were given up because there was no room on the disk.
    pub fn count_given_up(&self, samples: u64) {
        self.raw.counters.given_up.fetch_add(samples, Ordering::Relaxed);
    }

    /// Returns the first bucket that may have rows.
    pub(crate) fn first_unsettled(&self) -> Bucket {
        self.raw.gate.settled().map_or(Bucket::MIN, Bucket::next)
    }

    /// Adds to `batch` that everything up to `bucket`, inclusive, is settled.
    fn put_settled(&self, batch: &mut WriteBatch, bucket: Bucket) {
        batch.put_cf(self.family("meta"), SETTLED_KEY, bucket.to_bytes());
    }

    /// Adds to `batch` that everything up to `bucket`, inclusive, has no samples any more.
    pub(crate) fn put_dropped(&self, batch: &mut WriteBatch, bucket: Bucket) {
        batch.put_cf(self.family("meta"), DROPPED_KEY, bucket.to_bytes());
    }
}
