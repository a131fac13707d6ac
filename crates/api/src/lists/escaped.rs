//! Names that are no names of Prometheus 2, as Prometheus 3 has them in URLs.

/// Reads `U__dotted_2e_name` as `dotted.name`; what is not written so stays as it is.
///
/// Source: Prometheus `common/model/metric.go`, `UnescapeName` with `ValueEncodingEscaping`.
pub(super) fn unescape(name: &str) -> String {
    name.strip_prefix("U__").and_then(decode).unwrap_or_else(|| name.to_owned())
}

fn decode(escaped: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        name.push_str(&rest[..at]);
        let (code, after) = rest[at + 1..].split_once('_')?;
        if code.is_empty() {
            name.push('_');
        } else {
            let is_code = code.len() <= 6 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = is_code.then(|| u32::from_str_radix(code, 16).ok()).flatten()?;
            name.push(char::from_u32(number)?);
        }
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_prometheus_writes_them() {
        let check = |name: &str, expected: &str| assert_eq!(unescape(name), expected, "{name}");
        check("job", "job");
        check("U__dotted_2e_name", "dotted.name");
        check("U__a__b", "a_b");
        check("U___1F525_", "🔥");
        check("U__", "");
        check("U__a_", "U__a_");
        check("U__a_2e", "U__a_2e");
        check("U__a_zz_", "U__a_zz_");
        check("U__a_d800_", "U__a_d800_");
        check("U__a_0000041_", "U__a_0000041_");
    }
}
