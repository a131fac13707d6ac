//! Gives a target a new shape, when its page has lines that the old one lacks.

use std::sync::Arc;

use firetower_model::{Kind, Labels, MetricId, STALE, Sample, Timestamp, is_stale};

use super::kin::{Kin, Parts};
use super::label_limit::LabelLimit;
use super::line::{KnownLine, Meaning};
use super::pass::{NEW, WROTE};
use super::reader::{Page, PageCounts, PageReader, ReadError, Row, check_limit};
use super::shape::{COMMENT, DROPPED, PageShape};
use super::{Resolve, TargetPage, has_bit, set_bit};
use crate::exposition::{Families, Fault, Format, Line, SeriesLine, count_labels, read_labels};

/// A shape whose target's lines are new by more than this share is another kind of page.
const UNLIKE_SHARE: usize = 8;
/// How many hold a line that many targets have: its pool and so many shapes.
const HOLDERS_OF_COMMON: usize = 4;
/// Lines that a first page lacks, but that other targets have, are this share of it at most; else they are not alike.
const COMMON_SHARE: usize = 16;

/// How many labels a line may have before relabelling, whatever `label_limit` says.
const LABELS_MAX: usize = 4_096;
/// How long the name and labels of a line may be, whatever `label_value_length_limit` says.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How many bytes a label takes on a line at least.
const LABEL_BYTES_LEAST: usize = 4;

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

    /// Returns the line up to its value.
    pub(super) fn text(self, page: &[u8]) -> &[u8] {
        &page[self.start as usize..self.text_end as usize]
    }

    /// Tells whether no other line can begin with its text: what is not set off from its value could.
    fn is_set_off(self, page: &[u8]) -> bool {
        matches!(self.text(page).last(), Some(b' ' | b'\t' | b'}' | b'\n'))
    }
}

/// A page that was compared with the shape of the last one.
pub(super) struct Reshape<'a> {
    pub(super) page: Page<'a>,
    pub(super) shape: &'a PageShape,
    pub(super) kin: &'a Kin,
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
        row: &mut Row<'_>,
        counts: &mut PageCounts,
    ) -> Result<Arc<PageShape>, ReadError> {
        self.relabel(reader, resolve, counts.kept)?;
        self.give_ids(reader, resolve);
        self.start(reader);
        self.take_page(reader, row, counts);
        self.keep_vanished(reader, known);
        let news = reader.new.iter().filter(|line| !line.is_comment).count();
        let PageReader { metrics, lines, line_columns, order, .. } = &*reader;
        let is_unlike = news * UNLIKE_SHARE > order.len();
        let parts = Parts { metrics, lines, columns: line_columns, is_unlike };
        let made = self.kin.get_or_make(&parts, || resolve.shape(metrics)).ok_or(ReadError::Unstored)?;

        row.values.truncate(row.base);
        reader.values.resize(reader.metrics.len(), STALE);
        row.values.extend_from_slice(&reader.values);
        reader.carry_over(known, self.shape, reader.metrics.len());
        Ok(made)
    }

    /// Finds the page's new lines among those of other targets, and relabels the others.
    fn relabel(&self, reader: &mut PageReader, resolve: &mut dyn Resolve, kept: usize) -> Result<(), ReadError> {
        let Page { text: page, options } = self.page;
        let families = Families::of(page, options.format);
        reader.found.clear();
        reader.relabelled.clear();
        let pool = self.kin.lines();
        reader.found.extend(reader.new.iter().map(|line| {
            let text = line.text(page);
            if line.is_comment {
                return Some(pool.comment(text).unwrap_or_else(|| known_line(text, Meaning::Comment).into()));
            }
            let name = name_of(text).filter(|_| !line.has_exemplar)?;
            pool.series(text, families.kind_of(name))
        }));
        drop(pool);
        if options.sample_limit.is_some_and(|limit| kept + reader.new.len() > limit) {
            // Counted before anything is kept of them: a page far over its limit must not take its size in memory.
            self.relabel_new(reader, &families, resolve, kept, |_, _, _| {})?;
        }
        let mut relabelled = std::mem::take(&mut reader.relabelled);
        let take = |at, kind, labels| relabelled.push((at, kind, labels));
        let result = self.relabel_new(reader, &families, resolve, kept, take);
        reader.relabelled = relabelled;
        result
    }

    /// Hands on what relabelling makes of each new line that is not found; fails if more than the limit are left of all.
    fn relabel_new(
        &self,
        reader: &PageReader,
        families: &Families<'_>,
        resolve: &mut dyn Resolve,
        mut kept: usize,
        mut take: impl FnMut(u32, Kind, Option<Labels>),
    ) -> Result<(), ReadError> {
        let Page { text: page, options } = self.page;
        let mut pairs = Vec::new();
        for (at, line) in reader.new.iter().enumerate() {
            let is_kept = match &reader.found[at] {
                Some(found) => matches!(found.meaning, Meaning::Series(..)),
                None => {
                    let start = line.start as usize;
                    check_line(page, *line, options.format)?;
                    let kind = read_labels(page, start, line.has_exemplar, options.format, families, &mut pairs)
                        .map_err(|fault| fault.on(page))?;
                    let labels = resolve.relabel(&Line { labels: &pairs, kind })?;
                    let is_kept = labels.is_some();
                    take(at as u32, kind, labels);
                    is_kept
                }
            };
            kept += usize::from(is_kept);
            check_limit(kept, options)?;
        }
        Ok(())
    }

    /// Gives the relabelled lines their metrics, and adds what is new to the lines of all targets.
    fn give_ids(&self, reader: &mut PageReader, resolve: &mut dyn Resolve) {
        let PageReader { relabelled, found, new, .. } = reader;
        let page = self.page.text;
        for (at, kind, labels) in relabelled.drain(..) {
            let metric = labels.and_then(|labels| resolve.metric(&labels, kind));
            let meaning = metric.map_or(Meaning::Dropped(kind), |metric| Meaning::Series(metric, kind));
            found[at as usize] = Some(known_line(new[at as usize].text(page), meaning).into());
        }
        let mut pool = self.kin.lines();
        for (line, found) in new.iter().zip(found).filter(|(line, _)| line.is_set_off(page)) {
            // What only this page holds was not found in the pool.
            if let Some(lone) = found.take_if(|found| Arc::strong_count(found) == 1).and_then(Arc::into_inner) {
                *found = Some(pool.intern(lone));
            }
            debug_assert!(found.is_some(), "{line:?} is known by now");
        }
    }

    fn start(&self, reader: &mut PageReader) {
        reader.lines.clear();
        reader.line_columns.clear();
        reader.metrics.clear();
        reader.columns.clear();
        reader.values.clear();
        reader.seen.clear();
        reader.seen.resize(self.shape.len().div_ceil(64), 0);
    }

    /// Gives the page's lines their columns in order, and each column the value that comes first.
    fn take_page(&self, reader: &mut PageReader, row: &mut Row<'_>, counts: &mut PageCounts) {
        let known_timed = row.timed.len();
        for at in 0..reader.order.len() {
            let entry = reader.order[at];
            if entry & NEW == 0 {
                self.take_known(reader, entry, row, counts);
                continue;
            }
            let line = reader.new[(entry & !NEW) as usize];
            let Some(found) = reader.found[(entry & !NEW) as usize].clone() else { continue };
            let column = reader.column_of_line(&found);
            if line.is_set_off(self.page.text) {
                reader.lines.push(found);
                reader.line_columns.push(column);
            }
            if column == COMMENT || column == DROPPED {
                continue;
            }
            counts.kept += 1;
            if let Some(millis) = line.timestamp.filter(|_| self.page.options.honor_timestamps) {
                let sample = Sample { at: Timestamp::from_millis(millis), value: line.value };
                row.timed.push((row.base as u32 + column, sample));
            } else {
                reader.put_first(column, line.value, counts);
            }
        }
        for (place, _) in &mut row.timed[row.timed_base..known_timed] {
            let metric = self.shape.metrics()[*place as usize - row.base];
            *place = row.base as u32 + reader.column_of(metric);
        }
    }

    /// Takes a line of the page that the old shape has.
    fn take_known(&self, reader: &mut PageReader, entry: u32, row: &Row<'_>, counts: &mut PageCounts) {
        let place = (entry & !WROTE) as usize;
        let Some((line, old)) = self.shape.get(place) else { return };
        set_bit(&mut reader.seen, place);
        let column = reader.push_line(line);
        if entry & WROTE != 0 {
            reader.put_first(column, row.values[row.base + old as usize], counts);
        }
    }

    /// Keeps the old lines that the page lacks, while there is room; else only those with a marker to come.
    ///
    /// A target without a page of its own yet has only guessed at the shape: it keeps what many others have too.
    fn keep_vanished(&self, reader: &mut PageReader, known: &TargetPage) {
        let shape = self.shape;
        let is_series = |column: u32| column != COMMENT && column != DROPPED;
        let vanished: Vec<usize> = (0..shape.len()).filter(|place| !has_bit(&reader.seen, *place)).collect();
        let lines_max = reader.lines_max();
        if known.shape.is_none() {
            let is_common = |place: &&usize| {
                let line = shape.get(**place).filter(|(_, column)| is_series(*column));
                line.is_some_and(|(line, _)| Arc::strong_count(line) >= HOLDERS_OF_COMMON)
            };
            let common: Vec<usize> = vanished.iter().filter(is_common).copied().collect();
            if common.len() * COMMON_SHARE <= reader.order.len() {
                for (line, _) in common.iter().filter_map(|place| shape.get(*place)) {
                    reader.push_line(line);
                }
            }
            return;
        }
        let is_crowded = reader.order.len() + vanished.len() > lines_max;
        for (old, metric) in shape.metrics().iter().enumerate() {
            if !is_crowded || has_bit(&known.present, old) {
                reader.column_of(*metric);
            }
        }
        for (line, old) in vanished.iter().filter_map(|place| shape.get(*place)) {
            let owes_marker = |reader: &PageReader| has_bit(&known.present, old as usize) && reader.lacks_value(line);
            if is_series(old) && (!is_crowded || owes_marker(reader)) {
                reader.push_line(line);
            }
        }
    }
}

impl PageReader {
    /// Adds a line to the new shape; returns its column.
    fn push_line(&mut self, line: &Arc<KnownLine>) -> u32 {
        let column = self.column_of_line(line);
        self.lines.push(Arc::clone(line));
        self.line_columns.push(column);
        column
    }

    fn column_of_line(&mut self, line: &KnownLine) -> u32 {
        match line.meaning {
            Meaning::Comment => COMMENT,
            Meaning::Dropped(_) => DROPPED,
            Meaning::Series(metric, _) => self.column_of(metric),
        }
    }

    /// Returns the column of a metric in the new shape, giving it one if it has none.
    fn column_of(&mut self, metric: MetricId) -> u32 {
        let next = self.metrics.len() as u32;
        let column = *self.columns.entry(metric).or_insert(next);
        if column == next {
            self.metrics.push(metric);
        }
        column
    }

    /// Tells whether the page has no value for the line's series.
    fn lacks_value(&self, line: &KnownLine) -> bool {
        let Meaning::Series(metric, _) = line.meaning else { return false };
        let column = self.columns.get(&metric).copied();
        column.is_none_or(|column| self.values.get(column as usize).is_none_or(|value| is_stale(*value)))
    }

    /// Puts a value into its column, unless one came before it.
    fn put_first(&mut self, column: u32, value: f64, counts: &mut PageCounts) {
        let column = column as usize;
        if self.values.len() <= column {
            self.values.resize(column + 1, STALE);
        }
        if is_stale(self.values[column]) {
            self.values[column] = value;
        } else {
            counts.repeated += 1;
        }
    }
}

/// Fails if a line has more labels, or is longer, than any rule should have to look at; short ones cannot.
fn check_line(page: &[u8], line: NewLine, format: Format) -> Result<(), ReadError> {
    let bytes = line.text(page).len();
    if bytes < LABELS_MAX * LABEL_BYTES_LEAST {
        return Ok(());
    }
    let found = count_labels(page, line.start as usize, format).map_err(|fault| fault.on(page))?;
    if found > LABELS_MAX {
        let name = name_of(line.text(page)).map(String::from_utf8_lossy).unwrap_or_default();
        return Err(LabelLimit::Count { limit: LABELS_MAX, metric: LabelLimit::shown(&name), found }.into());
    }
    if bytes > LINE_BYTES_MAX {
        return Err(Fault::new(line.start as usize, "the name and labels are longer than 1 MiB").on(page).into());
    }
    Ok(())
}

fn known_line(text: &[u8], meaning: Meaning) -> KnownLine {
    KnownLine { text: text.into(), meaning }
}

/// Returns the name of a series whose line begins with it, as nearly all do.
fn name_of(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
    Some(&text[..end]).filter(|name| !name.is_empty())
}
