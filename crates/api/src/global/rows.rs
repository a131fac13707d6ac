//! `GET /api/v1/rows`: rows by name, job, datacenter and time.

use std::fmt::Write;
use std::time::Duration;

use firetower_model::labels::NAME;
use firetower_model::{Coverage, Labels, Revision, TimeRange, Timestamp};
use serde_json::Value;

use crate::error::Error;
use crate::json::{write_labels, write_number, write_time};
use crate::params::Params;

/// How far back rows are read if nobody says.
const RANGE_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// How many points an answer may have: about 150 MB of text.
const POINTS_MAX: usize = 1_000_000;

/// The label that a row's key holds beside its name.
const JOB: &str = "job";

/// A tier of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowTier {
    /// The windows themselves.
    Window,
    /// Steps of five minutes.
    FiveMinutes,
    /// Steps of an hour.
    Hour,
}

impl RowTier {
    fn as_str(self) -> &'static str {
        match self {
            RowTier::Window => "raw",
            RowTier::FiveMinutes => "5m",
            RowTier::Hour => "1h",
        }
    }
}

/// Which rows are asked for; `None` is any.
#[derive(Clone, Debug, PartialEq)]
pub struct RowsAsked {
    /// From which tier.
    pub tier: RowTier,
    /// Of this name.
    pub name: Option<String>,
    /// Of this job.
    pub job: Option<String>,
    /// Of this datacenter.
    pub datacenter: Option<String>,
    /// Of windows that start in it.
    pub range: TimeRange,
    /// How many points are wanted at most; more of them need not be read.
    pub points_max: usize,
}

/// The rows found, and what qualifies them.
#[derive(Clone, Debug, PartialEq)]
pub struct RowsFound {
    /// How long a window, or a step of the tier, is.
    pub window: Duration,
    /// In order of datacenter and key.
    pub rows: Vec<RowFound>,
    /// Of each window (or step) of each datacenter asked for, in order of time.
    pub coverage: Vec<CoverageFound>,
    /// Of the worst window of one datacenter.
    pub worst: Coverage,
    /// Of all windows of all datacenters asked for.
    pub total: Coverage,
    /// Whether there are more points than were wanted.
    pub is_truncated: bool,
}

/// One row over time.
#[derive(Clone, Debug, PartialEq)]
pub struct RowFound {
    /// Whose.
    pub datacenter: String,
    /// `__name__`, `job` and kept labels.
    pub key: Labels,
    /// In order of time.
    pub points: Vec<PointFound>,
}

/// A row in one window, or over one step of a tier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointFound {
    /// When it starts.
    pub start: Timestamp,
    /// How many series; over a step the mean of its windows.
    pub series: f64,
    /// How many values that are no number.
    pub special: u64,
    /// Sum of the finite values; over a step the mean of its windows.
    pub sum: f64,
    /// Least finite value; an infinity if there is none.
    pub min: f64,
    /// Greatest finite value; an infinity if there is none.
    pub max: f64,
    /// Growth of the counters.
    pub increase: f64,
    /// How many counters had nothing to measure their growth from.
    pub unanchored: u64,
}

/// What qualifies the rows of one window of one datacenter.
#[derive(Clone, Debug, PartialEq)]
pub struct CoverageFound {
    /// Whose.
    pub datacenter: String,
    /// When the window starts.
    pub start: Timestamp,
    /// Of its slots.
    pub coverage: Coverage,
    /// How often it has been put out.
    pub revision: Revision,
}

pub(super) fn read_params(params: &Params, now: Timestamp) -> Result<RowsAsked, Error> {
    params.only(&["name", "job", "datacenter", "start", "end", "tier"])?;
    let text = |name: &str| params.get(name).map(str::to_owned);
    Ok(RowsAsked {
        tier: read_tier(params.get("tier").unwrap_or("raw"))?,
        name: text("name"),
        job: text("job"),
        datacenter: text("datacenter"),
        range: params.range(now, RANGE_DEFAULT)?,
        points_max: POINTS_MAX,
    })
}

fn read_tier(word: &str) -> Result<RowTier, Error> {
    match word {
        "raw" | "window" | "15s" => Ok(RowTier::Window),
        "5m" => Ok(RowTier::FiveMinutes),
        "1h" => Ok(RowTier::Hour),
        _ => Err(Error::Parameter { name: "tier", value: word.into(), expected: "raw, 5m or 1h" }),
    }
}

/// Writes the answer: as text at once, since a tree of values would be ten times its size.
pub(super) fn write(asked: &RowsAsked, found: &RowsFound) -> Result<String, Error> {
    if found.is_truncated {
        return Err(Error::TooLarge { what: "points", most: asked.points_max as u64 });
    }
    let mut out = String::from(r#"{"status":"success","data":{"window_seconds":"#);
    write_number(&mut out, found.window.as_secs_f64());
    put(&mut out, format_args!(r#","tier":"{}","rows":["#, asked.tier.as_str()));
    for (at, row) in found.rows.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        write_row(&mut out, row);
    }
    out.push_str("],\"coverage\":[");
    for (at, window) in found.coverage.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        put(&mut out, format_args!(r#"{{"datacenter":{},"start":"#, Value::from(window.datacenter.as_str())));
        write_time(&mut out, window.start);
        out.push(',');
        write_coverage(&mut out, &window.coverage);
        put(&mut out, format_args!(r#","revision":{}}}"#, window.revision.count()));
    }
    for (name, coverage) in [("],\"coverage_worst\":{", &found.worst), ("},\"coverage_total\":{", &found.total)] {
        out.push_str(name);
        write_coverage(&mut out, coverage);
    }
    out.push_str("}}}");
    Ok(out)
}

fn write_row(out: &mut String, row: &RowFound) {
    let text = |text: &str| Value::from(text);
    let kept = Labels::new(row.key.iter().filter(|(name, _)| *name != NAME && *name != JOB));
    put(out, format_args!(r#"{{"datacenter":{},"name":{},"labels":"#, text(&row.datacenter), text(row.key.name())));
    write_labels(out, &kept);
    put(out, format_args!(r#","job":{},"points":["#, text(row.key.get(JOB).unwrap_or_default())));
    for (at, point) in row.points.iter().enumerate() {
        out.push_str(if at == 0 { "{\"start\":" } else { ",{\"start\":" });
        write_time(out, point.start);
        for (name, value) in [
            ("series", point.series),
            ("special", point.special as f64),
            ("sum", point.sum),
            ("min", point.min),
            ("max", point.max),
            ("increase", point.increase),
            ("unanchored", point.unanchored as f64),
        ] {
            put(out, format_args!(",\"{name}\":"));
            write_number(out, value);
        }
        out.push('}');
    }
    out.push_str("]}");
}

fn write_coverage(out: &mut String, coverage: &Coverage) {
    let Coverage { expected, reported, late, lost } = coverage;
    put(out, format_args!(r#""expected":{expected},"reported":{reported},"late":{late},"lost":{lost}"#));
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string does not fail");
}
