//! Reading in the order of keys.

use rocksdb::IterateBounds;

use crate::engine::around::Around;
use crate::engine::model::{Bounds, ModelIterator};
use crate::engine::{Error, Snapshot};
use crate::unreadable::Holes;

/// How to read.
#[derive(Default)]
pub(crate) struct ReadOptions<'a> {
    bounds: Bounds,
    snapshot: Option<&'a Snapshot<'a>>,
    skips_cache: bool,
    around: Option<&'a Holes>,
}

impl<'a> ReadOptions<'a> {
    /// What is read takes no room from what is read again and again.
    pub(crate) fn skip_cache(&mut self) {
        self.skips_cache = true;
    }

    /// What cannot be read is passed over, and noted in `holes`.
    pub(crate) fn read_around(&mut self, holes: &'a Holes) {
        self.around = Some(holes);
    }

    pub(crate) fn set_snapshot(&mut self, snapshot: &'a Snapshot<'a>) {
        self.snapshot = Some(snapshot);
    }

    /// Inclusive.
    pub(crate) fn set_iterate_lower_bound(&mut self, key: impl Into<Vec<u8>>) {
        self.bounds.lower = Some(key.into());
    }

    /// Exclusive.
    pub(crate) fn set_iterate_upper_bound(&mut self, key: impl Into<Vec<u8>>) {
        self.bounds.upper = Some(key.into());
    }

    pub(crate) fn set_iterate_range(&mut self, range: impl IterateBounds) {
        (self.bounds.lower, self.bounds.upper) = range.into_bounds();
    }

    pub(super) fn snapshot(&self) -> Option<&'a Snapshot<'a>> {
        self.snapshot
    }

    pub(super) fn around(&self) -> Option<&'a Holes> {
        self.around
    }

    pub(super) fn into_bounds(self) -> Bounds {
        self.bounds
    }

    pub(super) fn rocks(self) -> rocksdb::ReadOptions {
        let mut options = rocksdb::ReadOptions::default();
        if self.skips_cache {
            options.fill_cache(false);
        }
        if let Some(key) = self.bounds.lower {
            options.set_iterate_lower_bound(key);
        }
        if let Some(key) = self.bounds.upper {
            options.set_iterate_upper_bound(key);
        }
        if let Some(Snapshot::Rocks(snapshot)) = self.snapshot {
            options.set_snapshot(snapshot);
        }
        options
    }
}

/// A place among the keys of a family, as they were when it was made.
pub(crate) enum RawIterator<'a> {
    Rocks(Around<'a>),
    Model(ModelIterator),
}

impl RawIterator<'_> {
    pub(crate) fn seek_to_first(&mut self) {
        match self {
            RawIterator::Rocks(entries) => entries.seek_to_first(),
            RawIterator::Model(entries) => entries.seek_to_first(),
        }
    }

    pub(crate) fn seek_to_last(&mut self) {
        match self {
            RawIterator::Rocks(entries) => entries.seek_to_last(),
            RawIterator::Model(entries) => entries.seek_to_last(),
        }
    }

    /// Goes to the first key that is `key` or after it.
    pub(crate) fn seek(&mut self, key: impl AsRef<[u8]>) {
        match self {
            RawIterator::Rocks(entries) => entries.seek(key),
            RawIterator::Model(entries) => entries.seek(key.as_ref()),
        }
    }

    /// Goes to the last key that is `key` or before it.
    pub(crate) fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) {
        match self {
            RawIterator::Rocks(entries) => entries.seek_for_prev(key),
            RawIterator::Model(entries) => entries.seek_for_prev(key.as_ref()),
        }
    }

    pub(crate) fn next(&mut self) {
        match self {
            RawIterator::Rocks(entries) => entries.next(),
            RawIterator::Model(entries) => entries.next(),
        }
    }

    pub(crate) fn prev(&mut self) {
        match self {
            RawIterator::Rocks(entries) => entries.prev(),
            RawIterator::Model(entries) => entries.prev(),
        }
    }

    pub(crate) fn valid(&self) -> bool {
        match self {
            RawIterator::Rocks(entries) => entries.valid(),
            RawIterator::Model(entries) => entries.item().is_some(),
        }
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        match self {
            RawIterator::Rocks(entries) => entries.key(),
            RawIterator::Model(entries) => entries.item().map(|(key, _)| key),
        }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        match self {
            RawIterator::Rocks(entries) => entries.value(),
            RawIterator::Model(entries) => entries.item().map(|(_, value)| value),
        }
    }

    pub(crate) fn item(&self) -> Option<(&[u8], &[u8])> {
        match self {
            RawIterator::Rocks(entries) => entries.item(),
            RawIterator::Model(entries) => entries.item(),
        }
    }

    /// Returns how many places were passed over because they could not be read.
    pub(crate) fn holes(&self) -> u64 {
        match self {
            RawIterator::Rocks(entries) => entries.holes(),
            RawIterator::Model(_) => 0,
        }
    }

    /// Tells whether it stands nowhere because of a failure.
    pub(crate) fn status(&self) -> Result<(), Error> {
        match self {
            RawIterator::Rocks(entries) => entries.status(),
            RawIterator::Model(_) => Ok(()),
        }
    }
}

/// All pairs of a family, or of a part of it, in order.
pub(crate) struct Pairs<'a> {
    entries: RawIterator<'a>,
    is_over: bool,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(mut entries: RawIterator<'a>) -> Pairs<'a> {
        entries.seek_to_first();
        Pairs { entries, is_over: false }
    }
}

impl Iterator for Pairs<'_> {
    type Item = Result<(Box<[u8]>, Box<[u8]>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let Some((key, value)) = self.entries.item() else {
            self.is_over = true;
            return self.entries.status().err().map(Err);
        };
        let pair = (key.into(), value.into());
        self.entries.next();
        Some(Ok(pair))
    }
}
