//! The lines of a page in their order.

use std::sync::OnceLock;

use firetower_model::{MetricId, ShapeId};
use xxhash_rust::xxh3::xxh3_64;

/// What a line of a shape stands for, in place of a column: a comment, which ends with its line feed.
pub(super) const COMMENT: u32 = u32::MAX;
/// What a line of a shape stands for, in place of a column: a series that relabelling drops.
pub(super) const DROPPED: u32 = u32::MAX - 1;

/// An empty place of the index.
const VACANT: u32 = u32::MAX;

/// The lines of a page up to their values, and the column of each.
#[derive(Debug)]
pub struct PageShape {
    id: ShapeId,
    metrics: Box<[MetricId]>,
    lines: PageLines,
    /// Finds a line by its text: a table with open addressing, made when it is first needed.
    index: OnceLock<Box<[u32]>>,
}

/// Texts end to end, and where each ends.
#[derive(Debug, Default, PartialEq, Clone)]
pub(super) struct PageLines {
    texts: Vec<u8>,
    ends: Vec<LineEnd>,
}

#[derive(Debug, PartialEq, Clone, Copy)]
struct LineEnd {
    end: u32,
    column: u32,
}

impl PageLines {
    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.ends.clear();
    }

    pub(super) fn push(&mut self, text: &[u8], column: u32) {
        self.texts.extend_from_slice(text);
        let end = u32::try_from(self.texts.len()).expect("a shape's texts come from at most two pages");
        self.ends.push(LineEnd { end, column });
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the text and the column of the line at `at`.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<(&[u8], u32)> {
        let line = self.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.ends[at - 1].end };
        Some((&self.texts[start as usize..line.end as usize], line.column))
    }

    /// Returns a hash of texts and columns.
    pub(super) fn content_hash(&self) -> u64 {
        let ends = self.ends.iter().fold(0u64, |hash, line| {
            (hash ^ u64::from(line.end) ^ u64::from(line.column) << 32)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
        });
        xxh3_64(&self.texts) ^ ends
    }
}

impl PageShape {
    pub(super) fn new(id: ShapeId, metrics: &[MetricId], lines: &PageLines) -> PageShape {
        PageShape { id, metrics: metrics.into(), lines: lines.clone(), index: OnceLock::new() }
    }

    /// Returns the shape without lines that a first page is compared with; it has no id of a store.
    pub(super) fn empty() -> PageShape {
        PageShape::new(ShapeId::default(), &[], &PageLines::default())
    }

    /// Returns the id that [`super::Resolve::shape`] gave.
    pub fn id(&self) -> ShapeId {
        self.id
    }

    /// Returns the metrics of its columns, without the leading ones.
    pub fn metrics(&self) -> &[MetricId] {
        &self.metrics
    }

    /// Returns how many bytes it holds in memory.
    pub fn bytes(&self) -> usize {
        let index = self.index.get().map_or(0, |index| index.len() * 4);
        size_of::<PageShape>() + self.lines.texts.len() + self.lines.ends.len() * 8 + self.metrics.len() * 4 + index
    }

    pub(super) fn lines(&self) -> &PageLines {
        &self.lines
    }

    /// Returns the place of the first line with exactly this text.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        let index = self.index.get_or_init(|| self.make_index());
        let mut place = xxh3_64(text) as usize & (index.len() - 1);
        while index[place] != VACANT {
            let at = index[place] as usize;
            if self.lines.get(at).is_some_and(|(known, _)| known == text) {
                return Some(at);
            }
            place = (place + 1) & (index.len() - 1);
        }
        None
    }

    fn make_index(&self) -> Box<[u32]> {
        let mut index = vec![VACANT; (self.lines.len() * 2 + 1).next_power_of_two()];
        for at in 0..self.lines.len() {
            let Some((text, _)) = self.lines.get(at) else { break };
            let mut place = xxh3_64(text) as usize & (index.len() - 1);
            while index[place] != VACANT
                && self.lines.get(index[place] as usize).is_some_and(|(known, _)| known != text)
            {
                place = (place + 1) & (index.len() - 1);
            }
            if index[place] == VACANT {
                index[place] = at as u32;
            }
        }
        index.into()
    }
}
