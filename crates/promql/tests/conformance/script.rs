//! Reads the language of Prometheus's test scripts.

use std::sync::LazyLock;
use std::time::Duration;

use firetower_model::{Labels, STALE};
use regex::Regex;

static INSTANT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^eval(?:_(\w+))?\s+instant\s+at\s+(\S+)\s+(.+)$").unwrap());
static RANGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^eval(?:_(\w+))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$").unwrap()
});
static DURATION_PART: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(\d+)(ms|[ywdhms])").unwrap());
static LABEL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\s*(?:"([^"]*)"|([\w.:]+))\s*(?:=\s*"((?:[^"\\]|\\.)*)")?\s*(,|\})"#).unwrap());
static HISTOGRAM: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{[^}]*\}\}([+-]\{\{[^}]*\}\})?").unwrap());
static POINT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?P<value>_|stale|histogram|[+-]?(?:[\d.]+(?:[eE][+-]?\d+)?|[iI]nf|[nN]a[nN]))(?P<by>[+-](?:[\d.]+(?:[eE][+-]?\d+)?))?(?:x(?P<times>\d+))?$").unwrap()
});

/// A command of a script.
pub(crate) enum Command {
    Clear,
    Load(Load),
    Case(Case),
}

/// Series to be loaded, evenly spaced from time 0.
pub(crate) struct Load {
    pub(crate) gap_ms: i64,
    pub(crate) has_custom_buckets: bool,
    pub(crate) has_start_times: bool,
    pub(crate) series: Vec<(Labels, Vec<Point>)>,
}

/// A place in a list of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Point {
    Nothing,
    Value(f64),
    Histogram,
}

/// A query and what it must answer.
pub(crate) struct Case {
    pub(crate) line: usize,
    pub(crate) query: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// 0 for an instant.
    pub(crate) step_ms: i64,
    pub(crate) must_fail: bool,
    pub(crate) is_ordered: bool,
    /// `warn`, `no_warn`, `info`, `no_info`
    pub(crate) notes: Vec<String>,
    pub(crate) scalar: Option<f64>,
    pub(crate) text: Option<String>,
    /// A range selector's samples, as `(start, end, step)`.
    pub(crate) samples: Option<(i64, i64, i64)>,
    pub(crate) series: Vec<(Labels, Vec<Point>)>,
}

/// Reads a script.
pub(crate) fn parse(text: &str) -> Vec<Command> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_blank = |line: &str| line.is_empty() || line.starts_with('#');
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let (line, first) = (lines[at], at + 1);
        at += 1;
        if is_blank(line) {
            continue;
        }
        if line == "clear" {
            commands.push(Command::Clear);
            continue;
        }
        let body_end = lines[at..].iter().position(|line| is_blank(line)).map_or(lines.len(), |length| at + length);
        let body = &lines[at..body_end];
        at = body_end;
        commands.push(match line.strip_prefix("load") {
            Some(head) => Command::Load(load(head, body)),
            None => Command::Case(case(line, body, first)),
        });
    }
    commands
}

fn load(head: &str, body: &[&str]) -> Load {
    let has_custom_buckets = head.starts_with("_with_nhcb");
    let gap_ms = duration(head.trim_start_matches("_with_nhcb").trim());
    let (start_times, series): (Vec<&str>, Vec<&str>) =
        body.iter().partition(|line| line.split(' ').next().is_some_and(|name| name.ends_with("@st")));
    Load {
        gap_ms,
        has_custom_buckets,
        has_start_times: !start_times.is_empty(),
        series: series.into_iter().map(one_series).collect(),
    }
}

fn case(head: &str, body: &[&str], line: usize) -> Case {
    let (kind, times, query) = if let Some(found) = INSTANT.captures(head) {
        let at = duration(&found[2]);
        (found.get(1).map(|kind| kind.as_str()), [at, at, 0], found[3].to_owned())
    } else {
        let found = RANGE.captures(head).unwrap_or_else(|| panic!("line {line}: {head}"));
        let times = [duration(&found[2]), duration(&found[3]), duration(&found[4])];
        (found.get(1).map(|kind| kind.as_str()), times, found[5].to_owned())
    };
    let mut case = Case {
        line,
        query,
        start_ms: times[0],
        end_ms: times[1],
        step_ms: times[2],
        must_fail: kind == Some("fail"),
        is_ordered: kind == Some("ordered"),
        notes: kind.filter(|kind| matches!(*kind, "warn" | "info")).map(str::to_owned).into_iter().collect(),
        scalar: None,
        text: None,
        samples: None,
        series: Vec::new(),
    };
    body.iter().for_each(|line| expect(&mut case, line));
    case
}

fn expect(case: &mut Case, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["expected_fail_message" | "expected_fail_regexp", ..] => {}
        ["expect", "ordered"] => case.is_ordered = true,
        ["expect", "fail", ..] => case.must_fail = true,
        ["expect", "string", ..] => case.text = Some(words[2].trim_matches('"').to_owned()),
        ["expect", "range", "vector", "from", start, "to", end, "step", step] => {
            case.samples = Some((duration(start), duration(end), duration(step)));
        }
        ["expect", note, ..] => case.notes.push((*note).to_owned()),
        [number] if number.parse::<f64>().is_ok() => case.scalar = number.parse().ok(),
        _ => case.series.push(one_series(line)),
    }
}

/// Reads `5m`, `1m30s`, `10s53ms` or `0`.
pub(crate) fn duration(text: &str) -> i64 {
    if text == "0" {
        return 0;
    }
    let unit = |name: &str| match name {
        "y" => Duration::from_secs(365 * 86_400),
        "w" => Duration::from_secs(7 * 86_400),
        "d" => Duration::from_secs(86_400),
        "h" => Duration::from_secs(3_600),
        "m" => Duration::from_secs(60),
        "s" => Duration::from_secs(1),
        _ => Duration::from_millis(1),
    };
    let part = |part: regex::Captures<'_>| part[1].parse::<i64>().unwrap() * unit(&part[2]).as_millis() as i64;
    assert!(DURATION_PART.is_match(text), "duration {text:?}");
    DURATION_PART.captures_iter(text).map(part).sum()
}

fn one_series(line: &str) -> (Labels, Vec<Point>) {
    let name_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let mut labels: Vec<(String, String)> = Vec::new();
    if name_end > 0 {
        labels.push(("__name__".into(), line[..name_end].into()));
    }
    let rest = line[name_end..].trim_start();
    let mut values = rest;
    if rest.starts_with('{') && !rest.starts_with("{{") {
        values = rest[1..].trim_start();
        if let Some(after) = values.strip_prefix('}') {
            values = after;
        } else {
            loop {
                let found = LABEL.captures(values).unwrap_or_else(|| panic!("labels of {line:?}"));
                let name = found.get(1).or(found.get(2)).unwrap().as_str();
                match found.get(3) {
                    Some(value) => labels.push((name.into(), value.as_str().replace("\\\"", "\""))),
                    None => labels.push(("__name__".into(), name.into())),
                }
                values = &values[found[0].len()..];
                if &found[4] == "}" {
                    break;
                }
            }
        }
    }
    labels.retain(|(_, value)| !value.is_empty());
    (Labels::new(labels), points(values))
}

fn points(text: &str) -> Vec<Point> {
    let text = HISTOGRAM.replace_all(text, "histogram");
    let mut points = Vec::new();
    for word in text.split_whitespace() {
        let found = POINT.captures(word).unwrap_or_else(|| panic!("value {word:?}"));
        let times: Option<usize> = found.name("times").map(|times| times.as_str().parse().unwrap());
        match &found["value"] {
            "_" => points.extend(vec![Point::Nothing; times.unwrap_or(1)]),
            "stale" => points.extend(vec![Point::Value(STALE); times.map_or(1, |times| times + 1)]),
            "histogram" => points.extend(vec![Point::Histogram; times.map_or(1, |times| times + 1)]),
            value => {
                let by: f64 = found.name("by").map_or(0.0, |by| by.as_str().parse().unwrap());
                let mut value: f64 = value.parse().unwrap();
                for _ in 0..=times.unwrap_or(0) {
                    points.push(Point::Value(value));
                    value += by;
                }
            }
        }
    }
    points
}
