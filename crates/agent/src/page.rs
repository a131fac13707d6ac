//! A page of Prometheus text 0.0.4, written from top to bottom.

use std::fmt::{Arguments, Display, Write};

/// The content type of a page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of a family.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Untyped,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Untyped => "untyped",
        }
    }
}

/// A page under construction.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
}

/// One label of a line: its name and its value, not yet escaped.
pub(crate) type Label<'a> = (&'a str, &'a str);

impl Page {
    /// Writes a family of one line without labels.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).line(&[], value);
    }

    /// Starts a family; nothing is written until its first line, so that a family without lines leaves no trace.
    pub(crate) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &'a str) -> Family<'a> {
        Family { text: &mut self.text, name, kind, help, is_open: false }
    }

    /// Puts `other` at the end of this page; it must not hold a family that is here already.
    pub(crate) fn append(&mut self, other: &Page) {
        self.text.push_str(&other.text);
    }

    /// Returns the text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// A family of lines under construction.
pub(crate) struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
    kind: Kind,
    help: &'a str,
    is_open: bool,
}

impl Family<'_> {
    /// Writes one line.
    pub(crate) fn line(&mut self, labels: &[Label<'_>], value: impl Display) {
        if !self.is_open {
            self.is_open = true;
            put(self.text, format_args!("# HELP {} {}\n# TYPE {0} {}\n", self.name, self.help, self.kind.name()));
        }
        self.text.push_str(self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(value, self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        put(self.text, format_args!(" {value}\n"));
    }
}

fn put(text: &mut String, arguments: Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes all that is written");
}

fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_label_values_and_skips_families_without_lines() {
        let mut page = Page::default();
        page.family("empty", Kind::Gauge, "Nothing.");
        page.single("a_total", Kind::Counter, "How many.", 18_446_744_073_709_551_615_u64);
        let mut family = page.family("b", Kind::Untyped, "Odd.");
        family.line(&[("path", "a\\b\"c\nd"), ("mode", "x")], 0.25);
        family.line(&[("path", "e"), ("mode", "y")], 3.0);
        let expected = "# HELP a_total How many.\n# TYPE a_total counter\na_total 18446744073709551615\n\
                        # HELP b Odd.\n# TYPE b untyped\nb{path=\"a\\\\b\\\"c\\nd\",mode=\"x\"} 0.25\n\
                        b{path=\"e\",mode=\"y\"} 3\n";
        assert_eq!(page.into_text(), expected);
    }
}
