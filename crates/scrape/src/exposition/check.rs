//! Checks pages to the letter, for whoever writes them: nothing here is part of a scrape.
//!
//! Source: the OpenMetrics 1.0 specification; for Prometheus's format "Exposition formats" of its documentation and
//! `prometheus/common` `expfmt/text_parse.go`; for style `promtool check metrics`.

mod histogram;
mod line;
mod open_metrics;
mod points;
mod style;
mod text;
mod values;

use super::Format;

/// How many remarks are made of one page.
const REMARKS_MAX: usize = 1000;

/// How much a remark weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The page is not well-formed.
    Fault,
    /// It is, but it is not as it should be.
    Style,
}

/// Something to be said of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Line of the page, counted from 1.
    pub line: usize,
    /// Character of the line, counted from 1.
    pub column: usize,
    /// How much it weighs.
    pub severity: Severity,
    /// What it is.
    pub text: String,
}

/// Returns all that is to be said of `page`, in its order: none of them a fault if it is well-formed.
///
/// Of more than a thousand remarks the rest is left out, which the last one says.
pub fn check(page: &[u8], format: Format) -> Vec<Remark> {
    let mut remarks = Remarks::default();
    match format {
        Format::Text => text::check(page, &mut remarks),
        Format::OpenMetrics => open_metrics::check(page, &mut remarks),
    }
    remarks.finish()
}

/// Remarks being gathered.
#[derive(Debug, Default)]
struct Remarks(Vec<Remark>);

impl Remarks {
    /// Notes a fault of a whole line.
    fn fault(&mut self, line: usize, text: impl Into<String>) {
        self.0.push(Remark { line, column: 1, severity: Severity::Fault, text: text.into() });
    }

    /// Notes a fault that begins at the byte `at` of a line.
    fn fault_at(&mut self, line: usize, bytes: &[u8], at: usize, text: impl Into<String>) {
        let column = String::from_utf8_lossy(&bytes[..at.min(bytes.len())]).chars().count() + 1;
        self.0.push(Remark { line, column, severity: Severity::Fault, text: text.into() });
    }

    fn style(&mut self, line: usize, text: impl Into<String>) {
        self.0.push(Remark { line, column: 1, severity: Severity::Style, text: text.into() });
    }

    fn finish(mut self) -> Vec<Remark> {
        self.0.sort_by_key(|remark| (remark.line, remark.column));
        let Some(rest) = self.0.len().checked_sub(REMARKS_MAX).filter(|rest| *rest > 0) else { return self.0 };
        let severity = if self.0[REMARKS_MAX..].iter().any(|remark| remark.severity == Severity::Fault) {
            Severity::Fault
        } else {
            Severity::Style
        };
        let line = self.0[REMARKS_MAX].line;
        self.0.truncate(REMARKS_MAX);
        self.0.push(Remark { line, column: 1, severity, text: format!("{rest} more remarks are left out") });
        self.0
    }
}

/// Returns the lines of a page with their numbers, without their line feeds.
fn lines(page: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = page.split_inclusive(|byte| *byte == b'\n');
    lines.enumerate().map(|(at, line)| (at + 1, line.strip_suffix(b"\n").unwrap_or(line)))
}

#[cfg(test)]
mod tests;
