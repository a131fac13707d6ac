//! Parts as text, which reads as the same plan again.

use firetower_model::Matcher;

use crate::aggregate::{Grouping, Operation};
use crate::plan::{Fixed, Range, Scalar, Selector, Shift, Vector};

/// Writes an aggregation of a local vector.
pub(super) fn aggregate(operation: &Operation, grouping: &Grouping, of: &Vector) -> String {
    let names: Vec<String> = grouping.names.iter().map(|name| label(name)).collect();
    let how = if grouping.is_by { "by" } else { "without" };
    let parameter = match operation {
        Operation::Quantile(of) | Operation::Some(of) | Operation::Share(of) | Operation::Best { count: of, .. } => {
            format!("{}, ", scalar(of))
        }
        Operation::CountValues(label) => format!("{}, ", quoted(label)),
        _ => String::new(),
    };
    format!("{} {how} ({}) ({parameter}{})", operation.name(), names.join(", "), vector(of))
}

/// Writes a local vector.
///
/// # Panics
/// If it is not local.
pub(super) fn vector(of: &Vector) -> String {
    match of {
        Vector::Newest(selected) => selector(selected, None),
        Vector::SampleTimes(selected) => format!("timestamp({})", selector(selected, None)),
        Vector::EvaluationTimes(of) => format!("timestamp({})", vector(of)),
        Vector::Windows { function, arguments, range: of } => {
            let mut written: Vec<String> = arguments.iter().map(scalar).collect();
            let place = if function.name == "quantile_over_time" { written.len() } else { 0 };
            written.insert(place, range(of));
            format!("{}({})", function.name, written.join(", "))
        }
        Vector::Map { function, arguments, of } => {
            let written: Vec<String> = std::iter::once(vector(of)).chain(arguments.iter().map(scalar)).collect();
            format!("{}({})", function.name, written.join(", "))
        }
        Vector::WithScalar { operator, is_bool, of, scalar: other, is_scalar_left } => {
            let (of, other) = (vector(of), scalar(other));
            let (left, right) = if *is_scalar_left { (other, of) } else { (of, other) };
            format!("({left}) {}{} ({right})", operator.as_str(), if *is_bool { " bool" } else { "" })
        }
        Vector::Aggregate { operation, grouping, of } => aggregate(operation, grouping, of),
        other => unreachable!("not local: {other:?}"),
    }
}

fn range(of: &Range) -> String {
    match of {
        Range::Selector { selector: selected, range_ms } => selector(selected, Some(*range_ms)),
        Range::Subquery { of, range_ms, step_ms, shift: by } => {
            let step = step_ms.map(|step| format!("{step}ms")).unwrap_or_default();
            format!("({})[{range_ms}ms:{step}]{}", vector(of), shift(*by))
        }
    }
}

fn selector(of: &Selector, range_ms: Option<i64>) -> String {
    let matchers: Vec<String> = of.matchers.iter().map(matcher).collect();
    let range = range_ms.map(|range| format!("[{range}ms]")).unwrap_or_default();
    format!("{{{}}}{range}{}", matchers.join(","), shift(of.shift))
}

fn matcher(of: &Matcher) -> String {
    format!("{}{}{}", label(of.name()), of.kind().as_str(), quoted(of.value()))
}

fn shift(of: Shift) -> String {
    let at = match of.fixed {
        None => String::new(),
        Some(Fixed::Start) => " @ start()".into(),
        Some(Fixed::End) => " @ end()".into(),
        Some(Fixed::At(at)) => {
            let sign = if at < 0 { "-" } else { "" };
            format!(" @ {sign}{}.{:03}", at.unsigned_abs() / 1_000, at.unsigned_abs() % 1_000)
        }
    };
    match of.offset_ms {
        0 => at,
        offset => format!("{at} offset {offset}ms"),
    }
}

fn scalar(of: &Scalar) -> String {
    match of {
        Scalar::Number(value) if value.is_nan() => "NaN".into(),
        Scalar::Number(value) if value.is_infinite() => (if *value > 0.0 { "Inf" } else { "-Inf" }).into(),
        Scalar::Number(value) => format!("{value:?}"),
        Scalar::Time => "time()".into(),
        Scalar::Start => "start()".into(),
        Scalar::End => "end()".into(),
        Scalar::Step => "step()".into(),
        Scalar::Length => "range()".into(),
        Scalar::Only(of) => format!("scalar({})", vector(of)),
        Scalar::Negative(of) => format!("-({})", scalar(of)),
        Scalar::Binary { operator, left, right } => {
            let (written, left, right) = (operator.as_str(), scalar(left), scalar(right));
            match operator {
                _ if operator.is_function() => format!("{written}({left}, {right})"),
                // Between scalars a comparison is always `bool`.
                _ if operator.is_comparison() => format!("({left}) {written} bool ({right})"),
                _ => format!("({left}) {written} ({right})"),
            }
        }
    }
}

/// Writes the name of a label, in quotes unless it is a plain one.
fn label(name: &str) -> String {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty();
    if is_plain { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
