//! One line of a page, read to the letter of its format.

use std::borrow::Cow;

use firetower_model::labels::NAME;

use crate::exposition::Format;
use crate::exposition::labels::{is_name_start, name_end, unescape};
use crate::exposition::value::parse_float;

/// What is wrong with a backslash before anything else, in Prometheus's own format.
const ESCAPES: &str = "the only escapes are \\\\, \\\" and \\n";

/// Labels in the order of the line.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// What a line says.
#[derive(Debug)]
pub(super) enum Statement<'a> {
    /// Nothing, or a comment.
    Nothing,
    /// `# EOF`.
    End,
    Metadata(Metadata<'a>),
    Sample(SampleLine<'a>),
}

/// Which piece of metadata a line gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Help,
    Type,
    Unit,
}

/// A piece of metadata of one family.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    pub(super) keyword: Keyword,
    pub(super) name: Cow<'a, str>,
    pub(super) text: &'a str,
    /// Byte of the line where the text begins.
    pub(super) text_at: usize,
}

/// A sample.
#[derive(Debug)]
pub(super) struct SampleLine<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) labels: Pairs<'a>,
    pub(super) value: f64,
    /// Byte of the line where the value begins.
    pub(super) value_at: usize,
    /// As the line has it: seconds in OpenMetrics, else milliseconds.
    pub(super) timestamp: Option<f64>,
    pub(super) exemplar: Option<Exemplar>,
}

impl SampleLine<'_> {
    /// Returns the value of a label.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }
}

/// The example of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exemplar {
    /// Byte of the line where it begins.
    pub(super) at: usize,
    /// Code points of its labels' names and values.
    pub(super) code_points: usize,
}

/// What is wrong with a line, and at which of its bytes.
#[derive(Debug)]
pub(super) struct LineFault {
    pub(super) at: usize,
    pub(super) text: Cow<'static, str>,
}

fn fault<T>(at: usize, text: impl Into<Cow<'static, str>>) -> Result<T, LineFault> {
    Err(LineFault { at, text: text.into() })
}

/// Reads a line, which has no line feed.
pub(super) fn read(line: &[u8], format: Format) -> Result<Statement<'_>, LineFault> {
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => return fault(error.valid_up_to(), "this is not UTF-8"),
    };
    if line.ends_with(b"\r") {
        return fault(line.len() - 1, "a line must end without a carriage return");
    }
    let mut cursor = Cursor { text, at: 0, format };
    cursor.skip_blanks();
    match cursor.peek() {
        None if format == Format::Text => Ok(Statement::Nothing),
        None => fault(0, "a line must not be blank"),
        Some(b'#') if format == Format::Text => cursor.text_comment(),
        Some(b'#') => cursor.open_metrics_comment(),
        Some(_) => cursor.sample().map(Statement::Sample),
    }
}

/// A place in a line.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
    format: Format,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Skips blanks where the format has any that mean nothing.
    fn skip_blanks(&mut self) {
        if self.format == Format::Text {
            self.at += self.rest().bytes().take_while(is_blank).count();
        }
    }

    fn expect(&mut self, byte: u8, text: &'static str) -> Result<(), LineFault> {
        if self.peek() != Some(byte) {
            return fault(self.at, text);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes all up to the next blank.
    fn word(&mut self) -> &'a str {
        let length = self.rest().bytes().take_while(|byte| !is_blank(byte)).count();
        let word = &self.rest()[..length];
        self.at += length;
        word
    }

    fn text_comment(&mut self) -> Result<Statement<'a>, LineFault> {
        self.at += 1;
        self.skip_blanks();
        let keyword = match self.word() {
            "HELP" => Keyword::Help,
            "TYPE" => Keyword::Type,
            _ => return Ok(Statement::Nothing),
        };
        self.skip_blanks();
        let name = self.family_name()?;
        if self.peek().is_some_and(|byte| !is_blank(&byte)) {
            return fault(self.at, "a blank must follow the metric's name");
        }
        self.skip_blanks();
        let (text, text_at) = (self.rest(), self.at);
        if keyword == Keyword::Help {
            self.check_escapes()?;
        }
        Ok(Statement::Metadata(Metadata { keyword, name, text, text_at }))
    }

    /// Finds an escape in the rest of the line that Prometheus's own format does not know.
    fn check_escapes(&self) -> Result<(), LineFault> {
        let mut bytes = self.rest().bytes().zip(self.at..);
        while let Some((byte, at)) = bytes.next() {
            if byte == b'\\' && !bytes.next().is_some_and(|(escaped, _)| matches!(escaped, b'\\' | b'"' | b'n')) {
                return fault(at, ESCAPES);
            }
        }
        Ok(())
    }

    fn open_metrics_comment(&mut self) -> Result<Statement<'a>, LineFault> {
        let keyword = match self.text.get(..7) {
            _ if self.text == "# EOF" => return Ok(Statement::End),
            Some("# HELP ") => Keyword::Help,
            Some("# TYPE ") => Keyword::Type,
            Some("# UNIT ") => Keyword::Unit,
            _ => return fault(0, "a comment must be \"# HELP \", \"# TYPE \", \"# UNIT \" or \"# EOF\""),
        };
        self.at = 7;
        let name = self.family_name()?;
        self.expect(b' ', "one space and a text must follow the metric's name")?;
        Ok(Statement::Metadata(Metadata { keyword, name, text: self.rest(), text_at: self.at }))
    }

    fn family_name(&mut self) -> Result<Cow<'a, str>, LineFault> {
        match self.peek() {
            Some(b'"') => self.quoted_name("a metric's name must not be empty"),
            Some(first) if is_name_start(first) => Ok(Cow::Borrowed(self.plain_name())),
            _ => fault(self.at, "a metric's name must stand here"),
        }
    }

    fn plain_name(&mut self) -> &'a str {
        let start = self.at;
        self.at = name_end(self.text.as_bytes(), start);
        &self.text[start..self.at]
    }

    fn quoted_name(&mut self, if_empty: &'static str) -> Result<Cow<'a, str>, LineFault> {
        let start = self.at;
        let name = self.quoted()?;
        if name.is_empty() { fault(start, if_empty) } else { Ok(name) }
    }

    /// Takes what stands between quotes, with its escapes resolved.
    fn quoted(&mut self) -> Result<Cow<'a, str>, LineFault> {
        let open = self.at;
        self.expect(b'"', "a quote must stand here")?;
        let start = self.at;
        loop {
            match self.peek() {
                None => return fault(open, "this quote is not closed"),
                Some(b'"') => break,
                Some(b'\\') => {
                    let escaped = self.text.as_bytes().get(self.at + 1);
                    // Prometheus's own format knows three escapes; OpenMetrics lets a backslash stand before anything.
                    if self.format == Format::Text && !matches!(escaped, Some(b'\\' | b'"' | b'n')) {
                        return fault(self.at, ESCAPES);
                    }
                    self.at += if matches!(escaped, Some(b'\\' | b'"')) { 2 } else { 1 };
                }
                Some(_) => self.at += 1,
            }
        }
        let text = unescape(&self.text[start..self.at]);
        self.at += 1;
        Ok(text)
    }

    fn sample(&mut self) -> Result<SampleLine<'a>, LineFault> {
        let mut name = None;
        if self.peek().is_some_and(is_name_start) {
            name = Some(Cow::Borrowed(self.plain_name()));
        } else if self.peek() != Some(b'{') {
            return fault(self.at, "a line must begin with a metric's name, a brace or a #");
        }
        self.skip_blanks();
        let labels = if self.peek() == Some(b'{') { self.labels(Some(&mut name))? } else { Vec::new() };
        let Some(name) = name else { return fault(0, "the line names no metric") };
        if self.format == Format::OpenMetrics {
            self.expect(b' ', "one space and a value must follow the name and labels")?;
        }
        self.skip_blanks();
        let value_at = self.at;
        let value = self.number("a value must stand here")?;
        let mut sample = SampleLine { name, labels, value, value_at, timestamp: None, exemplar: None };
        match self.format {
            Format::Text => sample.timestamp = self.milliseconds()?,
            Format::OpenMetrics => self.open_metrics_rest(&mut sample)?,
        }
        Ok(sample)
    }

    /// Takes braces and what is in them; the metric's name may be inside where `name` has room for it.
    fn labels(&mut self, mut name: Option<&mut Option<Cow<'a, str>>>) -> Result<Pairs<'a>, LineFault> {
        self.at += 1;
        let mut pairs: Pairs<'a> = Vec::new();
        self.skip_blanks();
        let mut is_first = true;
        while self.peek() != Some(b'}') || !is_first && self.format == Format::OpenMetrics {
            let start = self.at;
            let is_quoted = self.peek() == Some(b'"');
            let label = if is_quoted { self.quoted_name("a name must not be empty")? } else { self.label_name()? };
            self.skip_blanks();
            if is_quoted && matches!(self.peek(), Some(b',' | b'}')) {
                match &mut name {
                    Some(name @ None) => **name = Some(label),
                    Some(Some(_)) => return fault(start, "the metric has a name already"),
                    None => return fault(start, "an exemplar has no name"),
                }
            } else {
                self.expect(b'=', "an equals sign must follow the label's name")?;
                self.skip_blanks();
                let value = self.quoted()?;
                check_label(start, &label, &pairs)?;
                pairs.push((label, value));
                self.skip_blanks();
            }
            is_first = false;
            match self.peek() {
                Some(b'}') => break,
                Some(b',') => self.at += 1,
                _ => return fault(self.at, "a comma or a closing brace must stand here"),
            }
            self.skip_blanks();
        }
        self.at += 1;
        Ok(pairs)
    }

    fn label_name(&mut self) -> Result<Cow<'a, str>, LineFault> {
        let length = self.rest().bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let name = &self.rest()[..length];
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            return fault(self.at, "a label's name must stand here: letters, digits and _, no digit first");
        }
        self.at += length;
        Ok(Cow::Borrowed(name))
    }

    /// Takes a number that ends with a blank or with the line.
    fn number(&mut self, if_missing: &'static str) -> Result<f64, LineFault> {
        let start = self.at;
        let word = self.word();
        if word.is_empty() {
            return fault(start, if_missing);
        }
        parse_float(word.as_bytes()).or_else(|text| fault(start, text))
    }

    fn milliseconds(&mut self) -> Result<Option<f64>, LineFault> {
        let value_end = self.at;
        self.skip_blanks();
        let start = self.at;
        let word = self.word();
        if word.is_empty() {
            return if start == value_end { Ok(None) } else { fault(value_end, "the line must end without a blank") };
        }
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        let Some(millis) = word.parse::<i64>().ok().filter(|_| is_number) else {
            return fault(start, "a timestamp must be whole milliseconds");
        };
        match self.peek() {
            Some(_) => fault(self.at, "the line must end after the timestamp"),
            None => Ok(Some(millis as f64)),
        }
    }

    fn open_metrics_rest(&mut self, sample: &mut SampleLine<'a>) -> Result<(), LineFault> {
        if self.peek().is_some() && !self.rest().starts_with(" #") {
            sample.timestamp = Some(self.seconds()?);
        }
        if self.peek().is_none() {
            return Ok(());
        }
        let at = self.at;
        if !self.rest().starts_with(" # {") {
            return fault(at, "the line must end here, or an exemplar follow: \" # {…} VALUE\"");
        }
        self.at += 3;
        let labels = self.labels(None)?;
        self.expect(b' ', "one space and a value must follow the exemplar's labels")?;
        self.number("the exemplar's value must stand here")?;
        if self.peek().is_some() {
            self.seconds()?;
        }
        if self.peek().is_some() {
            return fault(self.at, "the line must end after the exemplar");
        }
        let code_points = labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        sample.exemplar = Some(Exemplar { at, code_points });
        Ok(())
    }

    /// Takes a space and a timestamp in seconds.
    fn seconds(&mut self) -> Result<f64, LineFault> {
        self.expect(b' ', "one space must stand here")?;
        let start = self.at;
        let seconds = self.number("a timestamp must stand here, or the line end without a space")?;
        if seconds.is_finite() { Ok(seconds) } else { fault(start, "a timestamp must be finite") }
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn check_label(at: usize, label: &str, pairs: &Pairs<'_>) -> Result<(), LineFault> {
    if label == NAME {
        return fault(at, "the label __name__ is reserved");
    }
    if pairs.iter().any(|(other, _)| other == label) {
        return fault(at, format!("the label {label:?} is there already"));
    }
    Ok(())
}
