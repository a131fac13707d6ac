//! RocksDB, and what waits to be written to it while its disk is full.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rocksdb::{DB, WriteBatch, WriteOptions};

use crate::engine::Error;

/// Bytes of batches that wait for room; more than that is a failure. Nothing new is taken in by then, so that only
/// acknowledgements and the account are among them.
const PARKED_BYTES_MAX: usize = 64 << 20;
/// What RocksDB says when the disk is full; it then looks every few seconds whether there is room again.
const FULL: &str = "No space left on device";

/// An open RocksDB.
///
/// What cannot be written because the disk is full is kept in order until it can: what is in memory runs ahead of the disk,
/// and stays right.
pub(crate) struct Rocks {
    db: DB,
    /// A file is damaged: none are merged, since that would end writing.
    is_unmerged: bool,
    parked: Mutex<Parked>,
}

#[derive(Default)]
struct Parked {
    batches: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Why the first of them was not written.
    failed: Option<Error>,
}

impl Rocks {
    pub(crate) fn new(db: DB, is_unmerged: bool) -> Rocks {
        Rocks { db, is_unmerged, parked: Mutex::default() }
    }

    /// Writes to the log, or keeps the batch if the disk is full.
    pub(super) fn write(&self, batch: WriteBatch) -> Result<(), Error> {
        // Held while it is written, so that none overtakes another.
        let mut parked = self.parked();
        let bytes = batch.data().to_vec();
        if parked.batches.is_empty() {
            match self.db.write_opt(batch, &WriteOptions::default()) {
                Err(error) if is_full(&error) => parked.failed = Some(error),
                written => return written,
            }
        }
        if parked.bytes + bytes.len() > PARKED_BYTES_MAX
            && let Some(error) = &parked.failed
        {
            return Err(error.clone());
        }
        parked.bytes += bytes.len();
        parked.batches.push_back(bytes);
        Ok(())
    }

    /// Writes what waits, as far as there is room.
    pub(super) fn write_parked(&self) -> Result<(), Error> {
        let mut parked = self.parked();
        while let Some(bytes) = parked.batches.front() {
            let written = self.db.write_opt(WriteBatch::from_data(bytes), &WriteOptions::default());
            if let Err(error) = written {
                parked.failed = Some(error.clone());
                return Err(error);
            }
            parked.bytes -= parked.batches.pop_front().map_or(0, |bytes| bytes.len());
        }
        parked.failed = None;
        Ok(())
    }

    /// Makes all that was written survive a power loss; fails while something waits.
    pub(super) fn sync(&self) -> Result<(), Error> {
        // Not held while the disk works: others write meanwhile.
        let failed = self.parked().failed.clone();
        failed.map_or_else(|| self.db.flush_wal(true), Err)
    }

    pub(super) fn is_unmerged(&self) -> bool {
        self.is_unmerged
    }

    /// Returns how many bytes wait.
    pub(super) fn parked_bytes(&self) -> u64 {
        self.parked().bytes as u64
    }

    fn parked(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Rocks {
    type Target = DB;

    fn deref(&self) -> &DB {
        &self.db
    }
}

/// Tells whether `error` is that the disk is full.
pub(crate) fn is_full(error: &Error) -> bool {
    error.as_ref().contains(FULL)
}
