//! Asks one case and looks at the answer.

use std::collections::BTreeMap;
use std::time::Duration;

use firetower_model::{Labels, Timestamp};
use firetower_promql::{Answer, Curve, Error, Query, Question, Steps, Value, is_absent};

use crate::script::{Case, Point};

/// How far Prometheus looks back.
pub(crate) const LOOK_BACK: Duration = Duration::from_secs(300);

/// Answers a query.
pub(crate) type Asked<'a> = &'a dyn Fn(&Query, &Question) -> Result<Answer, Error>;

/// Returns why the case fails, if it does.
pub(crate) fn run(case: &Case, asked: Asked<'_>) -> Result<(), String> {
    let at = Timestamp::from_millis;
    let steps = match case.step_ms {
        0 => Steps::instant(at(case.samples.map_or(case.start_ms, |(_, end, _)| end))),
        step => Steps::range(at(case.start_ms), at(case.end_ms), Duration::from_millis(step as u64)),
    };
    let answer = ask(case, asked, steps);
    if case.must_fail {
        return match answer {
            Ok(_) => Err("must fail".into()),
            Err(Error::Syntax { reason }) => Err(format!("not understood: {reason}")),
            Err(_) => Ok(()),
        };
    }
    let answer = answer.map_err(|error| error.to_string())?;
    check_notes(case, &answer)?;
    compare(case, &answer, 0..steps.count())?;
    let is_of_range = ["start()", "end()", "range()", "step()", "sort"].iter().any(|word| case.query.contains(word));
    if case.step_ms > 0 || case.samples.is_some() || case.text.is_some() || is_of_range {
        return Ok(());
    }
    let minute = Duration::from_secs(60);
    let around = Steps::range(at(case.start_ms) - minute, at(case.start_ms) + minute, minute);
    match ask(case, asked, around) {
        Ok(answer) => compare(case, &answer, 1..2).map_err(|why| format!("within a range: {why}")),
        Err(error) => Err(format!("within a range: {error}")),
    }
}

fn ask(case: &Case, asked: Asked<'_>, steps: Steps) -> Result<Answer, Error> {
    let question = Question { steps, look_back: LOOK_BACK };
    asked(&Query::parse(&case.query)?, &question)
}

fn check_notes(case: &Case, answer: &Answer) -> Result<(), String> {
    for note in &case.notes {
        let is_fine = match note.as_str() {
            "warn" => !answer.warnings.is_empty(),
            "no_warn" => answer.warnings.is_empty(),
            "info" => !answer.infos.is_empty(),
            _ => answer.infos.is_empty(),
        };
        if !is_fine {
            return Err(format!("{note} is expected, not {:?} {:?}", answer.warnings, answer.infos));
        }
    }
    Ok(())
}

fn compare(case: &Case, answer: &Answer, steps: std::ops::Range<usize>) -> Result<(), String> {
    match (&answer.value, case.scalar) {
        (Value::Text(text), _) => is_equal(case.text.as_deref() == Some(text), text),
        (Value::Scalar(values), Some(expected)) => is_equal(same(values[steps.start], expected), &values[steps.start]),
        (Value::Scalar(values), None) => {
            compare_curves(case, &[Curve { labels: Labels::empty(), values: values.clone() }], steps)
        }
        (Value::Vector(curves), None) => compare_curves(case, curves, steps),
        (Value::Samples(found), None) => {
            let (start, _, step) = case.samples.ok_or("samples are not expected")?;
            let found: BTreeMap<Labels, Vec<(i64, f64)>> = found
                .iter()
                .map(|series| {
                    let samples = series.samples.iter().map(|sample| (sample.at.as_millis(), sample.value)).collect();
                    (series.labels.clone(), samples)
                })
                .collect();
            let expected: BTreeMap<Labels, Vec<(i64, f64)>> = case
                .series
                .iter()
                .map(|(labels, points)| {
                    (labels.clone(), values_of(points).map(|(at, v)| (start + at as i64 * step, v)).collect())
                })
                .collect();
            is_equal(found == expected, &found)
        }
        (other, Some(_)) => Err(format!("a scalar is expected, not {other:?}")),
    }
}

fn values_of(points: &[Point]) -> impl Iterator<Item = (usize, f64)> {
    points.iter().enumerate().filter_map(|(at, point)| match point {
        Point::Value(value) => Some((at, *value)),
        _ => None,
    })
}

fn compare_curves(case: &Case, curves: &[Curve], steps: std::ops::Range<usize>) -> Result<(), String> {
    let cut: Vec<(&Labels, Vec<(usize, f64)>)> = curves
        .iter()
        .map(|curve| {
            let values = curve.values[steps.clone()].iter().copied().enumerate();
            (&curve.labels, values.filter(|(_, value)| !is_absent(*value)).collect())
        })
        .filter(|(_, values): &(_, Vec<_>)| !values.is_empty())
        .collect();
    if cut.len() != case.series.len() {
        return Err(format!("{} series are expected: {cut:?}", case.series.len()));
    }
    let is_ordered = case.is_ordered && curves.first().is_none_or(|curve| curve.values.len() == 1);
    for (place, (labels, points)) in case.series.iter().enumerate() {
        let found = if is_ordered { cut.get(place) } else { cut.iter().find(|(at, _)| *at == labels) };
        let Some((found, values)) = found.filter(|(at, _)| *at == labels) else {
            return Err(format!("{labels} is missing or at another place: {cut:?}"));
        };
        let expected: Vec<(usize, f64)> = values_of(points).collect();
        let is_same = expected.len() == values.len()
            && expected.iter().zip(values).all(|(expected, value)| expected.0 == value.0 && same(expected.1, value.1));
        if !is_same {
            return Err(format!("{found}: {expected:?} are expected, not {values:?}"));
        }
    }
    Ok(())
}

fn is_equal(is_equal: bool, found: &impl std::fmt::Debug) -> Result<(), String> {
    if is_equal { Ok(()) } else { Err(format!("not {found:?}")) }
}

/// Compares as upstream does: to a millionth.
fn same(a: f64, b: f64) -> bool {
    let size = a.abs() + b.abs();
    a == b
        || a.is_nan() && b.is_nan()
        || a.is_finite() && b.is_finite() && {
            let difference = (a - b).abs();
            if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
                difference < 1e-6 * f64::MIN_POSITIVE
            } else {
                difference / size.min(f64::MAX) < 1e-6
            }
        }
}
