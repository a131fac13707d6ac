//! What a query finds: as a table, as CSV, or drawn.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, bail};
use firetower_topology::{format_duration, parse_duration};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::arguments::QueryArguments;
use crate::table::{Column, table};

/// How many steps a range has where nothing is said.
const STEPS: f64 = 120.0;

/// One series of an answer; a scalar is one without labels.
pub(super) struct Series<'a> {
    metric: &'a Value,
    /// Seconds since the unix epoch, and the value as text.
    pub(super) samples: Vec<(f64, &'a str)>,
}

/// Returns the path that answers, and with which parameters.
///
/// # Errors
/// If a time or a duration makes no sense.
pub(super) fn request(
    arguments: &QueryArguments,
    now: OffsetDateTime,
) -> anyhow::Result<(&'static str, Vec<(&'static str, String)>)> {
    let mut params = vec![("query", arguments.expression.clone())];
    let Some(start) = &arguments.start else {
        if let Some(at) = &arguments.time {
            params.push(("time", seconds("time", at, now)?.to_string()));
        }
        return Ok(("/api/v1/query", params));
    };
    let start = seconds("start", start, now)?;
    let end = arguments.end.as_ref().map_or_else(|| Ok(unix_seconds(now)), |end| seconds("end", end, now))?;
    if end < start {
        bail!("--end is {} before --start", format_duration(Duration::from_secs_f64(start - end)));
    }
    let step = match &arguments.step {
        Some(step) => duration("step", step)?.as_secs_f64(),
        None => ((end - start) / STEPS).ceil().max(1.0),
    };
    params.extend([("start", start.to_string()), ("end", end.to_string()), ("step", step.to_string())]);
    Ok(("/api/v1/query_range", params))
}

/// Reads a time: RFC 3339, seconds since the unix epoch, or how long before `now` it was.
fn seconds(name: &str, text: &str, now: OffsetDateTime) -> anyhow::Result<f64> {
    if let Some(seconds) = text.parse().ok().filter(|seconds: &f64| seconds.is_finite()) {
        return Ok(seconds);
    }
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(unix_seconds(at));
    }
    let ago = parse_duration(text).ok().with_context(|| {
        format!("--{name} {text:?} is no time: give 2026-01-31T12:00:00Z, seconds since the unix epoch, or how long ago, as 1h30m")
    })?;
    Ok(unix_seconds(now) - ago.as_secs_f64())
}

fn duration(name: &str, text: &str) -> anyhow::Result<Duration> {
    let duration = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.or_else(|| parse_duration(text).ok()).filter(|duration| !duration.is_zero());
    duration.with_context(|| format!("--{name} {text:?} is no duration above zero: give 15s, 1h30m, or seconds"))
}

/// Returns a time to the millisecond.
fn unix_seconds(at: OffsetDateTime) -> f64 {
    (at.unix_timestamp_nanos() / 1_000_000) as f64 / 1e3
}

/// Returns the series of an answer, or its one value.
pub(super) fn series(data: &Value) -> Vec<Series<'_>> {
    if matches!(data["resultType"].as_str(), Some("scalar" | "string")) {
        return vec![Series { metric: &Value::Null, samples: vec![sample(&data["result"])] }];
    }
    let all = data["result"].as_array().into_iter().flatten();
    all.map(|one| Series { metric: &one["metric"], samples: samples(one) }).collect()
}

fn samples(one: &Value) -> Vec<(f64, &str)> {
    match one["values"].as_array() {
        Some(values) => values.iter().map(sample).collect(),
        None => vec![sample(&one["value"])],
    }
}

fn sample(pair: &Value) -> (f64, &str) {
    (pair[0].as_f64().unwrap_or_default(), pair[1].as_str().unwrap_or_default())
}

impl Series<'_> {
    /// Returns `name{label="value",…}`.
    pub(super) fn name(&self) -> String {
        let pairs: Vec<String> = self
            .labels()
            .filter(|(name, _)| *name != "__name__")
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        let name = self.label("__name__");
        if pairs.is_empty() && !name.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", pairs.join(",")) }
    }

    fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.metric.as_object().into_iter().flatten();
        labels.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
    }

    fn label(&self, name: &str) -> &str {
        self.metric[name].as_str().unwrap_or_default()
    }
}

/// Returns one line for each sample.
pub(super) fn query_text(data: &Value) -> String {
    let mut rows = Vec::new();
    for series in series(data) {
        let name = series.name();
        rows.extend(series.samples.iter().map(|(at, value)| vec![name.clone(), moment(*at), (*value).to_owned()]));
    }
    table(&[Column::Text("SERIES"), Column::Text("TIME"), Column::Number("VALUE")], rows)
}

/// Returns one record for each sample, with a column for each label that any series has.
///
/// # Errors
/// If it cannot be written.
pub(super) fn query_csv(data: &Value) -> anyhow::Result<String> {
    let all = series(data);
    let names: BTreeSet<&str> = all.iter().flat_map(Series::labels).map(|(name, _)| name).collect();
    let mut records = csv::Writer::from_writer(Vec::new());
    records.write_record(names.iter().copied().chain(["time", "value"]))?;
    for series in &all {
        for (at, value) in &series.samples {
            let at = moment(*at);
            records.write_record(names.iter().map(|name| series.label(name)).chain([at.as_str(), value]))?;
        }
    }
    Ok(String::from_utf8(records.into_inner()?)?)
}

/// Returns seconds since the unix epoch as RFC 3339, to the millisecond.
pub(super) fn moment(seconds: f64) -> String {
    let nanos = (seconds * 1e3).round() as i128 * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|at| at.format(&Rfc3339).ok());
    at.unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn ask(arguments: &[&str]) -> anyhow::Result<String> {
        let parsed = Arguments::try_parse_from(["firetower", "query", "up"].iter().chain(arguments))?;
        let Command::Query(query) = parsed.command else { panic!("not a query") };
        let (path, params) = request(&query, OffsetDateTime::from_unix_timestamp(1_769_860_800)?)?;
        let params: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(format!("{path} {}", params.join(" ")))
    }

    #[test]
    fn times_are_absolute_or_ago() {
        let check = |arguments: &[&str], expected: &str| assert_eq!(ask(arguments).unwrap(), expected, "{arguments:?}");
        check(&[], "/api/v1/query query=up");
        check(&["--time", "2026-01-31T11:00:00+01:00"], "/api/v1/query query=up time=1769853600");
        check(&["--start", "1h"], "/api/v1/query_range query=up start=1769857200 end=1769860800 step=30");
        check(
            &["--start", "1769853600.5", "--end", "90s", "--step", "1m"],
            "/api/v1/query_range query=up start=1769853600.5 end=1769860710 step=60",
        );
        for (wrong, words) in [
            (["--time", "noon"].as_slice(), "--time \"noon\" is no time"),
            (&["--start", "1h", "--end", "2h"], "--end is 1h before --start"),
            (&["--start", "1h", "--step", "0"], "--step \"0\" is no duration above zero"),
            (&["--end", "1h"], "--start"),
        ] {
            let said = ask(wrong).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn answers_of_all_types_are_tables_and_csv() {
        let matrix = json!({ "resultType": "matrix", "result": [
            { "metric": { "__name__": "up", "job": "a,b" }, "values": [[0.5, "1"], [60, "NaN"]] },
            { "metric": { "zone": "x" }, "values": [[60, "+Inf"]] },
        ] });
        let table = "SERIES         TIME                    VALUE\n\
                     up{job=\"a,b\"}  1970-01-01T00:00:00.5Z      1\n\
                     up{job=\"a,b\"}  1970-01-01T00:01:00Z      NaN\n\
                     {zone=\"x\"}     1970-01-01T00:01:00Z     +Inf\n";
        assert_eq!(query_text(&matrix), table);
        let csv = "__name__,job,zone,time,value\n\
                   up,\"a,b\",,1970-01-01T00:00:00.5Z,1\n\
                   up,\"a,b\",,1970-01-01T00:01:00Z,NaN\n\
                   ,,x,1970-01-01T00:01:00Z,+Inf\n";
        assert_eq!(query_csv(&matrix).unwrap(), csv);
        let scalar = json!({ "resultType": "scalar", "result": [60, "4"] });
        assert_eq!(query_csv(&scalar).unwrap(), "time,value\n1970-01-01T00:01:00Z,4\n");
    }
}
