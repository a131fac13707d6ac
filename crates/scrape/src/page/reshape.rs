//! Gives a target a new shape, when its page has lines that the old one lacks.

use firetower_model::{MetricId, STALE, Sample, ShapeId, Timestamp, is_stale};

use super::reader::{NEW, PageCounts, PageReader, ReadError, ReadOptions, WROTE, check_limit};
use super::shape::{COMMENT, DROPPED, PageShape};
use super::{PageShapes, Resolve, TargetPage, has_bit, set_bit};
use crate::exposition::{Families, Line, SeriesLine, read_labels};

/// A line of the page that its shape lacks.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewLine {
    start: u32,
    /// Where its value begins, or its comment ends.
    text_end: u32,
    value: f64,
    timestamp: Option<i64>,
    has_exemplar: bool,
    pub(super) is_comment: bool,
}

impl NewLine {
    pub(super) fn comment(at: usize, end: usize) -> NewLine {
        NewLine {
            start: at as u32,
            text_end: end as u32,
            value: 0.0,
            timestamp: None,
            has_exemplar: false,
            is_comment: true,
        }
    }

    pub(super) fn series(at: usize, line: SeriesLine) -> NewLine {
        let SeriesLine { text_end, value, timestamp, has_exemplar, .. } = line;
        NewLine { start: at as u32, text_end: text_end as u32, value, timestamp, has_exemplar, is_comment: false }
    }
}

/// A column not given yet.
const NONE: u32 = u32::MAX;

/// A page with what was read of it by the old shape.
pub(super) struct Reshape<'a> {
    pub(super) page: &'a [u8],
    pub(super) options: ReadOptions,
    pub(super) shape: &'a PageShape,
    pub(super) shapes: &'a PageShapes,
    pub(super) base: usize,
    pub(super) timed_base: usize,
}

impl Reshape<'_> {
    /// Makes the shape that the page asks for, and moves row, times and memory of the target over to it.
    ///
    /// The new shape has the page's lines in their order, then those of the old one that vanished.
    pub(super) fn run(
        &self,
        reader: &mut PageReader,
        known: &mut TargetPage,
        resolve: &mut dyn Resolve,
        row: &mut Vec<f64>,
        timed: &mut Vec<(u32, Sample)>,
        mut counts: PageCounts,
    ) -> Result<(ShapeId, PageCounts), ReadError> {
        self.start(reader);
        let known_timed = timed.len();
        self.take_page(reader, resolve, row, timed, &mut counts)?;
        self.keep_vanished(reader, known);
        let key = self.options.sharing_key(resolve);
        let PageReader { metrics, lines, .. } = &*reader;
        let made = self.shapes.get_or_make(key, metrics, lines, || resolve.shape(metrics));

        for (column, _) in &mut timed[self.timed_base..known_timed] {
            *column = self.base as u32 + reader.remap[*column as usize - self.base];
        }
        row.truncate(self.base);
        reader.row.resize(reader.metrics.len(), STALE);
        row.extend_from_slice(&reader.row);
        let mut before = vec![0u64; reader.metrics.len().div_ceil(64)];
        for (old, new) in reader.remap.iter().enumerate() {
            if *new != NONE && has_bit(&known.present, old) {
                set_bit(&mut before, *new as usize);
            }
        }
        reader.mark_present(&row[self.base..], &timed[self.timed_base..], self.base);
        counts.added = reader.count_added(&before);
        reader.swap_present(&mut known.present);
        let id = made.id();
        known.shape = Some(made);
        Ok((id, counts))
    }

    fn start(&self, reader: &mut PageReader) {
        reader.lines.clear();
        reader.metrics.clear();
        reader.columns.clear();
        reader.row.clear();
        reader.remap.clear();
        reader.remap.resize(self.shape.metrics().len(), NONE);
        reader.seen.clear();
        reader.seen.resize(self.shape.lines().len().div_ceil(64), 0);
    }

    /// Gives the page's lines their columns in order, and each column the value that comes first.
    fn take_page(
        &self,
        reader: &mut PageReader,
        resolve: &mut dyn Resolve,
        row: &[f64],
        timed: &mut Vec<(u32, Sample)>,
        counts: &mut PageCounts,
    ) -> Result<(), ReadError> {
        let families = Families::of(self.page, self.options.format);
        let mut pairs = Vec::new();
        for at in 0..reader.order.len() {
            let place = reader.order[at];
            if place & NEW == 0 {
                self.take_known(reader, place, row, counts);
                continue;
            }
            let line = reader.new[(place & !NEW) as usize];
            let (start, text_end) = (line.start as usize, line.text_end as usize);
            let text = &self.page[start..text_end];
            if line.is_comment {
                reader.lines.push(text, COMMENT);
                continue;
            }
            let kind = read_labels(self.page, start, line.has_exemplar, self.options.format, &families, &mut pairs)
                .map_err(|fault| fault.on(self.page))?;
            let metric = resolve.resolve(&Line { labels: &pairs, kind });
            let column = metric.map_or(DROPPED, |metric| reader.column_of(metric));
            // A text that is not set off from its value could be the beginning of another line's.
            if matches!(text.last(), Some(b' ' | b'\t' | b'}')) {
                reader.lines.push(text, column);
            }
            if column == DROPPED {
                continue;
            }
            counts.kept += 1;
            check_limit(counts.kept, self.options)?;
            if let Some(millis) = line.timestamp.filter(|_| self.options.honor_timestamps) {
                let sample = Sample { at: Timestamp::from_millis(millis), value: line.value };
                timed.push((self.base as u32 + column, sample));
            } else {
                reader.put_first(column, line.value, counts);
            }
        }
        Ok(())
    }

    /// Takes a line of the page that the old shape has.
    fn take_known(&self, reader: &mut PageReader, entry: u32, row: &[f64], counts: &mut PageCounts) {
        let place = (entry & !WROTE) as usize;
        let Some((text, old)) = self.shape.lines().get(place) else { return };
        set_bit(&mut reader.seen, place);
        if old == COMMENT || old == DROPPED {
            reader.lines.push(text, old);
            return;
        }
        let column = self.new_column(reader, old as usize);
        reader.lines.push(text, column);
        if entry & WROTE != 0 {
            reader.put_first(column, row[self.base + old as usize], counts);
        }
    }

    /// Keeps the old lines that the page lacks, while there is room; else only those with a marker to come.
    fn keep_vanished(&self, reader: &mut PageReader, known: &TargetPage) {
        let old_lines = self.shape.lines();
        let is_vanished = |reader: &PageReader, place| !has_bit(&reader.seen, place);
        let vanished = (0..old_lines.len()).filter(|place| is_vanished(reader, *place)).count();
        // A target without a page of its own yet has only guessed at this shape.
        let is_crowded = known.shape.is_none() || reader.is_crowded(vanished);
        for old in 0..self.shape.metrics().len() {
            if !is_crowded || has_bit(&known.present, old) {
                self.new_column(reader, old);
            }
        }
        for place in (0..old_lines.len()).filter(|_| !is_crowded || known.shape.is_some()) {
            if let Some((text, old)) = old_lines.get(place)
                && is_vanished(reader, place)
                && old != COMMENT
                && old != DROPPED
                && (!is_crowded || has_bit(&known.present, old as usize) && self.value_is_gone(reader, old as usize))
            {
                let column = reader.remap[old as usize];
                reader.lines.push(text, column);
            }
        }
    }

    /// Tells whether no line of the page has the old column.
    fn value_is_gone(&self, reader: &PageReader, old: usize) -> bool {
        let column = reader.remap[old] as usize;
        reader.row.get(column).is_none_or(|value| is_stale(*value))
    }

    /// Returns the column in the new shape of a column of the old one.
    fn new_column(&self, reader: &mut PageReader, old: usize) -> u32 {
        if reader.remap[old] == NONE {
            reader.remap[old] = reader.column_of(self.shape.metrics()[old]);
        }
        reader.remap[old]
    }
}

impl PageReader {
    /// Returns the column of a metric in the new shape, giving it one if it has none.
    fn column_of(&mut self, metric: MetricId) -> u32 {
        let next = self.metrics.len() as u32;
        let column = *self.columns.entry(metric).or_insert(next);
        if column == next {
            self.metrics.push(metric);
        }
        column
    }

    /// Puts a value into its column, unless one came before it.
    fn put_first(&mut self, column: u32, value: f64, counts: &mut PageCounts) {
        let column = column as usize;
        if self.row.len() <= column {
            self.row.resize(column + 1, STALE);
        }
        if is_stale(self.row[column]) {
            self.row[column] = value;
        } else {
            counts.repeated += 1;
        }
    }
}
