//! Whether the global aggregator's API says what must be true.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use serde_json::Value;

use super::plan::{AGENT_JOB, Plan};
use crate::client::Client;
use crate::table::{Column, coverage, table};

/// How many unhealthy targets are asked for.
const LIMIT: &str = "100000";

/// How many windows may pass until the last complete one is no news any more.
const WINDOWS_LOOKED_AT: f64 = 4.0;

/// What was found, beside what was expected.
pub(super) struct Verdict {
    /// For reading.
    pub text: String,
    /// Whether everything is as expected.
    pub is_as_expected: bool,
}

/// What is true of one datacenter, or said to be.
#[derive(Debug, PartialEq)]
struct Facts {
    targets: u64,
    online: u64,
    offline: BTreeSet<String>,
    /// Targets with a row `up` in the last complete window.
    seen: u64,
    /// Those of them that answered.
    up: u64,
    /// Slots of that window: expected, reported, lost.
    slots: (u64, u64, u64),
}

/// Returns a table of what is expected of each datacenter, `broken` being the one whose agents are dead.
pub(super) fn expectation(plan: &Plan, broken: Option<&str>) -> String {
    let rows = plan.datacenter_names().into_iter().map(|name| row(name, "expected", &expected(plan, name, broken), ""));
    format!("\n{}\n", table(&COLUMNS, rows.collect()))
}

/// Asks the API and compares.
///
/// # Errors
/// If the API does not answer.
pub(super) fn judge(plan: &Plan, broken: Option<&str>, client: &Client) -> anyhow::Result<Verdict> {
    let mut rows = Vec::new();
    let mut is_as_expected = true;
    for name in plan.datacenter_names() {
        let (expected, found) = (expected(plan, name, broken), found(plan, name, client)?);
        let is_equal = expected == found;
        is_as_expected &= is_equal;
        rows.push(row(name, "expected", &expected, ""));
        rows.push(row(name, "found", &found, if is_equal { "ok" } else { "DIFFERS" }));
    }
    let sentence = match (is_as_expected, broken) {
        (true, None) => {
            "every target was seen at the global aggregator, with full coverage over the last complete window"
        }
        (true, Some(_)) => {
            "the API says what happened: the agents killed are offline, and known to be by scrapes that were made"
        }
        (false, _) => "the API does not say what it should",
    };
    Ok(Verdict { text: format!("{}\n{sentence}\n", table(&COLUMNS, rows)), is_as_expected })
}

/// Works out from the topology what must be true.
fn expected(plan: &Plan, datacenter: &str, broken: Option<&str>) -> Facts {
    let targets = plan.targets_of(datacenter);
    let is_dead = |job_name: &str| broken == Some(datacenter) && job_name == AGENT_JOB;
    let dead = targets.iter().filter(|target| is_dead(&target.job_name));
    let offline: BTreeSet<String> = dead.map(|target| target.node_key().to_owned()).collect();
    let (all, dead) = (targets.len() as u64, offline.len() as u64);
    // Slots of a window, if all intervals divide it; a longer interval leaves windows without a slot.
    let slots =
        targets.iter().map(|target| (plan.window.as_millis() / target.interval.as_millis().max(1)) as u64).sum();
    Facts { targets: all, online: all - dead, offline, seen: all, up: all - dead, slots: (slots, slots, 0) }
}

/// Asks the API what it takes to be true.
fn found(plan: &Plan, datacenter: &str, client: &Client) -> anyhow::Result<Facts> {
    let health = client.json("/health/summary", &[("datacenter", datacenter), ("limit", LIMIT)])?;
    let offline = list(&health["node_details"]).filter(|node| node["status"] == "offline");
    let offline = offline.filter_map(|node| node["node_key"].as_str()).map(str::to_owned).collect();

    let window = last_window(plan, datacenter, client)?;
    let sum =
        |member: &str| -> u64 { window.points.iter().filter_map(|point| point[member].as_f64()).sum::<f64>() as u64 };
    let slots = |member: &str| number(&window.coverage[member]);
    Ok(Facts {
        targets: number(&health["total_nodes"]),
        online: number(&health["online_nodes"]),
        offline,
        seen: sum("series"),
        up: sum("sum"),
        slots: (slots("expected"), slots("reported"), slots("lost")),
    })
}

/// The last complete window of a datacenter, as the global aggregator has it.
struct LastWindow {
    coverage: Value,
    /// Of all rows called `up`.
    points: Vec<Value>,
}

/// Reads the newest window that is complete and has come up.
fn last_window(plan: &Plan, datacenter: &str, client: &Client) -> anyhow::Result<LastWindow> {
    let window_seconds = plan.window.as_secs_f64();
    let status = client.json("/api/v1/status", &[])?;
    let complete_through = list(&status["data"]["regions"])
        .flat_map(|region| list(&region["datacenters"]))
        .find(|found| found["datacenter"] == datacenter)
        .and_then(|found| found["watermark"]["complete_through"].as_f64())
        .with_context(|| format!("no window of {datacenter} is complete yet"))?;
    let now = status["data"]["at"].as_f64().context("the status has no time")?;

    // What the primary says of itself may come before its rows, so some windows are looked at.
    let start = (complete_through - window_seconds * WINDOWS_LOOKED_AT).to_string();
    let end = complete_through.to_string();
    let params = [("name", "up"), ("datacenter", datacenter), ("start", start.as_str()), ("end", end.as_str())];
    let rows = client.json("/api/v1/rows", &params)?;
    let start_of = |value: &Value| value["start"].as_f64().unwrap_or(f64::NEG_INFINITY);
    let coverage = list(&rows["data"]["coverage"])
        .max_by(|a, b| start_of(a).total_cmp(&start_of(b)))
        .with_context(|| format!("no window of {datacenter} has come up"))?;
    let age = now - start_of(coverage) - window_seconds;
    if window_seconds * WINDOWS_LOOKED_AT < age {
        bail!("the last complete window of {datacenter} ended {age:.1} s ago");
    }
    let points = list(&rows["data"]["rows"]).flat_map(|row| list(&row["points"]));
    let points = points.filter(|point| start_of(point) == start_of(coverage)).cloned().collect();
    Ok(LastWindow { coverage: coverage.clone(), points })
}

const COLUMNS: [Column; 10] = [
    Column::Text("DATACENTER"),
    Column::Text(""),
    Column::Number("TARGETS"),
    Column::Number("ONLINE"),
    Column::Number("OFFLINE"),
    Column::Number("SEEN"),
    Column::Number("UP"),
    Column::Number("SLOTS"),
    Column::Number("COVERAGE"),
    Column::Text(""),
];

fn row(datacenter: &str, kind: &str, facts: &Facts, mark: &str) -> Vec<String> {
    let (expected, reported, _) = facts.slots;
    let covered = coverage(&serde_json::json!({ "expected": expected, "reported": reported }));
    let numbers = [facts.targets, facts.online, facts.offline.len() as u64, facts.seen, facts.up];
    let mut row = vec![datacenter.to_owned(), kind.to_owned()];
    row.extend(numbers.map(|number| number.to_string()));
    row.extend([format!("{reported}/{expected}"), covered, mark.to_owned()]);
    row
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::path::Path;
    use std::thread;

    use serde_json::json;

    use super::*;
    use crate::access::Access;
    use crate::load;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology");

    /// Serves what a global aggregator would say: all well, but for the agents of `broken`, and `lost` slots in ams.
    fn serve(broken: Option<&'static str>, lost: u64, ended_seconds_ago: f64) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                reader.read_line(&mut line).unwrap();
                while reader.read_line(&mut String::new()).unwrap() > 2 {}
                let body = answer(&line, broken, lost, ended_seconds_ago).to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        url
    }

    fn client(broken: Option<&'static str>, lost: u64, ended_seconds_ago: f64) -> Client {
        Client::new(&Access::plain(serve(broken, lost, ended_seconds_ago))).unwrap()
    }

    fn answer(line: &str, broken: Option<&str>, lost: u64, ended_seconds_ago: f64) -> Value {
        let is_broken = broken.is_some_and(|name| line.contains(&format!("datacenter={name}")));
        if line.contains("/health/summary") {
            let agents =
                (6144..6148).map(|port| json!({ "node_key": format!("127.0.0.1:{port}"), "status": "offline" }));
            let nodes: Vec<Value> = if is_broken { agents.collect() } else { Vec::new() };
            return json!({ "total_nodes": 5, "online_nodes": 5 - nodes.len(), "node_details": nodes });
        }
        if line.contains("/api/v1/status") {
            let datacenters = ["dub", "ams", "nyc"]
                .map(|name| json!({ "datacenter": name, "watermark": { "complete_through": 100.0 } }));
            return json!({ "data": { "at": 100.0 + ended_seconds_ago, "regions": [{ "datacenters": datacenters }] } });
        }
        let lost = if line.contains("datacenter=ams") { lost } else { 0 };
        let window =
            |start: f64| json!({ "start": start, "expected": 5, "reported": 5 - lost, "late": 0, "lost": lost });
        let row = |series: u64, sum: f64| {
            let points = [90.0, 95.0].map(|start| json!({ "start": start, "series": series, "sum": sum }));
            json!({ "points": points })
        };
        let rows = [row(4, if is_broken { 0.0 } else { 4.0 }), row(1, 1.0)];
        json!({ "data": { "rows": rows, "coverage": [window(90.0), window(95.0)] } })
    }

    #[test]
    fn the_api_is_held_against_the_topology() {
        let path = Path::new(FOLDER).join("demo.yaml");
        let plan = Plan::of(&load::topology(&path).unwrap(), &path, Path::new(FOLDER)).unwrap();
        let check = |truth: Option<&str>, said: Option<&'static str>, lost: u64, differs: &[&str]| {
            let verdict = judge(&plan, truth, &client(said, lost, 3.0)).unwrap();
            println!("{}", verdict.text);
            let marked: Vec<&str> = verdict.text.lines().filter(|line| line.ends_with("DIFFERS")).collect();
            let marked: Vec<&str> = marked.iter().filter_map(|line| line.split_whitespace().next()).collect();
            assert_eq!((marked.as_slice(), verdict.is_as_expected), (differs, differs.is_empty()), "{}", verdict.text);
        };
        check(None, None, 0, &[]);
        check(None, None, 1, &["ams"]);
        check(None, Some("ams"), 0, &["ams"]);
        check(Some("ams"), Some("ams"), 0, &[]);
        check(Some("ams"), None, 0, &["ams"]);
        check(Some("dub"), Some("ams"), 0, &["dub", "ams"]);
        let old = judge(&plan, None, &client(None, 0, 60.0)).map(|_| ()).unwrap_err();
        assert_eq!(old.to_string(), "the last complete window of dub ended 60.0 s ago");
    }
}
