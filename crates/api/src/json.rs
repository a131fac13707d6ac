//! How numbers, labels and times are written.

use std::fmt::Write;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use firetower_model::{Answered, Labels, Timestamp};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Wraps `data` in the envelope of a success.
pub(crate) fn success(data: Value) -> Response {
    plain(&json!({ "status": "success", "data": data }))
}

/// Answers with `body` alone.
pub(crate) fn plain(body: &Value) -> Response {
    text(body.to_string())
}

/// Answers with `body`, JSON already.
pub(crate) fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Returns seconds since the unix epoch, with milliseconds; null for a moment that never was.
pub(crate) fn seconds(at: Timestamp) -> Value {
    if at == Timestamp::MIN || at == Timestamp::MAX { Value::Null } else { json!(at.as_seconds()) }
}

/// Returns the moment as RFC 3339 in UTC with milliseconds; null for one that never was.
pub(crate) fn rfc3339(at: Timestamp) -> Value {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .map_or(Value::Null, Value::from)
}

/// Writes a sample's value as Prometheus does: the shortest decimal that reads back, exponents only at the ends.
///
/// Source: Prometheus `util/jsonutil/marshal.go`, `MarshalFloat`.
pub(crate) fn write_value(out: &mut String, value: f64) {
    let size = value.abs();
    let written = if value.is_nan() {
        out.write_str("NaN")
    } else if value.is_infinite() {
        out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else if size == 0.0 || (1e-6..1e21).contains(&size) {
        write!(out, "{value}")
    } else {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        write!(out, "{digits}e{sign}{exponent:0>2}")
    };
    written.expect("writing to a string does not fail");
}

/// Writes a number of JSON, the shortest that reads back; null for what is none.
pub(crate) fn write_number(out: &mut String, value: f64) {
    if value.is_finite() { write_value(out, value) } else { out.push_str("null") }
}

/// Writes a sample's time as Prometheus does: seconds, and milliseconds where there are any.
///
/// Source: Prometheus `util/jsonutil/marshal.go`, `MarshalTimestamp`.
pub(crate) fn write_time(out: &mut String, at: Timestamp) {
    let millis = at.as_millis();
    let (sign, size) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
    let written = match size % 1_000 {
        0 => write!(out, "{sign}{}", size / 1_000),
        rest => write!(out, "{sign}{}.{rest:03}", size / 1_000),
    };
    written.expect("writing to a string does not fail");
}

/// Writes labels as an object, in order of their names.
pub(crate) fn write_labels(out: &mut String, labels: &Labels) {
    for (at, (name, value)) in labels.iter().enumerate() {
        out.push(if at == 0 { '{' } else { ',' });
        write!(out, "{}:{}", Value::from(name), Value::from(value)).expect("writing to a string does not fail");
    }
    out.push_str(if labels.is_empty() { "{}" } else { "}" });
}

/// Writes what stands after the data of an answer: nothing where there is nothing to say.
pub(crate) fn write_notes(out: &mut String, warnings: &[String], infos: &[String]) {
    for (name, notes) in [("warnings", warnings), ("infos", infos)].into_iter().filter(|(_, notes)| !notes.is_empty()) {
        write!(out, ",{}:{}", Value::from(name), Value::from(notes)).expect("writing to a string does not fail");
    }
}

/// Writes how many targets there are below, of how many those are that answered, and who did not.
pub(crate) fn write_answered(out: &mut String, answered: &Answered) {
    write!(out, ",\"coverage\":{}", coverage(answered)).expect("writing to a string does not fail");
}

/// Returns how many targets there are below, of how many those are that answered, and who did not.
pub(crate) fn coverage(answered: &Answered) -> Value {
    let missing = answered.missing.iter();
    let missing: Vec<Value> = missing
        .map(|missing| json!({ "node": missing.node, "targets": missing.targets, "reason": missing.reason }))
        .collect();
    json!({ "expected": answered.expected, "answered": answered.answered, "missing": missing })
}

/// Returns a warning for each node that did not answer.
pub(crate) fn missing(answered: &Answered) -> impl Iterator<Item = String> {
    answered.missing.iter().map(|missing| match missing.targets {
        Some(1) => format!("{} did not answer ({}): 1 target is missing", missing.node, missing.reason),
        Some(targets) => format!("{} did not answer ({}): {targets} targets are missing", missing.node, missing.reason),
        None => format!("{} did not answer ({})", missing.node, missing.reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_like_gos() {
        let check = |value: f64, expected: &str| {
            let mut out = String::new();
            write_value(&mut out, value);
            assert_eq!(out, expected);
        };
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(0.1, "0.1");
        check(1e-6, "0.000001");
        check(1e-7, "1e-07");
        check(-2.5e-100, "-2.5e-100");
        check(1e20, "100000000000000000000");
        check(1.5e21, "1.5e+21");
        check(f64::MAX, "1.7976931348623157e+308");
        check(9_007_199_254_740_991.0, "9007199254740991");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
    }

    #[test]
    fn times_have_milliseconds_where_there_are_any() {
        let check = |millis: i64, expected: &str| {
            let mut out = String::new();
            write_time(&mut out, Timestamp::from_millis(millis));
            assert_eq!(out, expected);
        };
        check(0, "0");
        check(1_700_000_000_000, "1700000000");
        check(1_700_000_000_050, "1700000000.050");
        check(-1_001, "-1.001");
        assert_eq!(rfc3339(Timestamp::from_millis(1_700_000_000_050)), "2023-11-14T22:13:20.05Z");
        assert_eq!(rfc3339(Timestamp::MIN), Value::Null);
        assert_eq!(seconds(Timestamp::MIN), Value::Null);
    }

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        write_labels(&mut out, &Labels::new([("__name__", "m"), ("a", "\"\n\u{1}é")]));
        write_labels(&mut out, &Labels::empty());
        assert_eq!(out, "{\"__name__\":\"m\",\"a\":\"\\\"\\n\\u0001é\"}{}");
    }
}
