//! Reads pages: compares each with its target's shape, and takes apart only what differs.

use std::collections::HashMap;
use std::sync::Arc;

use firetower_model::{MetricId, STALE, Sample, ShapeId, Timestamp, is_stale};

use super::reshape::{NewLine, Reshape};
use super::shape::{COMMENT, DROPPED, PageLines, PageShape};
use super::{PageShapes, Resolve, TargetPage, has_bit, set_bit};
use crate::exposition::{Entry, Fault, Format, PageError, SeriesLine, entry, sample_after, short_decimal};

/// Marks an entry of the page's order as a place among the new lines.
pub(super) const NEW: u32 = 1 << 31;
/// Marks an entry of the page's order as a line of the shape whose value is the one in the row.
pub(super) const WROTE: u32 = 1 << 30;

/// How many lines a shape may always have; beyond that, at most twice those of the page.
const LINES_LEAST: usize = 64;

/// How a page is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// The format that the target says it answers in.
    pub format: Format,
    /// Whether the time that a line carries is its sample's time.
    pub honor_timestamps: bool,
    /// How many samples may be left after relabelling; `None` for any number.
    pub sample_limit: Option<usize>,
}

impl ReadOptions {
    /// Returns what targets have in common whose pages share shapes: pages in different formats do not.
    pub(super) fn sharing_key(&self, resolve: &dyn Resolve) -> Option<u64> {
        resolve.sharing_key().map(|key| key ^ u64::from(self.format == Format::OpenMetrics) << 63)
    }
}

/// What was on a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// Samples on the page.
    pub scraped: usize,
    /// Those left after relabelling, repeated ones included.
    pub kept: usize,
    /// Series that the page before did not have.
    pub added: usize,
    /// Samples left out since their series had stood on the page before them.
    pub repeated: usize,
}

/// Why nothing of a page is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is malformed.
    #[error(transparent)]
    Page(#[from] PageError),
    /// More samples are left after relabelling than allowed.
    #[error("sample_limit of {limit} samples is exceeded")]
    SampleLimit {
        /// How many are allowed.
        limit: usize,
    },
}

/// What a worker needs to read pages; keeps its buffers from page to page, and nothing of any page.
#[derive(Debug, Default)]
pub struct PageReader {
    /// Lines of the page: places in the shape, or with [`NEW`] in `new`.
    pub(super) order: Vec<u32>,
    pub(super) new: Vec<NewLine>,
    pub(super) lines: PageLines,
    pub(super) metrics: Vec<MetricId>,
    pub(super) columns: HashMap<MetricId, u32>,
    pub(super) remap: Vec<u32>,
    pub(super) seen: Vec<u64>,
    pub(super) row: Vec<f64>,
    present: Vec<u64>,
}

impl PageReader {
    /// Reads a page of the target whose last page is `known`; appends a value for each column of its shape to `row`.
    ///
    /// A column that the page lacks stands at the staleness marker, as does one whose sample carries its own time and
    /// is therefore appended to `timed`, with its place in `row`. Returns the shape of the columns, and counts.
    ///
    /// # Errors
    /// If the page is malformed or too long; then `known`, `row` and `timed` are as before.
    #[expect(
        clippy::too_many_arguments,
        reason = "what is borrowed for one page; a struct of them would be made per call"
    )]
    pub fn read(
        &mut self,
        known: &mut TargetPage,
        shapes: &PageShapes,
        page: &[u8],
        options: ReadOptions,
        resolve: &mut dyn Resolve,
        row: &mut Vec<f64>,
        timed: &mut Vec<(u32, Sample)>,
    ) -> Result<(ShapeId, PageCounts), ReadError> {
        let (row_length, timed_length) = (row.len(), timed.len());
        let result = self.read_page(known, shapes, page, options, resolve, row, timed);
        if result.is_err() {
            row.truncate(row_length);
            timed.truncate(timed_length);
        }
        result
    }

    #[expect(clippy::too_many_arguments, reason = "as above")]
    fn read_page(
        &mut self,
        known: &mut TargetPage,
        shapes: &PageShapes,
        page: &[u8],
        options: ReadOptions,
        resolve: &mut dyn Resolve,
        row: &mut Vec<f64>,
        timed: &mut Vec<(u32, Sample)>,
    ) -> Result<(ShapeId, PageCounts), ReadError> {
        let (base, timed_base) = (row.len(), timed.len());
        let shape = known.shape.clone().or_else(|| shapes.latest(options.sharing_key(resolve)));
        let shape = shape.unwrap_or_else(|| Arc::new(PageShape::empty()));
        let mut pass = Pass { page, options, shape: &shape, counts: PageCounts::default(), base, row, timed };
        pass.run(self).map_err(|fault| fault.on(page))?;
        let mut counts = pass.counts;
        check_limit(counts.kept, options)?;
        self.mark_present(&row[base..], &timed[timed_base..], base);
        if self.needs_reshape(known, &shape) {
            let reshape = Reshape { page, options, shape: &shape, shapes, base, timed_base };
            return reshape.run(self, known, resolve, row, timed, counts);
        }
        counts.added = self.count_added(&known.present);
        self.swap_present(&mut known.present);
        let id = shape.id();
        known.shape = Some(shape);
        Ok((id, counts))
    }

    /// Sets a bit for each column that the page has.
    pub(super) fn mark_present(&mut self, values: &[f64], timed: &[(u32, Sample)], base: usize) {
        self.present.clear();
        self.present.extend(values.chunks(64).map(|chunk| {
            chunk.iter().enumerate().fold(0u64, |word, (bit, value)| word | u64::from(!is_stale(*value)) << bit)
        }));
        for (column, _) in timed {
            set_bit(&mut self.present, *column as usize - base);
        }
    }

    /// Returns how many columns the page has that are not in `before`.
    pub(super) fn count_added(&self, before: &[u64]) -> usize {
        let before = before.iter().copied().chain(std::iter::repeat(0));
        self.present.iter().zip(before).map(|(now, before)| (now & !before).count_ones() as usize).sum()
    }

    /// Hands over the bits of the columns that the page has, and takes others' memory for the next page.
    pub(super) fn swap_present(&mut self, other: &mut Vec<u64>) {
        std::mem::swap(&mut self.present, other);
    }

    /// Tells whether the page has series that the shape lacks, or the shape far too many that the page lacks.
    ///
    /// A column that was on the page before stays once more, for its staleness marker.
    fn needs_reshape(&self, known: &TargetPage, shape: &PageShape) -> bool {
        if self.new.iter().any(|line| !line.is_comment) || known.shape.is_none() && shape.lines().len() == 0 {
            return true;
        }
        let columns = shape.metrics().len();
        if columns <= LINES_LEAST.max(2 * self.order.len()) {
            return false;
        }
        (0..columns).any(|column| !has_bit(&self.present, column) && !has_bit(&known.present, column))
    }

    /// Tells whether a page's lines leave no room for `vanished` others in their shape.
    pub(super) fn is_crowded(&self, vanished: usize) -> bool {
        self.order.len() + vanished > LINES_LEAST.max(2 * self.order.len())
    }
}

/// Fails if more samples are left than allowed.
pub(super) fn check_limit(kept: usize, options: ReadOptions) -> Result<(), ReadError> {
    match options.sample_limit {
        Some(limit) if kept > limit => Err(ReadError::SampleLimit { limit }),
        _ => Ok(()),
    }
}

/// One pass over a page.
struct Pass<'a> {
    page: &'a [u8],
    options: ReadOptions,
    shape: &'a PageShape,
    counts: PageCounts,
    base: usize,
    row: &'a mut Vec<f64>,
    timed: &'a mut Vec<(u32, Sample)>,
}

impl Pass<'_> {
    /// Fills the row with what the shape knows, and notes the page's order and its new lines.
    fn run(&mut self, reader: &mut PageReader) -> Result<(), Fault> {
        reader.order.clear();
        reader.new.clear();
        if u32::try_from(self.page.len()).is_err() {
            return Err(Fault::new(0, "the page is larger than 4 GiB"));
        }
        self.row.resize(self.base + self.shape.metrics().len(), STALE);
        let (mut at, mut next) = (0, 0);
        loop {
            if let Some((end, wrote)) = self.expected_line(at, next) {
                reader.order.push(next as u32 | wrote);
                (at, next) = (end, next + 1);
                continue;
            }
            match entry(self.page, at, self.options.format)? {
                Entry::End => return Ok(()),
                Entry::Comment { end } | Entry::Type { end, .. } => {
                    self.comment(reader, at, end, &mut next);
                    at = end;
                }
                Entry::Series(line) => {
                    self.series(reader, at, line, &mut next);
                    at = line.end;
                }
            }
        }
    }

    /// Takes the line at `at` if it is the one that the shape has at `next`; returns where it ends, and what `store` did.
    #[inline]
    fn expected_line(&mut self, at: usize, next: usize) -> Option<(usize, u32)> {
        let (text, column) = self.shape.lines().get(next)?;
        let rest = &self.page[at..];
        if !rest.starts_with(text) {
            return None;
        }
        let value_at = at + text.len();
        if column == COMMENT {
            return Some((value_at, 0));
        }
        if let Some((value, length)) = short_decimal(&rest[text.len()..])
            && self.page.get(value_at + length) == Some(&b'\n')
        {
            return Some((value_at + length + 1, self.store(column, value, None)));
        }
        // What only looks like the line expected is no fault: it is taken apart as a whole instead.
        let line = sample_after(self.page, value_at, self.options.format).ok()?;
        Some((line.end, self.store(column, line.value, line.timestamp)))
    }

    /// Keeps a sample of a known line; returns [`WROTE`] if that is the value now in the row, else 0.
    #[inline]
    fn store(&mut self, column: u32, value: f64, timestamp: Option<i64>) -> u32 {
        self.counts.scraped += 1;
        if column == DROPPED {
            return 0;
        }
        self.counts.kept += 1;
        let place = self.base + column as usize;
        if let Some(millis) = timestamp.filter(|_| self.options.honor_timestamps) {
            self.timed.push((place as u32, Sample { at: Timestamp::from_millis(millis), value }));
        } else if is_stale(self.row[place]) {
            self.row[place] = value;
            return WROTE;
        } else {
            self.counts.repeated += 1;
        }
        0
    }

    /// Takes a comment that was not expected here.
    fn comment(&mut self, reader: &mut PageReader, at: usize, end: usize, next: &mut usize) {
        let text = &self.page[at..end];
        if let Some(found) = self.shape.find(text) {
            reader.order.push(found as u32);
            *next = found + 1;
        } else if text.ends_with(b"\n") {
            reader.order.push(NEW | reader.new.len() as u32);
            reader.new.push(NewLine::comment(at, end));
        }
    }

    /// Takes a series' line that was not expected here.
    fn series(&mut self, reader: &mut PageReader, at: usize, line: SeriesLine, next: &mut usize) {
        match self.shape.find(&self.page[at..line.text_end]) {
            Some(found) => {
                let column = self.shape.lines().get(found).map_or(DROPPED, |(_, column)| column);
                let wrote = self.store(column, line.value, line.timestamp);
                reader.order.push(found as u32 | wrote);
                *next = found + 1;
            }
            None => {
                self.counts.scraped += 1;
                reader.order.push(NEW | reader.new.len() as u32);
                reader.new.push(NewLine::series(at, line));
            }
        }
    }
}
