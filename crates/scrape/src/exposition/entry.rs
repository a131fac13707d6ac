//! One entry of a page after the other: a comment, a type, a sample, the end.

use super::family::FamilyType;
use super::labels::{self, is_name_start, name_end};
use super::value::parse_float;
use super::{Fault, Format};

/// What stands at a place of a page where an entry begins.
#[derive(Debug, PartialEq)]
pub(crate) enum Entry<'a> {
    /// A comment, a `# HELP`, a `# UNIT`, or a blank line.
    Comment { end: usize },
    /// A `# TYPE` of the family `name`.
    Type { name: &'a [u8], kind: FamilyType, end: usize },
    /// A sample.
    Series(SeriesLine),
    /// The end of the page; what may come after it does not count.
    End,
}

/// A line with a sample, read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SeriesLine {
    /// Where the value begins: all before it names the series.
    pub(crate) text_end: usize,
    pub(crate) value: f64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) has_exemplar: bool,
    /// Where the next entry begins.
    pub(crate) end: usize,
}

/// Returns the byte at `at`; past the end of the page stands a line feed, as if its last line had one.
#[inline]
pub(super) fn byte(page: &[u8], at: usize) -> u8 {
    page.get(at).copied().unwrap_or(b'\n')
}

/// Returns the first place from `at` on that is no blank of the format: OpenMetrics has none that could be left out.
#[inline]
pub(super) fn skip_blanks(page: &[u8], at: usize, format: Format) -> usize {
    if format == Format::OpenMetrics {
        return at;
    }
    at + page[at.min(page.len())..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Returns where the line goes on after its line feed.
fn line_end(page: &[u8], at: usize) -> usize {
    let rest = &page[at.min(page.len())..];
    memchr::memchr(b'\n', rest).map_or(page.len(), |offset| at + offset + 1)
}

/// Reads the entry that begins at `start`.
pub(crate) fn entry(page: &[u8], start: usize, format: Format) -> Result<Entry<'_>, Fault> {
    if start >= page.len() {
        return match format {
            Format::Text => Ok(Entry::End),
            Format::OpenMetrics => Err(Fault::new(start, "the page does not end with # EOF")),
        };
    }
    let at = skip_blanks(page, start, format);
    match byte(page, at) {
        b'#' if format == Format::Text => text_comment(page, at),
        b'#' => open_metrics_comment(page, at),
        b'\n' if format == Format::Text => Ok(Entry::Comment { end: page.len().min(at + 1) }),
        // Prometheus's lexer takes a zero byte where a line begins for the end of the page.
        0 if format == Format::Text => Ok(Entry::End),
        first if first == b'{' || is_name_start(first) => series(page, at, format).map(Entry::Series),
        _ => Err(Fault::new(at, "a line must begin with a name, a brace or a #")),
    }
}

fn text_comment(page: &[u8], hash: usize) -> Result<Entry<'_>, Fault> {
    let at = skip_blanks(page, hash + 1, Format::Text);
    let end = line_end(page, at);
    let line = &page[at..end];
    if at == hash + 1 {
        // Without a blank the lexer is still where it takes a zero byte for the end.
        return Ok(if line.contains(&0) { Entry::End } else { Entry::Comment { end } });
    }
    if line.first() == Some(&0) {
        return Ok(Entry::End);
    }
    let is_followed = matches!(line.get(4), Some(b' ' | b'\t'));
    match line.get(..4) {
        Some(b"HELP") if is_followed => {
            let (_, text, end) = metadata(page, skip_blanks(page, at + 4, Format::Text), Format::Text)?;
            check_help(at, text)?;
            Ok(Entry::Comment { end })
        }
        Some(b"TYPE") if is_followed => {
            let (name, text, end) = metadata(page, skip_blanks(page, at + 4, Format::Text), Format::Text)?;
            let kind = FamilyType::of_text(text).ok_or_else(|| Fault::new(at, "the type is not known"))?;
            Ok(Entry::Type { name, kind, end })
        }
        _ => Ok(Entry::Comment { end }),
    }
}

fn open_metrics_comment(page: &[u8], hash: usize) -> Result<Entry<'_>, Fault> {
    let line = &page[hash..line_end(page, hash)];
    if line.starts_with(b"# EOF") {
        let end = hash + 5 + usize::from(line.get(5) == Some(&b'\n'));
        return if end == page.len() { Ok(Entry::End) } else { Err(Fault::new(end, "something comes after # EOF")) };
    }
    let keyword = line.get(..7).unwrap_or(b"");
    if !matches!(keyword, b"# HELP " | b"# TYPE " | b"# UNIT ") {
        return Err(Fault::new(hash, "a comment must be HELP, TYPE, UNIT or EOF"));
    }
    let (name, text, end) = metadata(page, hash + 7, Format::OpenMetrics)?;
    match keyword {
        b"# HELP " => check_help(hash, text)?,
        b"# UNIT " => check_unit(hash, name, text)?,
        _ => {
            let kind = FamilyType::of_open_metrics(text).ok_or_else(|| Fault::new(hash, "the type is not known"))?;
            return Ok(Entry::Type { name, kind, end });
        }
    }
    Ok(Entry::Comment { end })
}

/// Reads the family's name and the text of a line of metadata; returns them and where the next entry begins.
fn metadata(page: &[u8], at: usize, format: Format) -> Result<(&[u8], &[u8], usize), Fault> {
    let (name, name_end) = match byte(page, at) {
        b'"' => {
            let end = labels::quoted_name_end(page, at).ok_or_else(|| Fault::new(at, "the name has no end"))?;
            (&page[at + 1..end - 1], end)
        }
        first if is_name_start(first) => (&page[at..name_end(page, at)], name_end(page, at)),
        _ => return Err(Fault::new(at, "the metadata must have a metric's name")),
    };
    let end = line_end(page, name_end);
    let line = &page[name_end..end];
    let text = line.strip_suffix(b"\n");
    if format == Format::OpenMetrics {
        let text = text.and_then(|text| text.strip_prefix(b" "));
        return text.map(|text| (name, text, end)).ok_or_else(|| Fault::new(at, "the metadata must have a text"));
    }
    let text = text.unwrap_or(line);
    if text.first() == Some(&0) {
        return Err(Fault::new(at, "the metadata must end with its line"));
    }
    let is_blank = text.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    Ok((name, if is_blank { b"" } else { &text[1..] }, end))
}

fn check_help(at: usize, text: &[u8]) -> Result<(), Fault> {
    std::str::from_utf8(text).map(|_| ()).map_err(|_| Fault::new(at, "the help text is not UTF-8"))
}

fn check_unit(at: usize, name: &[u8], unit: &[u8]) -> Result<(), Fault> {
    let is_suffix = name.strip_suffix(unit).is_some_and(|rest| rest.ends_with(b"_"));
    if unit.is_empty() || is_suffix { Ok(()) } else { Err(Fault::new(at, "the unit is no suffix of the name")) }
}

/// Reads a line with a sample; `at` is where its name or brace stands.
fn series(page: &[u8], at: usize, format: Format) -> Result<SeriesLine, Fault> {
    let after = labels::scan(page, at, format, &mut |_| {})?;
    let value_at = match format {
        Format::Text => skip_blanks(page, after, format),
        Format::OpenMetrics if byte(page, after) == b' ' => after + 1,
        Format::OpenMetrics => return Err(Fault::new(after, "one space and a value must follow the name")),
    };
    sample_after(page, value_at, format)
}

/// Reads the value at `value_at` and what follows it on its line.
pub(crate) fn sample_after(page: &[u8], value_at: usize, format: Format) -> Result<SeriesLine, Fault> {
    let value_end = value_at + token_length(page, value_at, format);
    if value_end == value_at {
        return Err(Fault::new(value_at, "a value must follow the name"));
    }
    let value = parse_float(&page[value_at..value_end]).map_err(|reason| Fault::new(value_at, reason))?;
    let line = SeriesLine { text_end: value_at, value, timestamp: None, has_exemplar: false, end: value_end };
    match format {
        Format::Text => text_timestamp(page, value_end).map(|(timestamp, end)| SeriesLine { timestamp, end, ..line }),
        Format::OpenMetrics => open_metrics_rest(page, line),
    }
}

/// Returns how many bytes the word at `at` has.
fn token_length(page: &[u8], at: usize, format: Format) -> usize {
    let is_inside = |byte: &&u8| match format {
        Format::Text => !matches!(byte, b'{' | b' ' | b'\t' | b'\n' | 0),
        Format::OpenMetrics => !matches!(byte, b' ' | b'\n' | 0),
    };
    page[at.min(page.len())..].iter().take_while(is_inside).count()
}

/// Reads the optional milliseconds after a value; returns them and where the next entry begins.
fn text_timestamp(page: &[u8], value_end: usize) -> Result<(Option<i64>, usize), Fault> {
    let at = skip_blanks(page, value_end, Format::Text);
    if byte(page, at) == b'\n' {
        return Ok((None, page.len().min(at + 1)));
    }
    let digits = page[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&page[at..at + digits]).unwrap_or_default();
    let timestamp =
        text.parse().map_err(|_| Fault::new(at, "a timestamp or the end of the line must follow the value"))?;
    let after = skip_blanks(page, at + digits, Format::Text);
    if byte(page, after) != b'\n' {
        return Err(Fault::new(after, "the line must end after the timestamp"));
    }
    Ok((Some(timestamp), page.len().min(after + 1)))
}

/// Reads the optional seconds and exemplar after a line's value.
fn open_metrics_rest(page: &[u8], mut line: SeriesLine) -> Result<SeriesLine, Fault> {
    let mut at = line.end;
    if page.get(at) == Some(&b' ') && !page[at..].starts_with(b" # {") {
        (line.timestamp, at) = seconds(page, at)?;
    }
    if page[at..].starts_with(b" # {") {
        at = exemplar(page, at + 4)?;
        line.has_exemplar = true;
    }
    match page.get(at) {
        Some(b'\n') => Ok(SeriesLine { end: at + 1, ..line }),
        Some(_) => Err(Fault::new(at, "the line must end here")),
        None => Err(Fault::new(at, "the page does not end with # EOF")),
    }
}

/// Reads a space and seconds; returns milliseconds and where they end.
fn seconds(page: &[u8], space: usize) -> Result<(Option<i64>, usize), Fault> {
    let at = space + 1;
    let end = at + token_length(page, at, Format::OpenMetrics);
    let seconds = parse_float(&page[at..end]).map_err(|_| Fault::new(at, "the timestamp is not a number"))?;
    if !seconds.is_finite() {
        return Err(Fault::new(at, "the timestamp is not finite"));
    }
    Ok((Some((seconds * 1e3) as i64), end))
}

/// Reads over an exemplar from behind its brace; returns where it ends.
fn exemplar(page: &[u8], at: usize) -> Result<usize, Fault> {
    let mut at = labels::scan_exemplar(page, at)?;
    if page.get(at) != Some(&b' ') {
        return Err(Fault::new(at, "a value must follow the exemplar's labels"));
    }
    let end = at + 1 + token_length(page, at + 1, Format::OpenMetrics);
    parse_float(&page[at + 1..end]).map_err(|reason| Fault::new(at, reason))?;
    at = end;
    if page.get(at) == Some(&b' ') {
        (_, at) = seconds(page, at)?;
    }
    Ok(at)
}
