//! What is done with a query's text before the parser sees it.

use std::panic;

use promql_parser::parser::Expr;

use crate::error::Error;

/// How much text a query may have outside of its strings: the parser's trees are taken apart recursively.
const BARE_BYTES_MAX: usize = 4 << 10;

/// How much text a query may have in all.
const QUERY_BYTES_MAX: usize = 256 << 10;

/// The parser reads the numbers of a duration into 32 bits and takes larger ones for zero: more digits are rewritten.
const DURATION_DIGITS_MAX: usize = 9;

/// Stands in the selector of `info` while the parser sees it, which refuses selectors that let everything through.
pub(crate) const PLACEHOLDER: &str = "__placeholder__";

/// Reads `text`.
///
/// # Errors
/// [`Error::Syntax`] if it does not read.
pub(crate) fn parse(text: &str) -> Result<Expr, Error> {
    let prepared = prepared(text).map_err(Error::syntax)?;
    // The parser panics at numbers of seconds that no duration holds, as in `m[1e300]`.
    let parsed = panic::catch_unwind(|| promql_parser::parser::parse(&prepared));
    parsed.unwrap_or_else(|_| Err("number out of range".into())).map_err(Error::syntax)
}

/// A stretch of a query's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// With its quotes.
    Text(&'a str),
    Comment,
    Word(&'a str),
    /// Anything else, one character; blanks are left out.
    Mark(char),
}

/// Cuts `text` into tokens, each with where it starts.
fn tokens(text: &str) -> Vec<(usize, Token<'_>)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        // Metrics may have colons in their names; behind a duration one begins the step of a subquery.
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':' && !first.is_ascii_digit();
        let length = match first {
            '"' | '\'' | '`' => string_bytes(rest, first),
            '#' => rest.find('\n').unwrap_or(rest.len()),
            first if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        match first {
            '"' | '\'' | '`' => tokens.push((at, Token::Text(&rest[..length]))),
            '#' => tokens.push((at, Token::Comment)),
            first if is_word(first) => tokens.push((at, Token::Word(&rest[..length]))),
            first if first.is_whitespace() => {}
            first => tokens.push((at, Token::Mark(first))),
        }
        at += length;
    }
    tokens
}

/// Returns how long the string is that `rest` begins with.
fn string_bytes(rest: &str, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return at + 1;
        }
        if c == '\\' && quote != '`' {
            chars.next();
        }
    }
    rest.len()
}

/// Refuses what the parser would misread or cannot bear, and rewrites what it does not know.
fn prepared(text: &str) -> Result<String, String> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(format!("longer than {QUERY_BYTES_MAX} bytes"));
    }
    let tokens = tokens(text);
    let in_strings: usize =
        tokens.iter().map(|(_, token)| if let Token::Text(text) = token { text.len() } else { 0 }).sum();
    if text.len() - in_strings > BARE_BYTES_MAX {
        return Err(format!("longer than {BARE_BYTES_MAX} bytes outside of its strings"));
    }
    let mut out = String::new();
    let mut copied = 0;
    let mut calls = Calls::default();
    for (at, token) in &tokens {
        match token {
            Token::Word(word) => {
                if let Some(seconds) = long_duration(word)? {
                    out.push_str(&text[copied..*at]);
                    out.push_str(&seconds);
                    copied = at + word.len();
                }
            }
            Token::Text(string) if string.contains('\\') && !string.starts_with('`') => {
                out.push_str(&text[copied..*at]);
                out.push_str(&with_bytes_joined(string));
                copied = at + string.len();
            }
            _ => {}
        }
        if calls.is_selector_of_info(*token) {
            out.push_str(&text[copied..=*at]);
            out.push_str(PLACEHOLDER);
            out.push_str("!=\"\",");
            copied = at + 1;
        }
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

/// Returns a duration with many digits as seconds, which mean the same wherever a duration may stand.
fn long_duration(word: &str) -> Result<Option<String>, String> {
    let is_duration = word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(['s', 'm', 'h', 'd', 'w', 'y']);
    let mut numbers = word.split(|c: char| !c.is_ascii_digit());
    if !is_duration || word.starts_with("0x") || numbers.all(|digits| digits.len() <= DURATION_DIGITS_MAX) {
        return Ok(None);
    }
    let millis = duration_millis(word).ok_or_else(|| format!("duration out of range: {word}"))?;
    Ok(Some(format!("{}.{:03}", millis / 1_000, millis % 1_000)))
}

/// Reads numbers with units.
fn duration_millis(mut word: &str) -> Option<u64> {
    let mut total = 0_u64;
    while !word.is_empty() {
        let (number, rest) = word.split_at(word.find(|c: char| !c.is_ascii_digit())?);
        let (unit, rest) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
        let unit_ms = match unit {
            "y" => 31_536_000_000,
            "w" => 604_800_000,
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit_ms)?)?;
        word = rest;
    }
    Some(total)
}

/// Follows the parentheses of a query, to find the second argument of `info`.
#[derive(Default)]
struct Calls {
    /// For each open parenthesis, whether it is a call of `info`, and which argument comes.
    open: Vec<(bool, usize)>,
    braces: usize,
    is_after_info: bool,
    is_after_comma: bool,
}

impl Calls {
    /// Takes the next token; tells whether it opens the selector that is the second argument of `info`.
    fn is_selector_of_info(&mut self, token: Token<'_>) -> bool {
        if token == Token::Comment {
            return false;
        }
        let is_second = matches!(self.open.last(), Some((true, 1))) && self.is_after_comma && token == Token::Mark('{');
        match token {
            Token::Mark('(') if self.braces == 0 => self.open.push((self.is_after_info, 0)),
            Token::Mark(')') if self.braces == 0 => drop(self.open.pop()),
            Token::Mark(',') if self.braces == 0 => {
                if let Some((_, argument)) = self.open.last_mut() {
                    *argument += 1;
                }
            }
            Token::Mark('{') => self.braces += 1,
            Token::Mark('}') => self.braces = self.braces.saturating_sub(1),
            _ => {}
        }
        self.is_after_info = token == Token::Word("info") && self.braces == 0;
        self.is_after_comma = token == Token::Mark(',') && self.braces == 0;
        is_second
    }
}

/// Returns a quoted string with the bytes joined to characters that it spells one by one, as in `"\xc3\xa9"`.
///
/// The parser takes each for a character of its own. Bytes that are no UTF-8 become U+FFFD.
fn with_bytes_joined(string: &str) -> String {
    let mut out = String::new();
    let mut bytes: Vec<u8> = Vec::new();
    let mut rest = string;
    while let Some(first) = rest.chars().next() {
        let spelled = spelled_byte(rest);
        if let Some((byte, length)) = spelled.filter(|(byte, _)| *byte >= 0x80) {
            bytes.push(byte);
            rest = &rest[length..];
            continue;
        }
        out.push_str(&String::from_utf8_lossy(&std::mem::take(&mut bytes)));
        // An escaped backslash must not begin another escape.
        let length =
            if first == '\\' { 1 + rest[1..].chars().next().map_or(0, char::len_utf8) } else { first.len_utf8() };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// Returns the byte that `rest` begins to spell, as `\xc3` or `\303`, and how long that is.
fn spelled_byte(rest: &str) -> Option<(u8, usize)> {
    let digits = rest.strip_prefix('\\')?;
    if let Some(digits) = digits.strip_prefix('x') {
        return Some((u8::from_str_radix(digits.get(..2)?, 16).ok()?, 4));
    }
    let digits = digits.get(..3).filter(|digits| digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)))?;
    Some((u8::from_str_radix(digits, 8).ok()?, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_does_not_know_is_rewritten() {
        let check = |text: &str, expected: &str| assert_eq!(prepared(text).as_deref(), Ok(expected));
        check("info(m, {a=~\".*\"})", "info(m, {__placeholder__!=\"\",a=~\".*\"})");
        check(
            "info(sum(m{a=\"b\",c=\"d\"}) by (a, b),{})",
            "info(sum(m{a=\"b\",c=\"d\"}) by (a, b),{__placeholder__!=\"\",})",
        );
        check("m{info=\"x\"} + info(m)", "m{info=\"x\"} + info(m)");
        check("label_join(m, \"info(\", \"{\", \"a\")", "label_join(m, \"info(\", \"{\", \"a\")");
        check(r#"{a="\xc3\xa9\\xc3"}"#, r#"{a="é\\xc3"}"#);
        check(r#"{a="\303\251"}"#, r#"{a="é"}"#);
        check(r#"{a="\xc5z"}"#, "{a=\"\u{fffd}z\"}");
        check("m # info(a, {", "m # info(a, {");
        check("m @ 1795824120000ms", "m @ 1795824120.000");
        check("m[1d10000000001ms:30s]", "m[10086400.001:30s]");
    }

    #[test]
    fn what_the_parser_cannot_bear_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = parse(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("up{", "unexpected");
        check("up[99999999999999999999ms]", "duration out of range: 99999999999999999999ms");
        check("up[1e300]", "number out of range");
        check(&"(".repeat(5_000), "longer than 4096 bytes");
        check(&format!("m{{a=\"{}\"}}", "x".repeat(300_000)), "longer than 262144 bytes");
    }
}
