//! The text that targets expose: Prometheus's format 0.0.4 (with the UTF-8 names of 1.0.0) and OpenMetrics 1.0.
//!
//! Reads what Prometheus's scraper reads and refuses what it refuses, which is not quite what the specifications say:
//! strictness is no scraper's business, but that of [`check`].
//!
//! Source: Prometheus 3 `model/textparse/promlex.l`, `promparse.go`, `openmetricslex.l`, `openmetricsparse.go`.

mod check;
mod entry;
mod family;
mod labels;
mod negotiation;
mod value;

use std::borrow::Cow;

use firetower_model::Kind;

pub use check::{Remark, Severity, check};
pub(crate) use entry::{Entry, SeriesLine, entry, sample_after};
pub(crate) use family::Families;
pub(crate) use labels::{count as count_labels, read as read_labels};
pub use negotiation::{MediaType, Protocol, UnknownFormat, accept};
pub(crate) use value::short_decimal;

/// Which text format a page is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Prometheus's text format.
    #[default]
    Text,
    /// OpenMetrics, which must end with `# EOF`.
    OpenMetrics,
}

/// Why a page cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct PageError {
    /// Line of the page, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: Cow<'static, str>,
}

/// What is wrong, and at which byte of the page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) reason: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(at: usize, reason: impl Into<Cow<'static, str>>) -> Fault {
        Fault { at, reason: reason.into() }
    }

    /// Tells the place as a line of `page`.
    pub(crate) fn on(self, page: &[u8]) -> PageError {
        let before = &page[..self.at.min(page.len())];
        PageError { line: memchr::memchr_iter(b'\n', before).count() + 1, reason: self.reason }
    }
}

/// A series as a page's line names it.
#[derive(Debug)]
pub struct Line<'a> {
    /// Its labels as they stand on the line, `__name__` first; no name comes twice, a value may be empty.
    pub labels: &'a [(Cow<'a, str>, Cow<'a, str>)],
    /// What its family's `# TYPE` says that it is.
    pub kind: Kind,
}

/// One sample of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct PageSample {
    /// Labels in the line's order, `__name__` first.
    pub labels: Vec<(String, String)>,
    /// What its family's `# TYPE` says that it is.
    pub kind: Kind,
    /// Its value; every NaN is the same one.
    pub value: f64,
    /// The time that the line carries, in milliseconds since the unix epoch.
    pub timestamp: Option<i64>,
}

/// Reads a whole page, in its order, the plain way.
///
/// # Errors
/// The first fault; nothing of such a page counts.
pub fn parse(page: &[u8], format: Format) -> Result<Vec<PageSample>, PageError> {
    let families = Families::of(page, format);
    let mut samples = Vec::new();
    let mut pairs = Vec::new();
    let mut at = 0;
    loop {
        match entry(page, at, format).map_err(|fault| fault.on(page))? {
            Entry::End => return Ok(samples),
            Entry::Comment { end } | Entry::Type { end, .. } => at = end,
            Entry::Series(line) => {
                let kind = read_labels(page, at, line.has_exemplar, format, &families, &mut pairs)
                    .map_err(|fault| fault.on(page))?;
                let labels = pairs.drain(..).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
                samples.push(PageSample { labels, kind, value: line.value, timestamp: line.timestamp });
                at = line.end;
            }
        }
    }
}

#[cfg(test)]
mod tests;
