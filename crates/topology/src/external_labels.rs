//! `external_labels`: labels for what leaves the tree.

/// Writes the values of environment variables into the values of `external_labels`, as Prometheus 3 does: `$NAME` and
/// `${NAME}` stand for what `variable` returns, `$$` for one dollar sign.
///
/// Returns the names of the variables that are not set or empty; they stand for nothing.
///
/// Source: Prometheus `config/config.go`, `Load`; Go's `os.Expand`.
pub fn expand_external_labels(
    labels: &mut [(String, String)],
    variable: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut missing = Vec::new();
    for (_, value) in labels {
        *value = expand(value, |name| match variable(name).filter(|found| !found.is_empty()) {
            Some(found) => found,
            None => {
                missing.push(name.to_owned());
                String::new()
            }
        });
    }
    missing
}

fn expand(text: &str, mut variable: impl FnMut(&str) -> String) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded += &rest[..at];
        let after = &rest[at + 1..];
        let (name, length) = split_name(after);
        match name {
            Some("$") => expanded.push('$'),
            Some(name) => expanded += &variable(name),
            None if length == 0 => expanded.push('$'),
            // What looks like a variable and is none, such as `${}`, is taken out.
            None => {}
        }
        rest = &after[length..];
    }
    expanded + rest
}

/// Returns the name after a dollar sign, if there is one, and how many bytes it takes with its braces.
fn split_name(text: &str) -> (Option<&str>, usize) {
    let is_special = |byte: &u8| b"*#$@!?-0123456789".contains(byte);
    if let Some(inner) = text.strip_prefix('{') {
        return match inner.find('}') {
            None => (None, 1),
            Some(0) => (None, 2),
            Some(end) => (Some(&inner[..end]), end + 2),
        };
    }
    if text.as_bytes().first().is_some_and(is_special) {
        return (Some(&text[..1]), 1);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if end == 0 { (None, 0) } else { (Some(&text[..end]), end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_written_out_as_prometheus_does() {
        let cases = [
            ("plain", "plain", ""),
            ("${HOST}", "web-1", ""),
            ("$HOST:9090", "web-1:9090", ""),
            ("a-$HOST-${HOST}b", "a-web-1-web-1b", ""),
            ("$$HOST", "$HOST", ""),
            ("${$}", "$", ""),
            ("${NONE}x", "x", "NONE"),
            ("$EMPTY$NONE", "", "EMPTY NONE"),
            ("$1x", "x", "1"),
            ("100$", "100$", ""),
            ("$ x", "$ x", ""),
            ("${}x", "x", ""),
            ("${HOST", "HOST", ""),
            ("é${HOST}é", "éweb-1é", ""),
        ];
        for (text, expected, expected_missing) in cases {
            let mut labels = [("label".to_owned(), text.to_owned())];
            let missing = expand_external_labels(&mut labels, |name| match name {
                "HOST" => Some("web-1".into()),
                "EMPTY" => Some(String::new()),
                _ => None,
            });
            assert_eq!((labels[0].1.as_str(), missing.join(" ").as_str()), (expected, expected_missing), "{text}");
        }
    }
}
