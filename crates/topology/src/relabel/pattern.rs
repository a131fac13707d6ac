//! Regular expressions as Prometheus means them.

use regex::Regex;

/// What Perl's classes stand for in RE2, where they are of ASCII only.
const CLASSES: [(char, &str); 6] = [
    ('d', "[0-9]"),
    ('D', "[^0-9]"),
    ('w', "[0-9A-Za-z_]"),
    ('W', "[^0-9A-Za-z_]"),
    ('s', r"[\t\n\x0C\r ]"),
    ('S', r"[^\t\n\x0C\r ]"),
];

/// Compiles an expression of RE2, so that it matches only the whole of its input and `.` matches a line feed too.
///
/// # Errors
/// A sentence about what is wrong with it.
///
/// Source: Prometheus `model/relabel/relabel.go`, `NewRegexp`; RE2's syntax as of Go's `regexp/syntax`.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    let ours = translate(text);
    Regex::new(&ours).and_then(|_| Regex::new(&format!("^(?s:{ours})$"))).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
        format!("{text:?} is not a regular expression: {reason}")
    })
}

/// Writes an expression of RE2 so that the crate `regex` reads it alike.
///
/// Three things differ: Perl's classes, which are of Unicode there; braces that begin no repetition, which are an error
/// there; and `[`, `&&`, `--` and `~~` in a class, which work on sets there.
fn translate(text: &str) -> String {
    let mut ours = String::with_capacity(text.len());
    let mut rest = text;
    let mut class_start = None;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match (c, class_start) {
            ('\\', _) => {
                let escaped = rest[1..].chars().next();
                let class = CLASSES.iter().find(|(letter, _)| Some(*letter) == escaped);
                taken += escaped.map_or(0, char::len_utf8);
                // `\pN`, `\p{Greek}` and `\x{e9}` have braces of their own.
                let braces = matches!(escaped, Some('p' | 'P' | 'x')) && rest[taken..].starts_with('{');
                taken += if braces { rest[taken..].find('}').map_or(0, |end| end + 1) } else { 0 };
                ours += class.map_or(&rest[..taken], |(_, ascii)| ascii);
            }
            ('[', None) => {
                let caret = if rest[1..].starts_with('^') { 1 } else { 0 };
                taken += caret;
                ours += &rest[..taken];
                class_start = Some(ours.len());
            }
            // A bracket right after the start is a member of the class.
            (']', Some(start)) if ours.len() > start => {
                ours.push(']');
                class_start = None;
            }
            ('[', Some(_)) if rest.starts_with("[:") && rest.contains(":]") => {
                taken = rest.find(":]").map_or(1, |end| end + 2);
                ours += &rest[..taken];
            }
            ('[' | ']' | '&' | '~', Some(_)) => {
                ours.push('\\');
                ours.push(c);
            }
            ('{', None) if !is_repetition(rest) => ours += r"\{",
            _ => ours.push(c),
        }
        rest = &rest[taken..];
    }
    ours
}

/// Tells whether a text begins with `{n}`, `{n,}` or `{n,m}`.
fn is_repetition(text: &str) -> bool {
    let Some((inner, _)) = text[1..].split_once('}') else { return false };
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && is_number(least) && is_number(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_they_mean_in_re2() {
        #[rustfmt::skip]
        let cases = [
            (r"\d+", "42", true), (r"\d+", "٤٢", false), (r"\D+", "٤٢", true), (r"[\d.]+", "4.2", true),
            (r"\w+", "é", false), (r"[^\w]+", "é", true), (r"\S+", "a b", false), (r"\s", "\u{a0}", false),
            ("a{b}", "a{b}", true), ("a{2}", "aa", true), ("a{1,}", "aaa", true), ("a{1,2}", "aaa", false),
            ("a{,2}", "a{,2}", true), ("{{a}}", "{{a}}", true), (r"\{a\}", "{a}", true),
            ("[[]", "[", true), ("[a[b]+", "a[b", true), ("[]a]+", "]a", true), ("[^]a]+", "]", false),
            ("[a&&b]+", "a&b", true), ("[~~]", "~", true), ("[[:alpha:]_]+", "ab_", true), ("[{}]+", "{}", true),
            (r"\p{Greek}+", "λ", true), (r"\x{e9}", "é", true), (r"\pL", "é", true),
            ("(?i)ABC", "abc", true), ("a|b", "ab", false), ("", "", true), ("", "a", false), ("a.b", "a\nb", true),
            ("é{2}", "éé", true), (r"\.", ".", true), (r"a\\d", r"a\d", true),
        ];
        for (expression, text, expected) in cases {
            let regex = compile(expression).unwrap_or_else(|message| panic!("{message}"));
            assert_eq!(regex.is_match(text), expected, "{expression} on {text}");
        }
        let cases = [("a(", "unclosed group"), ("[a", "unclosed character class"), ("a)(b", "unopened group")];
        for (expression, expected) in cases {
            let message = compile(expression).unwrap_err();
            assert!(message.ends_with(expected), "{message}");
        }
    }
}
