//! The name and labels of a line.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use firetower_model::Kind;
use firetower_model::labels::NAME;

use super::entry::{byte, skip_blanks};
use super::family::Families;
use super::value::normalize_float;
use super::{Fault, Format};

/// Up to how many names are compared with each other to find one that is repeated; more are hashed.
const COMPARED_MAX: usize = 32;

/// Labels as they stand on a line, `__name__` first.
pub(crate) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A part of a line that names its series, by where it stands.
#[derive(Debug)]
pub(super) enum Part {
    Name(Range<usize>),
    Label { name: Range<usize>, value: Range<usize> },
}

/// Tells whether a metric's name may begin with `byte`.
pub(super) fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':')
}

/// Returns where the metric's name that begins at `at` ends.
pub(super) fn name_end(page: &[u8], at: usize) -> usize {
    at + page[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')).count()
}

/// Returns where the label's name that begins at `at` ends; `at` itself if there is none.
fn label_name_end(page: &[u8], at: usize) -> usize {
    let rest = &page[at.min(page.len())..];
    if rest.first().is_none_or(u8::is_ascii_digit) {
        return at;
    }
    at + rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
}

/// Returns where the quoted name that begins at `open` ends, behind its closing quote.
pub(super) fn quoted_name_end(page: &[u8], open: usize) -> Option<usize> {
    quoted_end(page, open, |byte| byte != 0)
}

/// Returns where the quoted text that begins at `open` ends, behind its closing quote, if each byte inside is allowed.
fn quoted_end(page: &[u8], open: usize, is_allowed: impl Fn(u8) -> bool) -> Option<usize> {
    let mut at = open + 1;
    loop {
        let here = *page.get(at)?;
        match here {
            b'"' => return Some(at + 1),
            b'\\' => {
                let escaped = *page.get(at + 1)?;
                if escaped == b'\n' || !is_allowed(escaped) {
                    return None;
                }
                at += 2;
            }
            _ if is_allowed(here) => at += 1,
            _ => return None,
        }
    }
}

/// Reads over name and labels from `at` and shows each part to `see`; returns where they end.
pub(super) fn scan(page: &[u8], at: usize, format: Format, see: &mut impl FnMut(Part)) -> Result<usize, Fault> {
    if byte(page, at) == b'{' {
        let (end, has_name) = braces(page, at + 1, format, Naming::Inside, see)?;
        return if has_name { Ok(end) } else { Err(Fault::new(at, "the line has no metric name")) };
    }
    let end = name_end(page, at);
    see(Part::Name(at..end));
    let open = skip_blanks(page, end, format);
    if byte(page, open) != b'{' {
        return Ok(end);
    }
    braces(page, open + 1, format, Naming::Before, see).map(|(end, _)| end)
}

/// Reads over the labels of an exemplar from behind its brace; returns where they end.
pub(super) fn scan_exemplar(page: &[u8], at: usize) -> Result<usize, Fault> {
    braces(page, at, Format::OpenMetrics, Naming::Nowhere, &mut |_| {}).map(|(end, _)| end)
}

/// Where the metric's name may stand.
#[derive(Clone, Copy, PartialEq)]
enum Naming {
    Before,
    Inside,
    Nowhere,
}

/// Reads labels up to the closing brace; returns where it ends and whether a name was among them.
fn braces(
    page: &[u8],
    at: usize,
    format: Format,
    naming: Naming,
    see: &mut impl FnMut(Part),
) -> Result<(usize, bool), Fault> {
    let skip = |at| skip_blanks(page, at, format);
    let mut has_name = false;
    let mut at = skip(at);
    loop {
        if page.get(at) == Some(&b'}') {
            return Ok((at + 1, has_name));
        }
        let is_quoted = page.get(at) == Some(&b'"');
        let end = if is_quoted { quoted_name_end(page, at) } else { Some(label_name_end(page, at)) };
        let end = end.filter(|end| *end > at).ok_or_else(|| Fault::new(at, "a label name must stand here"))?;
        let name = if is_quoted { at + 1..end - 1 } else { at..end };
        at = skip(end);
        if is_quoted && naming != Naming::Nowhere && matches!(byte(page, at), b',' | b'}') {
            if has_name || naming == Naming::Before {
                return Err(Fault::new(name.start, "the metric has a name already"));
            }
            has_name = true;
            see(Part::Name(name));
            at = if byte(page, at) == b',' { skip(at + 1) } else { at };
            continue;
        }
        if byte(page, at) != b'=' {
            return Err(Fault::new(at, "an equals sign must follow the label name"));
        }
        let (value, end) = label_value(page, at + 1, format, naming)?;
        see(Part::Label { name, value });
        at = skip(end);
        match byte(page, at) {
            b',' => at = skip(at + 1),
            b'}' => {}
            // Prometheus's own format may leave the comma out.
            _ if format == Format::Text => {}
            _ => return Err(Fault::new(at, "a comma or closing brace must follow the label value")),
        }
    }
}

/// Reads the label's value behind the equals sign; returns its place inside the quotes and where it ends.
fn label_value(page: &[u8], at: usize, format: Format, naming: Naming) -> Result<(Range<usize>, usize), Fault> {
    let mut open = skip_blanks(page, at, format);
    let is_zero_skipped = naming != Naming::Nowhere;
    if open > at {
        open += page[open..].iter().take_while(|byte| **byte == 0).count();
    }
    let is_allowed = |byte| match format {
        Format::Text => true,
        Format::OpenMetrics => byte != b'\n' && (byte != 0 || is_zero_skipped),
    };
    let end =
        Some(open).filter(|open| page.get(*open) == Some(&b'"')).and_then(|open| quoted_end(page, open, is_allowed));
    let end = end.ok_or_else(|| Fault::new(open, "a quoted label value must stand here"))?;
    let value = open + 1..end - 1;
    if std::str::from_utf8(&page[value.clone()]).is_err() {
        return Err(Fault::new(open, "the label value is not UTF-8"));
    }
    // Prometheus's lexer loses zero bytes in and after a value; inside they are the value's, after it nobody's.
    let zeros = if is_zero_skipped { page[end..].iter().take_while(|byte| **byte == 0).count() } else { 0 };
    Ok((value, end + zeros))
}

/// Reads the name and labels of the series line at `start` into `pairs`; returns its kind.
pub(crate) fn read<'a>(
    page: &'a [u8],
    start: usize,
    has_exemplar: bool,
    format: Format,
    families: &Families<'_>,
    pairs: &mut Pairs<'a>,
) -> Result<Kind, Fault> {
    pairs.clear();
    pairs.push((Cow::Borrowed(NAME), Cow::Borrowed("")));
    let mut fault = None;
    scan(page, skip_blanks(page, start, format), format, &mut |part| {
        let read = match part {
            Part::Name(range) => text(page, range).map(|name| pairs[0].1 = name),
            Part::Label { name, value } => text(page, name)
                .and_then(|name| Ok((name, text(page, value)?)))
                .map(|(name, value)| pairs.push((name, value))),
        };
        fault = fault.take().or(read.err());
    })?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    check(start, pairs)?;
    if has_exemplar && !families.takes_exemplars(pairs[0].1.as_bytes()) {
        return Err(Fault::new(start, "a sample of this type has no exemplar"));
    }
    let kind = families.kind_of(pairs[0].1.as_bytes());
    let number_label = match kind {
        Kind::Histogram => "le",
        Kind::Summary => "quantile",
        _ => return Ok(kind),
    };
    for (_, value) in pairs.iter_mut().filter(|(name, _)| name == number_label) {
        if let Some(normal) = normalize_float(value) {
            *value = Cow::Owned(normal);
        }
    }
    Ok(kind)
}

/// Returns how many labels the series line at `start` has, its name not counted.
pub(crate) fn count(page: &[u8], start: usize, format: Format) -> Result<usize, Fault> {
    let mut labels = 0;
    let see = &mut |part| labels += usize::from(matches!(part, Part::Label { .. }));
    scan(page, skip_blanks(page, start, format), format, see)?;
    Ok(labels)
}

/// Finds what only a second look at a series shows: empty and repeated names.
fn check(start: usize, pairs: &Pairs<'_>) -> Result<(), Fault> {
    if pairs[0].1.is_empty() {
        return Err(Fault::new(start, "the metric name is empty"));
    }
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err(Fault::new(start, "a label name is empty"));
    }
    let repeated = if pairs.len() <= COMPARED_MAX { repeated_of_few(pairs) } else { repeated_of_many(pairs) };
    repeated.map_or(Ok(()), |name| Err(Fault::new(start, format!("label name {name:?} is not unique"))))
}

fn repeated_of_few<'p>(pairs: &'p Pairs<'_>) -> Option<&'p str> {
    let mut names = pairs.iter().map(|(name, _)| &**name).enumerate();
    names.find(|(at, name)| pairs[..*at].iter().any(|(earlier, _)| earlier == name)).map(|(_, name)| name)
}

fn repeated_of_many<'p>(pairs: &'p Pairs<'_>) -> Option<&'p str> {
    let mut seen = HashSet::with_capacity(pairs.len());
    pairs.iter().map(|(name, _)| &**name).find(|name| !seen.insert(*name))
}

/// Returns a name or value with its escapes resolved.
fn text(page: &[u8], range: Range<usize>) -> Result<Cow<'_, str>, Fault> {
    let raw = std::str::from_utf8(&page[range.clone()]).map_err(|_| Fault::new(range.start, "a name is not UTF-8"))?;
    Ok(unescape(raw))
}

/// Resolves the escapes of a quoted text; a backslash before anything else stays.
pub(super) fn unescape(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut unescaped = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        unescaped.push_str(&rest[..at]);
        let (escape, length) = match rest.as_bytes().get(at + 1) {
            Some(b'"') => ('"', 2),
            Some(b'\\') => ('\\', 2),
            Some(b'n') => ('\n', 2),
            _ => ('\\', 1),
        };
        unescaped.push(escape);
        rest = &rest[at + length..];
    }
    unescaped.push_str(rest);
    Cow::Owned(unescaped)
}
