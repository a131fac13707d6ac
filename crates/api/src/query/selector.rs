//! From the text of a query to what is selected.

use std::panic;
use std::time::{Duration, UNIX_EPOCH};

use firetower_model::labels::NAME;
use firetower_model::{Matcher, TimeRange, Timestamp};
use promql_parser::label::{MatchOp, Matcher as ParsedMatcher};
use promql_parser::parser::{AtModifier, Expr, Offset, VectorSelector, parse as parse_promql};

use crate::error::Error;

/// How far an instant looks back for a sample. Prometheus's `--query.lookback-delta`.
const LOOK_BACK: Duration = Duration::from_secs(5 * 60);

/// How much text a query may have outside of its strings: the parser's trees are taken apart recursively.
const BARE_BYTES_MAX: usize = 4 << 10;

/// How much text a query may have in all.
const QUERY_BYTES_MAX: usize = 256 << 10;

/// The parser reads the numbers of a duration into 32 bits and takes larger ones for zero.
const DURATION_DIGITS_MAX: usize = 9;

/// What a query selects.
#[derive(Debug)]
pub(super) struct Selector {
    /// All of them must let a series through.
    pub matchers: Vec<Matcher>,
    /// How far a range selector reaches back; `None` for an instant.
    pub range: Option<Duration>,
    /// `@`: looks at this moment instead of the query's.
    fixed_at: Option<Timestamp>,
    /// `offset`: looks so many milliseconds earlier.
    offset_ms: i64,
}

impl Selector {
    /// Returns which samples a query at `at` looks at: a range open at its left edge and closed at its right one.
    pub(super) fn samples_range(&self, at: Timestamp) -> TimeRange {
        let right = self.fixed_at.unwrap_or(at).as_millis().saturating_sub(self.offset_ms);
        let length = self.range.unwrap_or(LOOK_BACK);
        let right = Timestamp::from_millis(right.saturating_add(1));
        TimeRange { start: right - length, end: right }
    }
}

/// Reads `text`.
///
/// # Errors
/// [`Error::Query`] if it does not read, [`Error::Unsupported`] if it is more than a selector.
pub(super) fn parse(text: &str) -> Result<Selector, Error> {
    check_text(text).map_err(|reason| Error::Query { reason })?;
    // The parser panics at numbers of seconds that no duration holds, as in `m[1e300]`.
    let parsed = panic::catch_unwind(|| parse_promql(text)).unwrap_or_else(|_| Err("number out of range".into()));
    let mut expression = parsed.map_err(|reason| Error::Query { reason })?;
    while let Expr::Paren(inner) = expression {
        expression = *inner.expr;
    }
    match expression {
        Expr::VectorSelector(vector) => selector(vector, None),
        Expr::MatrixSelector(matrix) if matrix.range < Duration::from_millis(1) => {
            Err(Error::Query { reason: "duration must be greater than 0".into() })
        }
        Expr::MatrixSelector(matrix) => selector(matrix.vs, Some(matrix.range)),
        other => Err(Error::Unsupported { what: name_of(&other) }),
    }
}

/// Reads `text` as a plain selector without a time of its own.
///
/// # Errors
/// As [`parse`], and [`Error::Unsupported`] if it has a range, `offset` or `@`.
pub(crate) fn matchers(text: &str) -> Result<Vec<Matcher>, Error> {
    let selector = parse(text)?;
    if selector.range.is_some() || selector.fixed_at.is_some() || selector.offset_ms != 0 {
        return Err(Error::Unsupported { what: "a range, `offset` or `@` here" });
    }
    Ok(selector.matchers)
}

fn name_of(expression: &Expr) -> &'static str {
    match expression {
        Expr::Aggregate(_) => "an aggregation",
        Expr::Unary(_) | Expr::Binary(_) => "an operator",
        Expr::Subquery(_) => "a subquery",
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => "a literal",
        Expr::Call(_) => "a function",
        Expr::Paren(_) | Expr::VectorSelector(_) | Expr::MatrixSelector(_) | Expr::Extension(_) => "this",
    }
}

fn selector(vector: VectorSelector, range: Option<Duration>) -> Result<Selector, Error> {
    if !vector.matchers.or_matchers.is_empty() {
        return Err(Error::Unsupported { what: "`or` between matchers" });
    }
    let mut matchers: Vec<Matcher> = vector.name.into_iter().map(|name| Matcher::equal(NAME, name)).collect();
    for parsed in &vector.matchers.matchers {
        matchers.push(matcher(parsed)?);
    }
    let offset_ms = match vector.offset {
        None => 0,
        Some(Offset::Pos(by)) => millis(by),
        Some(Offset::Neg(by)) => -millis(by),
    };
    let fixed_at = match vector.at {
        // An instant query starts and ends at its own time.
        None | Some(AtModifier::Start | AtModifier::End) => None,
        Some(AtModifier::At(at)) => Some(Timestamp::from_millis(match at.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })),
    };
    Ok(Selector { matchers, range, fixed_at, offset_ms })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Compiles again what the parser compiled: its own expressions do not let `.` match a newline.
fn matcher(parsed: &ParsedMatcher) -> Result<Matcher, Error> {
    let (name, value) = (parsed.name.as_str(), parsed.value.as_str());
    let compiled = match parsed.op {
        MatchOp::Equal => Ok(Matcher::equal(name, value)),
        MatchOp::NotEqual => Ok(Matcher::not_equal(name, value)),
        MatchOp::Re(_) => Matcher::regex(name, value),
        MatchOp::NotRe(_) => Matcher::not_regex(name, value),
    };
    compiled.map_err(|error| Error::Query { reason: firetower_daemon::chain(&error).to_string() })
}

/// Refuses what the parser would misread or cannot bear.
fn check_text(text: &str) -> Result<(), String> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(format!("longer than {QUERY_BYTES_MAX} bytes"));
    }
    let bare = without_strings(text);
    if bare.len() > BARE_BYTES_MAX {
        return Err(format!("longer than {BARE_BYTES_MAX} bytes outside of its strings"));
    }
    for word in bare.split(|c: char| !c.is_ascii_alphanumeric()) {
        let is_duration =
            word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(['s', 'm', 'h', 'd', 'w', 'y']);
        let mut numbers = word.split(|c: char| !c.is_ascii_digit());
        if is_duration && !word.starts_with("0x") && numbers.any(|digits| digits.len() > DURATION_DIGITS_MAX) {
            return Err(format!("duration out of range: {word}"));
        }
    }
    Ok(())
}

/// Returns `text` with its quoted strings emptied.
fn without_strings(text: &str) -> String {
    let mut bare = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None => {
                bare.push(c);
                quote = matches!(c, '"' | '\'' | '`').then_some(c);
            }
            Some(open) if c == open => {
                bare.push(c);
                quote = None;
            }
            Some(open) if c == '\\' && open != '`' => {
                chars.next();
            }
            Some(_) => {}
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_become_matchers_and_a_range() {
        let check = |text: &str, expected: &[&str], start: i64, end: i64| {
            let selector = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let names: Vec<String> = selector
                .matchers
                .iter()
                .map(|matcher| format!("{}={}", matcher.name(), matcher.equal_value().unwrap_or("~")))
                .collect();
            assert_eq!(names, expected, "{text}");
            let range = selector.samples_range(Timestamp::from_millis(1_000_000));
            assert_eq!((range.start.as_millis(), range.end.as_millis()), (start, end), "{text}");
        };
        check("up", &["__name__=up"], 700_001, 1_000_001);
        check("(up)", &["__name__=up"], 700_001, 1_000_001);
        check("up{job=\"x\",a!~\"b\"}", &["__name__=up", "job=x", "a=~"], 700_001, 1_000_001);
        check("{\"dotted.name\", 'é'=`b`}", &["__name__=dotted.name", "é=b"], 700_001, 1_000_001);
        check("sum{by=\"x\"}", &["__name__=sum", "by=x"], 700_001, 1_000_001);
        check("up[1m30s]", &["__name__=up"], 910_001, 1_000_001);
        check("up[90]", &["__name__=up"], 910_001, 1_000_001);
        check("up offset 100s", &["__name__=up"], 600_001, 900_001);
        check("up offset -100s", &["__name__=up"], 800_001, 1_100_001);
        check("up[10s] @ 500 offset 100s", &["__name__=up"], 390_001, 400_001);
        check("up[10s] @ end()", &["__name__=up"], 990_001, 1_000_001);
        check("up[100y]", &["__name__=up"], 1_000_001 - 100 * 365 * 86_400_000, 1_000_001);
    }

    #[test]
    fn a_dot_matches_a_newline_and_expressions_are_anchored() {
        let selector = parse(r#"m{a=~"x.y"}"#).unwrap();
        assert!(selector.matchers[1].is_match("x\ny"));
        assert!(!selector.matchers[1].is_match("wx.y"));
    }

    #[test]
    fn the_rest_is_refused_with_a_reason() {
        let check = |text: &str, expected: &str| {
            let error = parse(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("rate(up[5m])", "only plain selectors and range selectors are answered by this release, not a function");
        check("sum(up)", "not an aggregation");
        check("up + 1", "not an operator");
        check("-up", "not an operator");
        check("up[5m:1m]", "not a subquery");
        check("1", "not a literal");
        check("{a=\"b\" or c=\"d\"}", "not `or` between matchers");
        check("up{", "unexpected");
        check("{}", "at least one");
        check("{a=~\".*\"}", "at least one");
        check("up{a=~\"(\"}", "illegal regex");
        check("up[0s]", "duration must be greater than 0");
        check("up[0]", "duration must be greater than 0");
        check("up[99999999999ms]", "duration out of range: 99999999999ms");
        check("up[1e300]", "number out of range");
        check(&"(".repeat(5_000), "longer than 4096 bytes");
        check(&format!("{}up", "-".repeat(4_000)), "not an operator");
        check(&format!("{}up{}", "(".repeat(2_000), ")".repeat(2_001)), "unexpected right parenthesis");
        check(&format!("m{{a=\"{}\"}}", "x".repeat(300_000)), "longer than 262144 bytes");
    }
}
