//! The tree as two tables, and the unhealthy targets as a third.

use serde_json::Value;

use crate::table::{Column, age, bytes, count, coverage, decimal, table, text, time_of_day};

/// From how many seconds on it is said that a clock differs from its parent's.
const CLOCK_SHOWN_SECONDS: f64 = 1.0;

/// Returns the global aggregator's own line, a table of datacenters and one of monitors; where targets are unhealthy,
/// one of the first of them.
pub(crate) fn status_text(data: &Value) -> String {
    let totals = &data["totals"];
    let targets = &totals["targets"];
    let mut out = format!(
        "{} {} at {}: {} datacenters, {} primaries, {} secondaries ({} not connected), {} targets, {} up, {} down\n\n",
        text(&data["node"]),
        text(&data["version"]),
        time_of_day(&data["at"]),
        count(&totals["datacenters"]),
        count(&totals["primaries"]),
        count(&totals["secondaries"]),
        count(&totals["disconnected"]),
        count(&targets["total"]),
        count(&targets["up"]),
        count(&targets["down"]),
    );
    let troubled = std::iter::once(data).chain(below(data)).filter_map(trouble_line);
    let alarms: String = list(&data["alarms"]).map(alarm_line).chain(troubled).collect();
    if !alarms.is_empty() {
        out.push_str(&alarms);
        out.push('\n');
    }
    let skewed = clock_lines(data);
    if !skewed.is_empty() {
        out.push_str(&skewed);
        out.push('\n');
    }
    out.push_str(&datacenters(data));
    out.push('\n');
    out.push_str(&monitors(data));
    if list(&data["unhealthy"]).next().is_some() {
        out.push('\n');
        out.push_str(&unhealthy(data));
    }
    out
}

/// Returns a line for each monitor whose clock is far from its parent's.
fn clock_lines(data: &Value) -> String {
    let mut lines = String::new();
    for node in below(data) {
        let ahead = node["clock_ahead_seconds"].as_f64().unwrap_or(0.0);
        if ahead.abs() >= CLOCK_SHOWN_SECONDS {
            let way = if ahead > 0.0 { "ahead of" } else { "behind" };
            lines += &format!("clock of {} is {:.1} s {way} its parent's\n", text(&node["node"]), ahead.abs());
        }
    }
    lines
}

/// Returns the primaries and secondaries of all datacenters.
fn below(data: &Value) -> impl Iterator<Item = &Value> {
    let datacenters = list(&data["regions"]).flat_map(|region| list(&region["datacenters"]));
    datacenters.flat_map(|datacenter| list(&datacenter["primaries"]).chain(list(&datacenter["secondaries"])))
}

fn trouble_line(node: &Value) -> Option<String> {
    node["trouble"].as_str().map(|trouble| format!("ALARM {}: {trouble}\n", text(&node["node"])))
}

fn alarm_line(alarm: &Value) -> String {
    let (node, peer, samples) = (text(&alarm["node"]), text(&alarm["peer"]), count(&alarm["samples"]));
    match alarm["what"].as_str() {
        Some("excess") => format!("ALARM {node}: {peer} counts {samples} samples as delivered that were not applied\n"),
        _ => format!("ALARM {node}: its account with {peer} is off by {samples} samples\n"),
    }
}

fn unhealthy(data: &Value) -> String {
    let columns = [
        Column::Text("TARGET"),
        Column::Text("JOB"),
        Column::Text("DATACENTER"),
        Column::Text("STATE"),
        Column::Text("REASON"),
    ];
    let keys = ["instance", "job", "datacenter", "status", "reason"];
    let rows = list(&data["unhealthy"]).map(|node| keys.map(|key| text(&node[key])).to_vec());
    table(&columns, rows.collect())
}

fn datacenters(data: &Value) -> String {
    let mut rows = Vec::new();
    for region in list(&data["regions"]) {
        for datacenter in list(&region["datacenters"]) {
            let targets = &datacenter["targets"];
            rows.push(vec![
                text(&region["region"]),
                text(&datacenter["datacenter"]),
                count(&targets["total"]),
                count(&targets["up"]),
                count(&targets["degraded"]),
                count(&targets["down"]),
                count(&targets["unknown"]),
                coverage(&datacenter["coverage"]),
                age(&datacenter["watermark"]["complete_through"], &data["at"]),
                count(&datacenter["active_series"]),
                decimal(&datacenter["samples_per_second"]),
            ]);
        }
    }
    let columns = [
        Column::Text("REGION"),
        Column::Text("DATACENTER"),
        Column::Number("TARGETS"),
        Column::Number("UP"),
        Column::Number("DEGRADED"),
        Column::Number("DOWN"),
        Column::Number("UNKNOWN"),
        Column::Number("COVERAGE"),
        Column::Number("BEHIND"),
        Column::Number("SERIES"),
        Column::Number("SAMPLES/S"),
    ];
    table(&columns, rows)
}

fn monitors(data: &Value) -> String {
    let mut rows = vec![monitor(data, "-", &data["at"])];
    for datacenter in list(&data["regions"]).flat_map(|region| list(&region["datacenters"])) {
        let name = text(&datacenter["datacenter"]);
        for node in list(&datacenter["primaries"]).chain(list(&datacenter["secondaries"])) {
            rows.push(monitor(node, &name, &data["at"]));
        }
    }
    let columns = [
        Column::Text("MONITOR"),
        Column::Text("ROLE"),
        Column::Text("DATACENTER"),
        Column::Text("STATE"),
        Column::Number("TARGETS"),
        Column::Number("COVERAGE"),
        Column::Number("BEHIND"),
        Column::Number("OUTBOX"),
        Column::Number("COLLECTED"),
        Column::Number("DELIVERED"),
        Column::Number("QUEUED"),
        Column::Number("DROPPED"),
        Column::Number("RESIDUAL"),
        Column::Text("VERSION"),
    ];
    table(&columns, rows)
}

fn monitor(node: &Value, datacenter: &str, now: &Value) -> Vec<String> {
    let state = if node["connected"] == Value::Bool(true) { "connected" } else { "lost" };
    let account = worst_account(node);
    let term = |pick: fn(&Value) -> i64| account.map_or_else(|| "-".to_owned(), |account| pick(account).to_string());
    vec![
        text(&node["node"]),
        text(&node["role"]),
        datacenter.to_owned(),
        state.to_owned(),
        count(&node["targets"]["total"]),
        coverage(&node["coverage"]),
        age(&node["watermark"]["complete_through"], now),
        bytes(&node["queue"]["bytes"]),
        term(|account| number(&account["collected"])),
        term(|account| number(&account["delivered"])),
        term(|account| number(&account["queued"])),
        term(|account| account["dropped"].as_object().map_or(0, |reasons| reasons.values().map(number).sum())),
        term(|account| number(&account["residual"])),
        text(&node["version"]),
    ]
}

/// Returns the account with the parent replica that explains least, or else has least: that one needs a look.
fn worst_account(node: &Value) -> Option<&Value> {
    list(&node["accounts"]).max_by_key(|account| (number(&account["residual"]).abs(), -number(&account["delivered"])))
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tree_is_two_tables() {
        let targets =
            |up: u64, down: u64| json!({ "total": up + down, "up": up, "down": down, "degraded": 0, "unknown": 0 });
        let coverage = json!({ "expected": 15, "reported": 14, "late": 0, "lost": 1, "ratio": 0.9333 });
        let node = |name: &str, role: &str, connected: bool, accounts: Value| {
            json!({
                "node": name, "role": role, "version": "0.1.0", "connected": connected, "at": 1_700_000_000.0,
                "targets": targets(4, 1), "coverage": coverage, "watermark": { "complete_through": 1_699_999_995.5 },
                "queue": { "frames": 1, "bytes": 2_048 }, "accounts": accounts
            })
        };
        let account = json!([{
            "parent": "p", "collected": 1_000, "delivered": 900, "queued": 90, "dropped": { "outbox_full": 10 }, "residual": 0
        }]);
        let mut data = node("global-0", "global", true, json!([]));
        data["alarms"] = json!([
            { "node": "dub-p0", "peer": "dub-s0", "what": "excess", "samples": 3 },
            { "node": "dub-s0", "peer": "dub-p0", "what": "residual", "samples": -2 }
        ]);
        data["totals"] = json!({
            "datacenters": 1, "primaries": 1, "secondaries": 1, "disconnected": 1, "targets": targets(4, 1)
        });
        data["regions"] = json!([{ "region": "eu-west", "datacenters": [{
            "datacenter": "dub", "targets": targets(4, 1), "active_series": 4_321, "samples_per_second": 12.34,
            "coverage": coverage, "watermark": { "complete_through": 1_699_999_995.5 },
            "primaries": [node("dub-p0", "primary", true, account.clone())],
            "secondaries": [node("dub-s0", "secondary", false, account)]
        }] }]);
        let expected = "\
global-0 0.1.0 at 22:13:20 UTC: 1 datacenters, 1 primaries, 1 secondaries (1 not connected), 5 targets, 4 up, 1 down

ALARM dub-p0: dub-s0 counts 3 samples as delivered that were not applied
ALARM dub-s0: its account with dub-p0 is off by -2 samples

REGION   DATACENTER  TARGETS  UP  DEGRADED  DOWN  UNKNOWN  COVERAGE  BEHIND  SERIES  SAMPLES/S
eu-west  dub               5   4         0     1        0    93.33%    4.5s    4321       12.3

MONITOR   ROLE       DATACENTER  STATE      TARGETS  COVERAGE  BEHIND   OUTBOX  COLLECTED  DELIVERED  QUEUED  DROPPED  RESIDUAL  VERSION
global-0  global     -           connected        5    93.33%    4.5s  2.0 KiB          -          -       -        -         -  0.1.0
dub-p0    primary    dub         connected        5    93.33%    4.5s  2.0 KiB       1000        900      90       10         0  0.1.0
dub-s0    secondary  dub         lost             5    93.33%    4.5s  2.0 KiB       1000        900      90       10         0  0.1.0
";
        let text = status_text(&data);
        assert_eq!(text, expected, "\n{text}");
        data["regions"][0]["datacenters"][0]["primaries"][0]["trouble"] = json!("its disk is full");
        let text = status_text(&data);
        assert!(text.contains("off by -2 samples\nALARM dub-p0: its disk is full\n\n"), "{text}");
        data["regions"][0]["datacenters"][0]["primaries"][0]["trouble"] = json!(null);
        data["regions"][0]["datacenters"][0]["secondaries"][0]["clock_ahead_seconds"] = json!(600.04);
        assert!(
            status_text(&data).contains("\nclock of dub-s0 is 600.0 s ahead of its parent's\n\n"),
            "{}",
            status_text(&data)
        );
        data["regions"][0]["datacenters"][0]["secondaries"][0]["clock_ahead_seconds"] = json!(-0.4);
        data["unhealthy"] = json!([{
            "datacenter": "dub", "job": "node", "node_key": "h:1", "instance": "db-1", "status": "degraded",
            "reason": "sample_limit of 9"
        }]);
        let named = "\
TARGET  JOB   DATACENTER  STATE     REASON
db-1    node  dub         degraded  sample_limit of 9
";
        assert_eq!(status_text(&data), format!("{expected}\n{named}"));
    }
}
