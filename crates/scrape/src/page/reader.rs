//! Reads pages: compares each with its target's shape, and takes apart only what differs.

use std::collections::HashMap;
use std::sync::Arc;

use firetower_model::{Kind, Labels, MetricId, STALE, Sample, ShapeId, Timestamp, is_stale};

use super::kin::Kin;
use super::label_limit::LabelLimit;
use super::line::KnownLine;
use super::pass::Pass;
use super::reshape::{NewLine, Reshape};
use super::shape::PageShape;
use super::{PageShapes, Resolve, TargetPage, has_bit, set_bit};
use crate::exposition::{Format, PageError};

/// How many lines a shape may always have; beyond that, at most twice those of the page.
const LINES_LEAST: usize = 64;

/// How a page is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// The format that the target says it answers in.
    pub format: Format,
    /// Whether the time that a line carries is its sample's time.
    pub honor_timestamps: bool,
    /// The time of the markers that end series whose samples carried their own time; `None` if they are not ended.
    pub timed_end_at: Option<Timestamp>,
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
    /// A series has too many labels, or one too long.
    #[error(transparent)]
    LabelLimit(#[from] LabelLimit),
    /// The page's shape could be given no id.
    #[error("the page's shape could not be stored")]
    Unstored,
}

/// What a worker needs to read pages; keeps its buffers from page to page, and nothing of any page.
#[derive(Debug, Default)]
pub struct PageReader {
    /// Lines of the page: places in the shape, or with [`super::pass::NEW`] in `new`.
    pub(super) order: Vec<u32>,
    pub(super) new: Vec<NewLine>,
    /// What each of `new` turned out to be.
    pub(super) found: Vec<Option<Arc<KnownLine>>>,
    /// Those of `new` that no shape knew: place, kind of the family, labels unless dropped.
    pub(super) relabelled: Vec<(u32, Kind, Option<Labels>)>,
    pub(super) lines: Vec<Arc<KnownLine>>,
    pub(super) line_columns: Vec<u32>,
    pub(super) metrics: Vec<MetricId>,
    pub(super) columns: HashMap<MetricId, u32>,
    pub(super) seen: Vec<u64>,
    pub(super) values: Vec<f64>,
    present: Vec<u64>,
}

/// A page and how to read it.
#[derive(Clone, Copy)]
pub(super) struct Page<'a> {
    pub(super) text: &'a [u8],
    pub(super) options: ReadOptions,
}

/// Where a page's samples go.
pub(super) struct Row<'a> {
    pub(super) values: &'a mut Vec<f64>,
    pub(super) timed: &'a mut Vec<(u32, Sample)>,
    /// How long both were before the page.
    pub(super) base: usize,
    pub(super) timed_base: usize,
}

impl Row<'_> {
    pub(super) fn clear(&mut self) {
        self.values.truncate(self.base);
        self.timed.truncate(self.timed_base);
    }
}

impl PageReader {
    /// Reads a page of the target whose last page is `known`; appends a value for each column of its shape to `row`.
    ///
    /// A column that the page lacks stands at the staleness marker, as does one whose sample carries its own time and
    /// is therefore appended to `timed`, with its place in `row`. Returns the shape of the columns, and counts.
    ///
    /// # Errors
    /// If the page is malformed, too long or over a limit; then `known`, `row` and `timed` are as before, and no id
    /// was given for it.
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
        let (base, timed_base) = (row.len(), timed.len());
        let mut row = Row { values: row, timed, base, timed_base };
        let kin = Arc::clone(known.kin.get_or_insert_with(|| shapes.kin(options.sharing_key(resolve))));
        let result = self.read_page(known, &kin, Page { text: page, options }, resolve, &mut row);
        if result.is_err() {
            row.clear();
        }
        self.found.clear();
        self.relabelled.clear();
        self.lines.clear();
        result
    }

    fn read_page(
        &mut self,
        known: &mut TargetPage,
        kin: &Kin,
        page: Page<'_>,
        resolve: &mut dyn Resolve,
        row: &mut Row<'_>,
    ) -> Result<(ShapeId, PageCounts), ReadError> {
        let shape = known.shape.clone().or_else(|| kin.guess()).unwrap_or_else(|| Arc::new(PageShape::empty()));
        let mut counts = self.compare(page, &shape, row)?;
        check_limit(counts.kept, page.options)?;
        let mut shape = shape;
        if self.needs_reshape(known, &shape, row) {
            if let Some((other, other_counts)) = self.adopt(known, kin, page, &shape, row)? {
                (shape, counts) = (other, other_counts);
            } else {
                let reshape = Reshape { page, shape: &shape, kin };
                shape = reshape.run(self, known, resolve, row, &mut counts)?;
            }
        }
        self.mark_present(row);
        self.end_timed(known, page.options, row);
        counts.added = self.count_added(&known.present);
        std::mem::swap(&mut self.present, &mut known.present);
        let id = shape.id();
        known.shape = Some(shape);
        Ok((id, counts))
    }

    /// Fills the row with what the shape knows of the page, and notes the page's order and its new lines.
    pub(super) fn compare(
        &mut self,
        page: Page<'_>,
        shape: &PageShape,
        row: &mut Row<'_>,
    ) -> Result<PageCounts, ReadError> {
        row.clear();
        let mut pass = Pass::new(page, shape, row);
        pass.run(self).map_err(|fault| fault.on(page.text))?;
        Ok(pass.counts)
    }

    /// Sets a bit for each column that the page has.
    fn mark_present(&mut self, row: &Row<'_>) {
        self.present.clear();
        self.present.extend(row.values[row.base..].chunks(64).map(|chunk| {
            chunk.iter().enumerate().fold(0u64, |word, (bit, value)| word | u64::from(!is_stale(*value)) << bit)
        }));
        for (column, _) in &row.timed[row.timed_base..] {
            set_bit(&mut self.present, *column as usize - row.base);
        }
    }

    /// Returns how many columns the page has that are not in `before`.
    fn count_added(&self, before: &[u64]) -> usize {
        let before = before.iter().copied().chain(std::iter::repeat(0));
        self.present.iter().zip(before).map(|(now, before)| (now & !before).count_ones() as usize).sum()
    }

    /// Appends a marker for each series that carried its own time and is gone, and notes those that do now.
    fn end_timed(&self, known: &mut TargetPage, options: ReadOptions, row: &mut Row<'_>) {
        let Some(at) = options.timed_end_at else { return };
        let now_end = row.timed.len();
        for column in known.timed.drain(..).filter(|column| !has_bit(&self.present, *column as usize)) {
            row.timed.push((row.base as u32 + column, Sample { at, value: STALE }));
        }
        let now = &row.timed[row.timed_base..now_end];
        let alone = now.iter().filter(|(place, _)| is_stale(row.values[*place as usize]));
        known.timed.extend(alone.map(|(place, _)| place - row.base as u32));
        known.timed.sort_unstable();
        known.timed.dedup();
    }

    /// Tells whether the page has series that the shape lacks, or the shape far too many that the page lacks.
    ///
    /// A column that was on the page before stays once more, for its staleness marker.
    fn needs_reshape(&mut self, known: &TargetPage, shape: &PageShape, row: &Row<'_>) -> bool {
        if self.new.iter().any(|line| !line.is_comment) || known.shape.is_none() && shape.len() == 0 {
            return true;
        }
        let columns = shape.metrics().len();
        if columns <= self.lines_max() {
            return false;
        }
        self.mark_present(row);
        (0..columns).any(|column| !has_bit(&self.present, column) && !has_bit(&known.present, column))
    }

    /// Returns how many lines a shape may have for the page just read.
    pub(super) fn lines_max(&self) -> usize {
        LINES_LEAST.max(2 * self.order.len())
    }

    /// Notes the columns of a shape's metrics.
    pub(super) fn note_columns(&mut self, shape: &PageShape) {
        self.columns.clear();
        self.columns.extend(shape.metrics().iter().enumerate().map(|(column, metric)| (*metric, column as u32)));
    }

    /// Tells whether each column that the target's last page had is among those noted.
    pub(super) fn has_columns_of(&self, known: &TargetPage, shape: &PageShape) -> bool {
        let mut metrics = shape.metrics().iter().enumerate();
        metrics.all(|(column, metric)| !has_bit(&known.present, column) || self.columns.contains_key(metric))
    }

    /// Says in the columns noted, `count` of them, what `known` says in those of `shape`.
    pub(super) fn carry_over(&self, known: &mut TargetPage, shape: &PageShape, count: usize) {
        let moved = |column: usize| shape.metrics().get(column).and_then(|metric| self.columns.get(metric)).copied();
        let mut present = vec![0u64; count.div_ceil(64)];
        let before = (0..shape.metrics().len()).filter(|column| has_bit(&known.present, *column));
        before.filter_map(moved).for_each(|column| set_bit(&mut present, column as usize));
        known.present = present;
        known.timed = known.timed.iter().filter_map(|column| moved(*column as usize)).collect();
    }

    /// Returns how many bytes its buffers hold.
    pub(crate) fn bytes(&self) -> usize {
        self.order.capacity() * 4
            + self.new.capacity() * size_of::<NewLine>()
            + self.found.capacity() * size_of::<usize>()
            + self.relabelled.capacity() * size_of::<(u32, Kind, Option<Labels>)>()
            + self.lines.capacity() * size_of::<usize>()
            + (self.line_columns.capacity() + self.metrics.capacity()) * 4
            + self.columns.capacity() * 2 * size_of::<(MetricId, u32)>()
            + (self.seen.capacity() + self.values.capacity() + self.present.capacity()) * 8
    }
}

/// Fails if more samples are left than allowed.
pub(super) fn check_limit(kept: usize, options: ReadOptions) -> Result<(), ReadError> {
    match options.sample_limit {
        Some(limit) if kept > limit => Err(ReadError::SampleLimit { limit }),
        _ => Ok(()),
    }
}
