//! Lines that pages are known by: each is held once, however many shapes have it.

use std::sync::Arc;

use firetower_model::{Kind, MetricId};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// How many lines there are at least before those that no shape has are swept out.
const SWEEP_LEAST: usize = 1024;

/// What a line stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// One comment or several, which end with their line feed.
    Comment,
    /// A series that relabelling drops.
    Dropped(Kind),
    /// A series.
    Series(MetricId, Kind),
}

/// A page's line up to its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KnownLine {
    pub(super) text: Box<[u8]>,
    pub(super) meaning: Meaning,
}

/// Bytes that an allocator keeps beside each allocation, on average.
const ALLOCATION_BYTES: usize = 12;

impl KnownLine {
    /// Returns how many bytes it holds in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<KnownLine>() + 2 * size_of::<usize>() + self.text.len() + 2 * ALLOCATION_BYTES
    }
}

/// The lines of all shapes of one kin, found by their text and kind.
#[derive(Debug, Default)]
pub(super) struct LinePool {
    lines: HashTable<Arc<KnownLine>>,
    sweep_at: usize,
}

impl LinePool {
    /// Returns the line of a series with this text, whose family has this kind.
    pub(super) fn series(&self, text: &[u8], kind: Kind) -> Option<Arc<KnownLine>> {
        self.find(text, |meaning| match meaning {
            Meaning::Comment => false,
            Meaning::Dropped(known) | Meaning::Series(_, known) => known == kind,
        })
    }

    /// Returns the comment with this text.
    pub(super) fn comment(&self, text: &[u8]) -> Option<Arc<KnownLine>> {
        self.find(text, |meaning| meaning == Meaning::Comment)
    }

    /// Tells whether there is a line with this text.
    pub(super) fn has(&self, text: &[u8]) -> bool {
        self.lines.find(xxh3_64(text), |line| *line.text == *text).is_some()
    }

    fn find(&self, text: &[u8], is_meant: impl Fn(Meaning) -> bool) -> Option<Arc<KnownLine>> {
        self.lines.find(xxh3_64(text), |line| *line.text == *text && is_meant(line.meaning)).cloned()
    }

    /// Returns the line equal to `line`, which it becomes if there is none.
    pub(super) fn intern(&mut self, line: KnownLine) -> Arc<KnownLine> {
        self.sweep();
        let hash = xxh3_64(&line.text);
        let hash_of = |line: &Arc<KnownLine>| xxh3_64(&line.text);
        Arc::clone(self.lines.entry(hash, |known| **known == line, hash_of).or_insert_with(|| Arc::new(line)).get())
    }

    /// Drops the lines that no shape has, each time that there are twice as many as were left last.
    fn sweep(&mut self) {
        if self.lines.len() >= self.sweep_at.max(SWEEP_LEAST) {
            self.sweep_now();
        }
    }

    /// Drops the lines that no shape has.
    pub(super) fn sweep_now(&mut self) {
        self.lines.retain(|line| Arc::strong_count(line) > 1);
        self.lines.shrink_to(self.lines.len() * 2, |line| xxh3_64(&line.text));
        self.sweep_at = self.lines.len() * 2;
    }

    /// Returns how many lines there are, and how many bytes they hold.
    pub(super) fn held(&self) -> (usize, usize) {
        let bytes: usize = self.lines.iter().map(|line| line.bytes()).sum();
        (self.lines.len(), bytes + self.lines.capacity() * 10)
    }
}
