//! Asking for series.

use crate::labels::Labels;
use crate::sample::Sample;
use crate::time::TimeRange;

/// A comparison, ready to be made.
#[derive(Clone, Debug)]
enum Test {
    Equal,
    NotEqual,
    Regex(regex::Regex),
    NotRegex(regex::Regex),
}

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchKind {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchKind {
    /// Returns the operator as a selector has it.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchKind::Equal => "=",
            MatchKind::NotEqual => "!=",
            MatchKind::Regex => "=~",
            MatchKind::NotRegex => "!~",
        }
    }
}

/// One condition on a label: `name="value"`, `!=`, `=~` or `!~`.
///
/// A label that a series lacks counts as empty; regular expressions match the whole value.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    value: String,
    test: Test,
}

impl PartialEq for Matcher {
    /// Compares how they are written.
    fn eq(&self, other: &Matcher) -> bool {
        (&self.name, &self.value, self.kind()) == (&other.name, &other.value, other.kind())
    }
}

/// A matcher's regular expression cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("regular expression {pattern:?}")]
pub struct BadRegex {
    pattern: String,
    source: Box<regex::Error>,
}

impl Matcher {
    /// Makes the matcher of a kind.
    ///
    /// # Errors
    /// If `value` has to be a regular expression and is none.
    pub fn of_kind(kind: MatchKind, name: impl Into<String>, value: impl Into<String>) -> Result<Matcher, BadRegex> {
        match kind {
            MatchKind::Equal => Ok(Matcher::equal(name, value)),
            MatchKind::NotEqual => Ok(Matcher::not_equal(name, value)),
            MatchKind::Regex => Matcher::regex(name, value),
            MatchKind::NotRegex => Matcher::not_regex(name, value),
        }
    }

    /// Makes `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Matcher {
        Matcher { name: name.into(), value: value.into(), test: Test::Equal }
    }

    /// Makes `name!="value"`.
    pub fn not_equal(name: impl Into<String>, value: impl Into<String>) -> Matcher {
        Matcher { name: name.into(), value: value.into(), test: Test::NotEqual }
    }

    /// Makes `name=~"pattern"`.
    ///
    /// # Errors
    /// If `pattern` is not a regular expression.
    pub fn regex(name: impl Into<String>, pattern: impl Into<String>) -> Result<Matcher, BadRegex> {
        let value = pattern.into();
        Ok(Matcher { name: name.into(), test: Test::Regex(anchored(&value)?), value })
    }

    /// Makes `name!~"pattern"`.
    ///
    /// # Errors
    /// If `pattern` is not a regular expression.
    pub fn not_regex(name: impl Into<String>, pattern: impl Into<String>) -> Result<Matcher, BadRegex> {
        let value = pattern.into();
        Ok(Matcher { name: name.into(), test: Test::NotRegex(anchored(&value)?), value })
    }

    /// Returns the label it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns how it compares.
    pub fn kind(&self) -> MatchKind {
        match self.test {
            Test::Equal => MatchKind::Equal,
            Test::NotEqual => MatchKind::NotEqual,
            Test::Regex(_) => MatchKind::Regex,
            Test::NotRegex(_) => MatchKind::NotRegex,
        }
    }

    /// Returns what it compares with: a value, or a regular expression.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the one value it lets through, if it is an equality.
    pub fn equal_value(&self) -> Option<&str> {
        matches!(self.test, Test::Equal).then_some(self.value.as_str())
    }

    /// Tells whether it lets `value` through; an absent label is `""`.
    pub fn is_match(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal => self.value == value,
            Test::NotEqual => self.value != value,
            Test::Regex(regex) => regex.is_match(value),
            Test::NotRegex(regex) => !regex.is_match(value),
        }
    }

    /// Tells whether it lets the series with these final labels through.
    pub fn is_match_labels(&self, labels: &Labels) -> bool {
        self.is_match(labels.get(&self.name).unwrap_or(""))
    }
}

/// Compiles `pattern` so that it matches whole values, newlines included, as Prometheus does.
///
/// # Errors
/// If `pattern` is not a regular expression.
pub fn anchored(pattern: &str) -> Result<regex::Regex, BadRegex> {
    regex::Regex::new(&format!("^(?s:{pattern})$"))
        .map_err(|source| BadRegex { pattern: pattern.into(), source: Box::new(source) })
}

/// One series and those of its samples that were asked for, staleness markers included.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Final labels, `__name__` included.
    pub labels: Labels,
    /// In time order, each time once.
    pub samples: Vec<Sample>,
}

/// Something that holds series.
///
/// A batch is a handful of series; batches come in no order, each final label set once over all of them.
pub trait Select {
    /// Why it could not answer.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the series that all `matchers` let through, with their samples inside `range`.
    ///
    /// Series without a sample inside are left out.
    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Self::Error>>, Self::Error>;

    /// Returns the same series, of which only the newest sample inside `range` has to be there.
    ///
    /// # Errors
    /// As [`Select::select`].
    fn select_newest(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Self::Error>>, Self::Error> {
        self.select(matchers, range)
    }

    /// Returns how often something was left out of an answer because it could not be read.
    fn left_out(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_see_an_absent_label_as_empty() {
        let labels = Labels::new([("job", "node\n1")]);
        let check =
            |matcher: Matcher, expected: bool| assert_eq!(matcher.is_match_labels(&labels), expected, "{matcher:?}");
        check(Matcher::equal("job", "node\n1"), true);
        check(Matcher::equal("zone", ""), true);
        check(Matcher::not_equal("zone", ""), false);
        check(Matcher::regex("job", "node.*").unwrap(), true);
        check(Matcher::regex("job", "ode.*").unwrap(), false);
        check(Matcher::not_regex("job", "a|node").unwrap(), true);
        assert!(Matcher::regex("job", "(").is_err());
    }
}
