//! Keeps writers and the settling of a bucket out of each other's way.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::Error;
use crate::raw::key::Bucket;

/// The buckets that a batch has raw samples in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Touched {
    oldest_row: Option<Bucket>,
    loose: Option<(Bucket, Bucket)>,
}

impl Touched {
    pub(crate) fn row(&mut self, bucket: Bucket) {
        self.oldest_row = Some(self.oldest_row.map_or(bucket, |oldest| oldest.min(bucket)));
    }

    pub(crate) fn loose(&mut self, bucket: Bucket) {
        let (first, last) = self.loose.unwrap_or((bucket, bucket));
        self.loose = Some((first.min(bucket), last.max(bucket)));
    }
}

/// How far settling has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Everything up to here, inclusive, is in blocks or loose.
    settled: Option<Bucket>,
    /// No more rows are taken up to here, inclusive; at least `settled`.
    closed: Option<Bucket>,
    /// The bucket being settled.
    settling: Option<Bucket>,
    /// It got loose samples since that began.
    is_dirty: bool,
    /// First bucket whose samples are taken; older ones are past retention.
    first_taken: Option<Bucket>,
    /// Everything up to here, inclusive, has no samples any more.
    dropped: Option<Bucket>,
    /// First bucket whose samples stay, while older ones are being dropped.
    retiring: Option<Bucket>,
    /// Older ones got loose samples since that began.
    is_retired_dirty: bool,
}

/// Held shared while a batch is written, alone while a settled bucket's rows are taken away.
pub(crate) struct Gate {
    writing: RwLock<()>,
    progress: Mutex<Progress>,
}

impl Gate {
    pub(crate) fn new(settled: Option<Bucket>, dropped: Option<Bucket>) -> Gate {
        let first_taken = dropped.map(Bucket::next);
        let progress = Progress { settled, closed: settled, dropped, first_taken, ..Progress::default() };
        Gate { writing: RwLock::default(), progress: Mutex::new(progress) }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settled(&self) -> Option<Bucket> {
        self.progress().settled
    }

    /// Tells whether rows of `bucket` are still taken.
    pub(crate) fn is_open(&self, bucket: Bucket) -> bool {
        self.progress().closed.is_none_or(|closed| closed < bucket)
    }

    /// Lets a batch through; it is written while the guard lives.
    ///
    /// # Errors
    /// If it has a row in a bucket that was closed after the row was appended: its predecessors may be gone.
    pub(crate) fn enter(&self, touched: &Touched) -> Result<RwLockReadGuard<'_, ()>, Error> {
        let guard = self.writing.read().unwrap_or_else(PoisonError::into_inner);
        let mut progress = self.progress();
        if touched.oldest_row.is_some() && touched.oldest_row <= progress.closed {
            return Err(Error::BucketClosed);
        }
        let touches = |settling| touched.loose.is_some_and(|(first, last)| first <= settling && settling <= last);
        progress.is_dirty |= progress.settling.is_some_and(touches);
        let oldest_loose = touched.loose.map(|(first, _)| first);
        progress.is_retired_dirty |= oldest_loose.is_some() && oldest_loose < progress.retiring;
        Ok(guard)
    }

    /// Closes `bucket` and everything before it to rows; tells whether it may be settled now.
    pub(crate) fn begin(&self, bucket: Bucket) -> bool {
        let _alone = self.alone();
        let mut progress = self.progress();
        if progress.settling.is_some() || Some(bucket) <= progress.settled {
            return false;
        }
        progress.settling = Some(bucket);
        progress.is_dirty = false;
        progress.closed = progress.closed.max(Some(bucket));
        true
    }

    /// Waits until no batch is being written, and keeps new ones out while the guard lives.
    pub(crate) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.writing.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether loose samples came into the bucket since it began to be settled.
    pub(crate) fn is_dirty(&self) -> bool {
        self.progress().is_dirty
    }

    /// Notes that settling is over, and how far it came if it succeeded.
    pub(crate) fn end(&self, settled: Option<Bucket>) {
        let mut progress = self.progress();
        progress.settling = None;
        progress.settled = progress.settled.max(settled);
        progress.closed = progress.closed.max(settled);
    }

    /// Tells whether samples of `bucket` are not past retention.
    pub(crate) fn is_taken(&self, bucket: Bucket) -> bool {
        self.progress().first_taken.is_none_or(|first| first <= bucket)
    }

    /// Takes no samples before `first_taken` from now on.
    pub(crate) fn refuse(&self, first_taken: Bucket) {
        let mut progress = self.progress();
        progress.first_taken = progress.first_taken.max(Some(first_taken));
    }

    /// Returns the last bucket whose samples were dropped.
    pub(crate) fn dropped(&self) -> Option<Bucket> {
        self.progress().dropped
    }

    /// Begins to watch for loose samples before `first_kept`.
    pub(crate) fn retire(&self, first_kept: Bucket) {
        let mut progress = self.progress();
        progress.first_taken = progress.first_taken.max(Some(first_kept));
        progress.retiring = Some(first_kept);
        progress.is_retired_dirty = false;
    }

    /// Tells whether any came.
    pub(crate) fn is_retired_dirty(&self) -> bool {
        self.progress().is_retired_dirty
    }

    /// Notes that everything up to `bucket`, inclusive, was dropped.
    pub(crate) fn end_retire(&self, bucket: Bucket) {
        let mut progress = self.progress();
        progress.retiring = None;
        progress.is_retired_dirty = false;
        if bucket > Bucket::MIN {
            progress.dropped = progress.dropped.max(Some(bucket));
        }
    }
}
