//! An iterator of RocksDB that passes over what cannot be read.

use rocksdb::{DB, DBRawIteratorWithThreadMode, ErrorKind};

use crate::engine::Error;
use crate::unreadable::{Holes, place, skip_backward, skip_forward};

/// A place among the keys of a family; one unreadable block costs only what it holds.
pub(crate) struct Around<'a> {
    entries: DBRawIteratorWithThreadMode<'a, DB>,
    /// Where what could not be read is noted; `None` if that ends the reading.
    noted: Option<&'a Holes>,
    holes: u64,
    /// The hole that was met last.
    hole: Option<Hole>,
    /// It stands before the first entry, since a hole is at the start.
    is_at_start: bool,
    /// Nothing can be read, wherever one looks.
    is_lost: bool,
}

/// Where nothing can be read.
#[derive(Clone, Copy)]
struct Hole {
    /// The last place before it that can be read, if there is one.
    before: Option<u128>,
    /// The first place after it that can be read.
    after: u128,
}

impl<'a> Around<'a> {
    pub(super) fn new(entries: DBRawIteratorWithThreadMode<'a, DB>, noted: Option<&'a Holes>) -> Around<'a> {
        Around { entries, noted, holes: 0, hole: None, is_at_start: false, is_lost: false }
    }

    pub(super) fn seek_to_first(&mut self) {
        self.entries.seek_to_first();
        self.pass_forward(u128::MIN);
    }

    pub(super) fn seek_to_last(&mut self) {
        self.entries.seek_to_last();
        self.pass_backward(u128::MAX);
    }

    pub(super) fn seek(&mut self, key: impl AsRef<[u8]>) {
        self.entries.seek(&key);
        self.pass_forward(place(key.as_ref()));
    }

    pub(super) fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) {
        self.entries.seek_for_prev(&key);
        self.pass_backward(place(key.as_ref()));
    }

    pub(super) fn next(&mut self) {
        let from = self.place();
        self.entries.next();
        self.pass_forward(from);
    }

    pub(super) fn prev(&mut self) {
        let from = self.place();
        self.entries.prev();
        self.pass_backward(from);
    }

    pub(super) fn valid(&self) -> bool {
        self.entries.valid()
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        self.entries.key()
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        self.entries.value()
    }

    pub(super) fn item(&self) -> Option<(&[u8], &[u8])> {
        self.entries.item()
    }

    pub(super) fn status(&self) -> Result<(), Error> {
        if self.is_at_start {
            return Ok(());
        }
        self.entries.status()
    }

    pub(super) fn holes(&self) -> u64 {
        self.holes
    }

    fn place(&self) -> u128 {
        if self.noted.is_some() { self.entries.key().map_or(0, place) } else { 0 }
    }

    fn pass_forward(&mut self, from: u128) {
        self.is_at_start = false;
        if let Some(hole) = self.is_at_hole().then(|| self.find_hole(from)).flatten() {
            self.entries.seek(hole.after.to_be_bytes());
            self.is_lost = self.entries.status().is_err();
        }
    }

    fn pass_backward(&mut self, from: u128) {
        self.is_at_start = false;
        let Some(hole) = self.is_at_hole().then(|| self.find_hole(from)).flatten() else { return };
        match hole.before {
            Some(before) => {
                self.entries.seek_for_prev(before.to_be_bytes());
                self.is_lost = self.entries.status().is_err();
            }
            None => self.is_at_start = true,
        }
    }

    /// Returns where the hole at `from` begins and ends, if anything can be read at all.
    fn find_hole(&mut self, from: u128) -> Option<Hole> {
        let is_in = |hole: &Hole| hole.before.is_none_or(|before| before < from) && from < hole.after;
        if !self.hole.as_ref().is_some_and(is_in) {
            self.hole = skip_forward(&mut self.entries, from)
                .map(|after| Hole { before: skip_backward(&mut self.entries, from), after });
            self.is_lost = self.hole.is_none();
        }
        self.hole
    }

    /// Tells whether what is here is damaged, and notes it.
    fn is_at_hole(&mut self) -> bool {
        let Some(noted) = self.noted.filter(|_| !self.is_lost && !self.entries.valid()) else { return false };
        let failed = self.entries.status().err().filter(|error| error.kind() == ErrorKind::Corruption);
        if let Some(error) = &failed {
            noted.note(error);
            self.holes += 1;
        }
        failed.is_some()
    }
}
