//! What the values, labels and exemplars of a single OpenMetrics sample may be.

use super::line::{Exemplar, SampleLine};
use crate::exposition::family::FamilyType;
use crate::exposition::value::parse_float;

/// How many code points the names and values of an exemplar's labels may have in all.
const EXEMPLAR_CODE_POINTS_MAX: usize = 128;

/// Returns what may follow a family's name in the names of its samples.
pub(super) fn suffixes(kind: FamilyType) -> &'static [&'static str] {
    match kind {
        FamilyType::Counter => &["_total", "_created"],
        FamilyType::Histogram => &["_bucket", "_count", "_sum", "_created"],
        FamilyType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        FamilyType::Summary => &["", "_count", "_sum", "_created"],
        FamilyType::Info => &["_info"],
        FamilyType::Gauge | FamilyType::StateSet | FamilyType::Unknown => &[""],
    }
}

/// Finds what is wrong with the sample called `family` and `suffix`, seen alone, and at which byte of its line.
pub(super) fn check(
    family: &str,
    kind: FamilyType,
    suffix: &str,
    sample: &SampleLine<'_>,
) -> Result<(), (usize, String)> {
    check_value(family, kind, suffix, sample).map_err(|text| (sample.value_at, text))?;
    let is_histogram = matches!(kind, FamilyType::Histogram | FamilyType::GaugeHistogram);
    let is_bucket = is_histogram && suffix == "_bucket";
    if is_histogram && !is_bucket && sample.label("le").is_some() {
        return Err((0, "only buckets have the label le".into()));
    }
    if kind == FamilyType::Summary && !suffix.is_empty() && sample.label("quantile").is_some() {
        return Err((0, "a summary's count and sum do not have the label quantile".into()));
    }
    if let Some((name, _)) = sample.labels.iter().find(|(name, _)| name.starts_with('_')) {
        return Err((0, format!("the label {name:?} is reserved, as all that begin with _")));
    }
    let Some(Exemplar { at, code_points }) = sample.exemplar else { return Ok(()) };
    if !is_bucket && suffix != "_total" {
        return Err((at, "only buckets and the totals of counters have exemplars".into()));
    }
    if code_points > EXEMPLAR_CODE_POINTS_MAX {
        let text = format!("an exemplar's labels must have at most {EXEMPLAR_CODE_POINTS_MAX} characters in all");
        return Err((at, format!("{text}, not {code_points}")));
    }
    Ok(())
}

fn check_value(family: &str, kind: FamilyType, suffix: &str, sample: &SampleLine<'_>) -> Result<(), String> {
    let value = sample.value;
    match (kind, suffix) {
        (_, "_created") if !value.is_finite() => Err("the time of creation must be finite".into()),
        (FamilyType::Info, _) if value != 1.0 => Err("an info must be 1".into()),
        (FamilyType::StateSet, _) => check_state(family, sample),
        (FamilyType::Summary, "") => check_quantile(sample),
        (_, "_bucket") => check_bound(sample).and_then(|()| check_whole("a bucket", value)),
        (_, "_count" | "_gcount") => check_whole("a count", value),
        (_, "_total" | "_sum") if value.is_nan() || value < 0.0 => {
            Err(format!("a {} must be a number and not be negative", &suffix[1..]))
        }
        (_, "_gsum") if value.is_nan() => Err("a sum must be a number".into()),
        _ => Ok(()),
    }
}

fn check_whole(what: &str, value: f64) -> Result<(), String> {
    // An infinity has no fraction, but is no count either.
    if value >= 0.0 && value.is_finite() && value.fract() == 0.0 {
        return Ok(());
    }
    Err(format!("{what} must be a whole number and not be negative"))
}

fn check_state(family: &str, sample: &SampleLine<'_>) -> Result<(), String> {
    if sample.label(family).is_none() {
        return Err(format!("a state must have the label {family:?}, which says which state"));
    }
    if sample.value == 0.0 || sample.value == 1.0 { Ok(()) } else { Err("a state must be 0 or 1".into()) }
}

fn check_bound(sample: &SampleLine<'_>) -> Result<(), String> {
    let Some(le) = sample.label("le") else { return Err("a bucket must have the label le".into()) };
    check_number("le", le).map(|_| ())
}

fn check_quantile(sample: &SampleLine<'_>) -> Result<(), String> {
    let Some(quantile) = sample.label("quantile") else {
        return Err("a sample of a summary must have the label quantile, or be its count or sum".into());
    };
    if !(0.0..=1.0).contains(&check_number("quantile", quantile)?) {
        return Err(format!("quantile must lie from 0 to 1, not be {quantile:?}"));
    }
    if sample.value < 0.0 { Err("a quantile must not be negative".into()) } else { Ok(()) }
}

/// Reads the number that a label has as its value; infinity must be written as the specification writes it.
fn check_number(label: &str, value: &str) -> Result<f64, String> {
    match parse_float(value.as_bytes()) {
        Ok(number) if number.is_nan() => Err(format!("{label} must be a number, not NaN")),
        Ok(f64::INFINITY) if value != "+Inf" => Err(format!("{label}={value:?} must be written \"+Inf\"")),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("{label} must be a number, not {value:?}")),
    }
}
