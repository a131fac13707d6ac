//! One pass over a page, with the shape that it most likely has.

use firetower_model::{STALE, Sample, Timestamp, is_stale};

use super::reader::{Page, PageCounts, PageReader, ReadOptions, Row};
use super::reshape::NewLine;
use super::shape::{COMMENT, DROPPED, PageShape, WARMED};
use crate::exposition::{Entry, Fault, SeriesLine, entry, sample_after, short_decimal};

/// Marks an entry of the page's order as a place among the new lines.
pub(super) const NEW: u32 = 1 << 31;
/// Marks an entry of the page's order as a line of the shape whose value is the one in the row.
pub(super) const WROTE: u32 = 1 << 30;

/// How long comments are remembered in a row: a shape must not hold a page's worth of them. Longer ones are read each time.
const COMMENT_BYTES_MAX: usize = 16 << 10;

/// What ends a page of OpenMetrics and is no comment there.
const END: &[u8] = b"# EOF";

/// A pass over a page.
pub(super) struct Pass<'a> {
    page: &'a [u8],
    options: ReadOptions,
    shape: &'a PageShape,
    pub(super) counts: PageCounts,
    base: usize,
    row: &'a mut Vec<f64>,
    timed: &'a mut Vec<(u32, Sample)>,
}

/// A line that the shape has.
struct Taken {
    place: usize,
    /// Where the next line begins.
    end: usize,
    /// [`WROTE`], or 0.
    wrote: u32,
}

impl<'a> Pass<'a> {
    pub(super) fn new(page: Page<'a>, shape: &'a PageShape, row: &'a mut Row<'_>) -> Pass<'a> {
        let Page { text, options } = page;
        Pass {
            page: text,
            options,
            shape,
            counts: PageCounts::default(),
            base: row.base,
            row: row.values,
            timed: row.timed,
        }
    }

    /// Fills the row with what the shape knows, and notes the page's order and its new lines.
    pub(super) fn run(&mut self, reader: &mut PageReader) -> Result<(), Fault> {
        reader.order.clear();
        reader.new.clear();
        if u32::try_from(self.page.len()).is_err() {
            return Err(Fault::new(0, "the page is larger than 4 GiB"));
        }
        self.row.resize(self.base + self.shape.metrics().len(), STALE);
        let (mut at, mut next, mut warmed) = (0, 0, 0);
        loop {
            if next + WARMED > warmed {
                self.shape.warm(warmed);
                warmed += WARMED;
            }
            if let Some(taken) = self.line_at(at, next).or_else(|| self.moved_line(at, next)) {
                reader.order.push(taken.place as u32 | taken.wrote);
                (at, next) = (taken.end, taken.place + 1);
                continue;
            }
            match entry(self.page, at, self.options.format)? {
                Entry::End => return Ok(()),
                Entry::Comment { end } | Entry::Type { end, .. } => {
                    at = self.comment(reader, at, end, &mut next)?;
                }
                Entry::Series(line) => {
                    self.series(reader, at, line, &mut next);
                    at = line.end;
                }
            }
        }
    }

    /// Takes the line at `at` if it is the one that the shape has at `place`.
    #[inline]
    fn line_at(&mut self, at: usize, place: usize) -> Option<Taken> {
        let (line, column) = self.shape.get(place)?;
        if !self.page[at..].starts_with(&line.text) {
            return None;
        }
        self.take_value(place, column, at + line.text.len())
    }

    /// Takes the line at `at` if the shape has it somewhere else than at `next`.
    ///
    /// Where a line's value begins is only guessed here, by its last space: whatever this does not find is taken apart.
    fn moved_line(&mut self, at: usize, next: usize) -> Option<Taken> {
        if let Some(taken) = self.line_at(at, next + 1) {
            return Some(taken);
        }
        let rest = self.page.get(at..)?;
        let mut end = memchr::memchr(b'\n', rest)?;
        let text = if rest[0] == b'#' {
            while rest.get(end + 1) == Some(&b'#') && !rest[end + 1..].starts_with(END) {
                end += 1 + memchr::memchr(b'\n', &rest[end + 1..])?;
            }
            &rest[..=end]
        } else {
            &rest[..=memchr::memrchr(b' ', &rest[..end])?]
        };
        let place = self.shape.find(text)?;
        let (_, column) = self.shape.get(place)?;
        self.take_value(place, column, at + text.len())
    }

    /// Takes the value at `value_at` for the line at `place`; `None` if there is none that ends the line.
    #[inline]
    fn take_value(&mut self, place: usize, column: u32, value_at: usize) -> Option<Taken> {
        if column == COMMENT {
            // A comment that goes on is another one.
            let is_whole = self.page.get(value_at) != Some(&b'#') || self.page[value_at..].starts_with(END);
            return is_whole.then_some(Taken { place, end: value_at, wrote: 0 });
        }
        if let Some((value, length)) = short_decimal(&self.page[value_at..])
            && self.page.get(value_at + length) == Some(&b'\n')
        {
            return Some(Taken { place, end: value_at + length + 1, wrote: self.store(column, value, None) });
        }
        // What only looks like the line expected is no fault: it is taken apart as a whole instead.
        let line = sample_after(self.page, value_at, self.options.format).ok()?;
        Some(Taken { place, end: line.end, wrote: self.store(column, line.value, line.timestamp) })
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

    /// Takes a comment that is not known, with those that follow it; returns where they end.
    fn comment(
        &mut self,
        reader: &mut PageReader,
        at: usize,
        mut end: usize,
        next: &mut usize,
    ) -> Result<usize, Fault> {
        while self.page.get(end) == Some(&b'#') && !self.page[end..].starts_with(END) {
            match entry(self.page, end, self.options.format)? {
                Entry::Comment { end: after } | Entry::Type { end: after, .. } => end = after,
                Entry::Series(_) | Entry::End => break,
            }
        }
        let text = &self.page[at..end];
        if let Some(found) = self.shape.find(text) {
            reader.order.push(found as u32);
            *next = found + 1;
        } else if text.ends_with(b"\n") && !text.starts_with(END) && text.len() <= COMMENT_BYTES_MAX {
            reader.order.push(NEW | reader.new.len() as u32);
            reader.new.push(NewLine::comment(at, end));
        }
        Ok(end)
    }

    /// Takes a series' line that was not expected here.
    fn series(&mut self, reader: &mut PageReader, at: usize, line: SeriesLine, next: &mut usize) {
        match self.shape.find(&self.page[at..line.text_end]) {
            Some(found) => {
                let column = self.shape.get(found).map_or(DROPPED, |(_, column)| column);
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
