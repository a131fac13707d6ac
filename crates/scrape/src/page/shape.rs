//! The lines of a page in their order.

use std::sync::{Arc, OnceLock};

use firetower_model::{MetricId, ShapeId};
use xxhash_rust::xxh3::xxh3_64;

use super::LEADING;
use super::line::KnownLine;

/// In place of the column of a line that is a comment.
pub(super) const COMMENT: u32 = u32::MAX;
/// In place of the column of a line that is dropped.
pub(super) const DROPPED: u32 = u32::MAX - 1;

/// An empty place of the index.
const VACANT: u32 = u32::MAX;

/// How many lines are warmed at once.
pub(super) const WARMED: usize = 16;

/// The lines of a page up to their values, and the column of each.
#[derive(Debug)]
pub struct PageShape {
    id: ShapeId,
    /// The leading ones too, since that is how whoever gave the id keeps them.
    metrics: Arc<[MetricId]>,
    lines: Box<[Arc<KnownLine>]>,
    columns: Box<[u32]>,
    /// Finds a line by its text; made when it is first needed.
    index: OnceLock<Index>,
}

impl PageShape {
    pub(super) fn new(id: ShapeId, metrics: Arc<[MetricId]>, lines: &[Arc<KnownLine>], columns: &[u32]) -> PageShape {
        PageShape { id, metrics, lines: lines.into(), columns: columns.into(), index: OnceLock::new() }
    }

    /// Returns the shape without lines that a first page is compared with; it has no id of a store.
    pub(super) fn empty() -> PageShape {
        PageShape::new(ShapeId::default(), Arc::new([]), &[], &[])
    }

    /// Returns the id that [`super::Resolve::shape`] gave.
    pub fn id(&self) -> ShapeId {
        self.id
    }

    /// Returns the metrics of its columns, without the leading ones.
    pub fn metrics(&self) -> &[MetricId] {
        self.metrics.get(LEADING..).unwrap_or_default()
    }

    /// Returns how many bytes it holds in memory, without its lines and metrics, which others hold too.
    pub fn bytes(&self) -> usize {
        let index = self.index.get().map_or(0, |index| index.slots.len() * 4);
        size_of::<PageShape>() + self.lines.len() * (size_of::<usize>() + 4) + index
    }

    /// Returns how many lines it has.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns the line at `place` and its column.
    #[inline]
    pub(super) fn get(&self, place: usize) -> Option<(&Arc<KnownLine>, u32)> {
        Some((self.lines.get(place)?, *self.columns.get(place)?))
    }

    /// Reads a byte or two of each of the lines from `place` on, so that those not in the processor's cache are waited
    /// for together, and not one after the other when each is compared.
    #[inline]
    pub(super) fn warm(&self, place: usize) {
        let lines = self.lines.get(place..).unwrap_or_default().iter().take(WARMED);
        let sum = lines.fold(0u8, |sum, line| sum ^ line.text.first().unwrap_or(&0) ^ line.text.get(64).unwrap_or(&0));
        std::hint::black_box(sum);
    }

    /// Tells whether it consists of these.
    pub(super) fn is(&self, metrics: &[MetricId], lines: &[Arc<KnownLine>], columns: &[u32]) -> bool {
        let same_lines = || self.lines.iter().zip(lines).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs));
        self.lines.len() == lines.len() && self.metrics() == metrics && *self.columns == *columns && same_lines()
    }

    /// Returns the place of the first line with exactly this text.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        let index = self.index.get_or_init(|| Index::new(&self.lines));
        index.find(xxh3_64(text), |place| *self.lines[place].text == *text)
    }
}

/// A hash table of places with open addressing.
///
/// A slot has the place in its low bits and bits of the hash above, so that few lines need be looked at in vain.
#[derive(Debug)]
struct Index {
    slots: Box<[u32]>,
    place_mask: u32,
}

impl Index {
    fn new(lines: &[Arc<KnownLine>]) -> Index {
        let place_mask = (lines.len() as u32 + 1).next_power_of_two() - 1;
        let mut index = Index { slots: vec![VACANT; lines.len() * 4 / 3 + 1].into(), place_mask };
        for (place, line) in lines.iter().enumerate() {
            let hash = xxh3_64(&line.text);
            if index.find(hash, |known| lines[known].text == line.text).is_none() {
                index.add(hash, place as u32);
            }
        }
        index
    }

    #[inline]
    fn find(&self, hash: u64, is_meant: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = self.first_slot(hash);
        loop {
            let slot = self.slots[at];
            if slot == VACANT {
                return None;
            }
            let place = (slot & self.place_mask) as usize;
            if (slot ^ self.tag(hash)) & !self.place_mask == 0 && is_meant(place) {
                return Some(place);
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    fn add(&mut self, hash: u64, place: u32) {
        let mut at = self.first_slot(hash);
        while self.slots[at] != VACANT {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        self.slots[at] = self.tag(hash) | place;
    }

    fn first_slot(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.slots.len() as u64) >> 32) as usize
    }

    fn tag(&self, hash: u64) -> u32 {
        (hash >> 32) as u32 & !self.place_mask
    }
}
