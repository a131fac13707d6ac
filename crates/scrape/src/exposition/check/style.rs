//! What is well-formed and yet not as it should be.
//!
//! Source: Prometheus `util/promlint` of `client_golang`; the OpenMetrics specification where it says "should".

use super::Remarks;
use super::line::Keyword;
use crate::exposition::Format;
use crate::exposition::family::FamilyType;

/// Units that a base unit should stand for.
const UNITS: [(&str, &str); 24] = [
    ("milliseconds", "seconds"),
    ("microseconds", "seconds"),
    ("nanoseconds", "seconds"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("kilobytes", "bytes"),
    ("megabytes", "bytes"),
    ("gigabytes", "bytes"),
    ("kibibytes", "bytes"),
    ("mebibytes", "bytes"),
    ("gibibytes", "bytes"),
    ("bits", "bytes"),
    ("millimeters", "meters"),
    ("centimeters", "meters"),
    ("kilometers", "meters"),
    ("milligrams", "grams"),
    ("kilograms", "grams"),
    ("milliamperes", "amperes"),
    ("millivolts", "volts"),
    ("kilojoules", "joules"),
    ("fahrenheit", "celsius"),
    ("percent", "ratio"),
];

/// Remarks on the name and help of a family.
pub(super) fn check_family(
    name: &str,
    kind: FamilyType,
    help: Option<&str>,
    format: Format,
    line: usize,
    remarks: &mut Remarks,
) {
    let mut remark = |text: String| remarks.style(line, format!("{name}: {text}"));
    if help.is_none_or(str::is_empty) {
        remark("there should be a help text".into());
    }
    if name.contains(':') {
        remark("colons are for the names of recording rules".into());
    }
    let has_hump = name.as_bytes().windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    if has_hump {
        remark("a name should be written in snake_case".into());
    }
    // In OpenMetrics the suffix is no part of the family's name.
    if format == Format::Text {
        match (kind, name.ends_with("_total")) {
            (FamilyType::Counter, false) => remark("the name of a counter should end with _total".into()),
            (FamilyType::Counter | FamilyType::Unknown, _) | (_, false) => {}
            (_, true) => remark("only the name of a counter should end with _total".into()),
        }
        let part = ["_bucket", "_count", "_sum"].into_iter().find(|part| name.ends_with(part));
        if let Some(part) = part.filter(|_| matches!(kind, FamilyType::Counter | FamilyType::Gauge)) {
            remark(format!("only parts of histograms and summaries should end with {part}"));
        }
    }
    for word in name.split('_') {
        if ["counter", "gauge", "histogram", "summary"].contains(&word) && is_named_after_type(word, kind) {
            remark(format!("a name should not have its type, {word}"));
        }
        if let Some((_, base)) = UNITS.iter().find(|(unit, _)| *unit == word) {
            remark(format!("the unit should be {base} rather than {word}"));
        }
    }
}

fn is_named_after_type(word: &str, kind: FamilyType) -> bool {
    FamilyType::of_text(word.as_bytes()) == Some(kind)
}

/// Remarks on the place of a piece of metadata among those of its family; `help` and `unit` are what it has by now.
pub(super) fn check_order(
    help: &Option<String>,
    unit: &Option<String>,
    keyword: Keyword,
    line: usize,
    remarks: &mut Remarks,
) {
    let is_late = match keyword {
        Keyword::Type => help.is_some() || unit.is_some(),
        Keyword::Unit => help.is_some(),
        Keyword::Help => false,
    };
    if is_late {
        remarks.style(line, "metadata should stand in the order TYPE, UNIT, HELP");
    }
}
