//! Whole requests against a small fleet that is not there.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use firetower_model::{
    Account, Coverage, DropReason, HealthCounts, Incarnation, Labels, NodeHealth, Received, Revision, Role,
    State as Health, TimeRange, Timestamp, Watermark,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn status(node: &str, role: Role, said_at: i64, children: Vec<NodeStatus>) -> NodeStatus {
    NodeStatus {
        node: node.into(),
        role,
        version: "0.1.0".into(),
        incarnation: Incarnation { created: at(1), random: 2 },
        at: at(said_at),
        started: at(1),
        http: "127.0.0.1:1".into(),
        region: "eu-west".into(),
        datacenter: "dub".into(),
        is_connected: true,
        targets: HealthCounts { unknown: 1, online: 5, degraded: 2, offline: 3 },
        active_series: 10,
        samples_per_second: said_at as f64 / 2.0,
        coverage: Coverage::new(8, 6, 1),
        watermark: Watermark { newest: at(said_at), complete_through: at(said_at) },
        outbox_frames: 1,
        outbox_bytes: 100,
        accounts: vec![Account {
            parent: "above".into(),
            collected: 10,
            delivered: 6,
            queued: 2,
            dropped: vec![(DropReason::OutboxFull, 1)],
        }],
        received: vec![Received { child: "below".into(), applied: 6, delivered: Some(7), ..Received::default() }],
        clock_ahead_ms: Some(-1_500),
        trouble: String::new(),
        children,
    }
}

/// A pair of primaries that both hear `s0`, the second of them later; the first alone has `s1`.
fn fleet() -> NodeStatus {
    let s0 = |said_at| status("s0", Role::Secondary, said_at, Vec::new());
    let lost = NodeStatus {
        is_connected: false,
        watermark: Watermark::default(),
        ..status("s1", Role::Secondary, 3, Vec::new())
    };
    let p0 = status("p0", Role::Primary, 20, vec![s0(18), lost]);
    let p1 = status("p1", Role::Primary, 21, vec![s0(19)]);
    status("global-0", Role::Global, 30, vec![p0, p1])
}

fn rows(asked: &RowsAsked) -> Result<RowsFound, ReadError> {
    if asked.name.as_deref() == Some("broken") {
        return Err("disk on fire".into());
    }
    let point = PointFound {
        start: at(90),
        series: 2.0,
        special: 0,
        sum: 0.1 + 0.2,
        min: 0.1,
        max: 0.2,
        increase: 4.0,
        unanchored: 1,
    };
    let hollow =
        PointFound { start: at(105), min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0, special: 2, ..point };
    let key = Labels::new([("__name__", "c"), ("job", "node"), ("mode", "idle")]);
    Ok(RowsFound {
        window: Duration::from_secs(15),
        rows: vec![RowFound { datacenter: "dub".into(), key, points: vec![point, hollow] }],
        coverage: vec![CoverageFound {
            datacenter: "dub".into(),
            start: at(90),
            coverage: Coverage::new(4, 3, 1),
            revision: Revision(2),
        }],
        worst: Coverage::new(4, 3, 1),
        total: Coverage::new(8, 7, 1),
        is_truncated: asked.name.as_deref() == Some("large"),
    })
}

fn health(asked: &HealthAsked) -> HealthFound {
    let node = |node_key: &str, state| NodeHealth {
        datacenter: "dub".into(),
        job: "node".into(),
        node_key: node_key.into(),
        instance: format!("of {node_key}"),
        state,
        consecutive_failures: 2,
        last_check: at(1_700_000_000),
        response_time_seconds: 0.25,
        cpu_usage: Some(12.5),
        memory_usage: None,
        reason: "connection refused".into(),
    };
    let nodes = [node("a:1", Health::Offline), node("b:2", Health::Degraded), node("c:3", Health::Offline)];
    let is_asked_for = |node: &NodeHealth| {
        asked.state.is_none_or(|state| state == node.state)
            && asked.datacenter.as_ref().is_none_or(|datacenter| *datacenter == node.datacenter)
    };
    HealthFound {
        counts: HealthCounts { unknown: 0, online: 9, degraded: 1, offline: 2 },
        nodes: nodes.into_iter().filter(is_asked_for).take(asked.limit).collect(),
    }
}

async fn ask(path: &str) -> (u16, Value) {
    let instance = |datacenter: &str, node_key: &str| ServiceInstance {
        service: "db".into(),
        datacenter: datacenter.into(),
        node_key: node_key.into(),
    };
    let services = vec![instance("dub", "a:1"), instance("dub", "b:2"), instance("ams", "a:1")];
    let router = global(GlobalAnswers {
        clock: Clock::starting_at(at(400)),
        status: Arc::new(fleet),
        rows: Arc::new(rows),
        health: Arc::new(health),
        durations: Arc::new(durations),
        services: Arc::new(services),
    });
    let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body:?}")))
}

#[tokio::test]
async fn the_tree_lists_each_monitor_once() {
    let (code, body) = ask("/api/v1/status").await;
    let data = &body["data"];
    assert_eq!(
        (code, &body["status"], &data["node"], &data["at"]),
        (200, &json!("success"), &json!("global-0"), &json!(30.0))
    );
    let datacenter = &data["regions"][0]["datacenters"][0];
    let names = |of: &Value| of.as_array().unwrap().iter().map(|node| node["node"].clone()).collect::<Vec<Value>>();
    assert_eq!(names(&datacenter["primaries"]), ["p0", "p1"]);
    let unhealthy = json!({
        "datacenter": "dub", "job": "node", "node_key": "a:1", "instance": "of a:1", "status": "offline",
        "reason": "connection refused"
    });
    assert_eq!((data["unhealthy"].as_array().map(Vec::len), &data["unhealthy"][0]), (Some(3), &unhealthy));
    assert_eq!(names(&datacenter["secondaries"]), ["s0", "s1"]);
    assert_eq!(datacenter["secondaries"][0]["at"], json!(19.0), "of the primary that heard it last");
    assert_eq!(datacenter["secondaries"][1]["connected"], json!(false));
    assert_eq!(datacenter["secondaries"][1]["watermark"], json!({ "newest": null, "complete_through": null }));
    assert_eq!(datacenter["watermark"], json!({ "newest": 21.0, "complete_through": 21.0 }));
    let coverage = json!({ "expected": 8, "reported": 6, "late": 1, "lost": 2, "ratio": 0.75 });
    assert_eq!(datacenter["coverage"], coverage);
    assert_eq!(datacenter["targets"], json!({ "total": 22, "up": 10, "down": 6, "degraded": 4, "unknown": 2 }));
    let account = json!({
        "parent": "above", "collected": 10, "delivered": 6, "queued": 2, "dropped": { "outbox_full": 1 }, "residual": 1
    });
    assert_eq!(datacenter["primaries"][0]["accounts"], json!([account]));
    let totals = json!({
        "datacenters": 1, "primaries": 2, "secondaries": 2, "disconnected": 1, "active_series": 20,
        "samples_per_second": 11.0, "queue": { "frames": 4, "bytes": 400 }, "residual": 4,
        "coverage": coverage, "targets": datacenter["targets"]
    });
    assert_eq!(data["totals"], totals);
    let received = json!({
        "child": "below", "applied": 6, "applied_before": 0, "delivered": 7, "incarnation_lost": 0, "excess": 1
    });
    assert_eq!(datacenter["secondaries"][1]["received"], json!([received]));
    let alarms = data["alarms"].as_array().unwrap();
    let alarm = json!({ "node": "s0", "peer": "above", "what": "residual", "samples": 1 });
    assert_eq!(
        alarms.iter().filter(|found| **found == alarm).count(),
        1,
        "though two primaries tell of it: {alarms:?}"
    );
    let alarm = json!({ "node": "p1", "peer": "below", "what": "excess", "samples": 1 });
    assert!(alarms.contains(&alarm), "{alarms:?}");
}

#[tokio::test]
async fn rows_are_written_as_agreed() {
    let (code, body) = ask("/api/v1/rows?name=c&job=&datacenter=dub&start=90&end=120").await;
    let point = json!({
        "start": 90, "series": 2, "special": 0, "sum": 0.30000000000000004, "min": 0.1, "max": 0.2, "increase": 4,
        "unanchored": 1
    });
    let hollow = json!({
        "start": 105, "series": 2, "special": 2, "sum": 0, "min": null, "max": null, "increase": 4, "unanchored": 1
    });
    let row = json!({
        "datacenter": "dub", "name": "c", "labels": { "mode": "idle" }, "job": "node", "points": [point, hollow]
    });
    let window = json!({
        "datacenter": "dub", "start": 90, "expected": 4, "reported": 3, "late": 1, "lost": 1, "revision": 2
    });
    let data = json!({
        "window_seconds": 15, "tier": "raw", "rows": [row], "coverage": [window],
        "coverage_worst": { "expected": 4, "reported": 3, "late": 1, "lost": 1 },
        "coverage_total": { "expected": 8, "reported": 7, "late": 1, "lost": 1 }
    });
    assert_eq!((code, body), (200, json!({ "status": "success", "data": data })));
}

#[test]
fn rows_are_of_the_last_five_minutes_unless_told() {
    let check = |text: &str, expected: (RowTier, i64, i64)| {
        let asked = rows::read_params(&Params::parse(text), at(400)).unwrap();
        let TimeRange { start, end } = asked.range;
        assert_eq!((asked.tier, start.as_millis(), end.as_millis()), expected, "{text}");
    };
    check("", (RowTier::Window, 100_000, 400_000));
    check("tier=15s&start=0&end=1970-01-01T00:01:00Z", (RowTier::Window, 0, 60_000));
    check("tier=1h", (RowTier::Hour, 100_000, 400_000));
}

#[tokio::test]
async fn the_summary_has_exactly_the_agreed_keys() {
    let (code, body) = ask("/health/summary?limit=1").await;
    let details = json!({
        "node_key": "a:1", "host": "a", "port": 1, "status": "offline", "cpu_usage": 12.5, "memory_usage": null,
        "last_check": "2023-11-14T22:13:20Z", "consecutive_failures": 2, "response_time": 0.25
    });
    let expected = json!({
        "total_nodes": 12, "online_nodes": 9, "offline_nodes": 2, "degraded_nodes": 1, "failed_workloads": 1,
        "desired_workloads": 3, "node_details": [details]
    });
    assert_eq!((code, body), (200, expected));

    let (_, of_dub) = ask("/health/summary?datacenter=dub&state=degraded").await;
    let keys: BTreeSet<&str> =
        of_dub["node_details"].as_array().unwrap().iter().filter_map(|node| node["node_key"].as_str()).collect();
    assert_eq!((keys, &of_dub["desired_workloads"]), (BTreeSet::from(["b:2"]), &json!(2)));
}

#[tokio::test]
async fn bad_requests_are_told_why() {
    let check = async |path: &str, code: u16, kind: &str, error: &str| {
        let expected = json!({ "status": "error", "errorType": kind, "error": error });
        assert_eq!(ask(path).await, (code, expected), "{path}");
    };
    let state = "parameter \"state\": \"dead\" is not online, degraded, offline or unknown";
    check("/health/summary?state=dead", 400, "bad_data", state).await;
    let limit = "parameter \"limit\": \"-1\" is not a whole number that is not too large";
    check("/health/summary?limit=-1", 400, "bad_data", limit).await;
    let unknown = "parameter \"dc\" is not known here: known are datacenter, state, limit";
    check("/health/summary?dc=dub", 400, "bad_data", unknown).await;
    let tier = "parameter \"tier\": \"2m\" is not raw, 5m or 1h";
    check("/api/v1/rows?tier=2m", 400, "bad_data", tier).await;
    let range = "parameter \"start\": \"20\" is not before the end";
    check("/api/v1/rows?start=20&end=10", 400, "bad_data", range).await;
    let large = "the answer has more than 1000000 points: ask for less";
    check("/api/v1/rows?name=large", 422, "execution", large).await;
    check("/api/v1/rows?name=broken", 503, "unavailable", "read rows: disk on fire").await;
}

fn durations(asked: &DurationsAsked) -> Result<Vec<DurationsFound>, ReadError> {
    let found = DurationsFound {
        job: "node".into(),
        start: at(300),
        datacenters: 1,
        scrapes: 40,
        seconds: [0.001, 0.002, 0.25, 1.5],
    };
    Ok(if asked.job.as_deref() == Some("none") { Vec::new() } else { vec![found] })
}

#[tokio::test]
async fn durations_are_percentiles_by_job() {
    let (status, body) = ask("/api/v1/durations?job=node").await;
    assert_eq!((status, &body["data"][0]["p99"], &body["data"][0]["scrapes"]), (200, &json!(0.25), &json!(40)));
    assert_eq!(ask("/api/v1/durations?job=none").await.1["data"], json!([]));
    assert_eq!(ask("/api/v1/durations?jobs=node").await.0, 400);
}
