//! `GET /api/v1/status`: the whole tree.

use std::collections::BTreeMap;

use firetower_model::{Account, Coverage, HealthCounts, NodeStatus, Received, Watermark};
use serde_json::{Map, Value, json};

use crate::json::seconds;

/// Returns the tree below `global` by region and datacenter.
pub(super) fn tree(global: &NodeStatus) -> Value {
    let mut regions: BTreeMap<&str, BTreeMap<&str, Vec<&NodeStatus>>> = BTreeMap::new();
    for primary in &global.children {
        regions.entry(&primary.region).or_default().entry(&primary.datacenter).or_default().push(primary);
    }
    let mut totals = Totals::default();
    let mut region_values = Vec::new();
    for (region, datacenters) in regions {
        let mut datacenter_values = Vec::new();
        for (name, primaries) in datacenters {
            let datacenter = Datacenter::of(name, &primaries);
            totals.add(&datacenter);
            datacenter_values.push(datacenter.value());
        }
        region_values.push(json!({ "region": region, "datacenters": datacenter_values }));
    }
    let mut value = node(global);
    value.insert("regions".into(), region_values.into());
    value.insert("totals".into(), totals.value());
    value.insert("alarms".into(), alarms(global).into());
    value.into()
}

/// Returns what `monitor` says of itself and of its children.
pub(crate) fn monitor(monitor: &NodeStatus) -> Value {
    let mut value = node(monitor);
    let children: Vec<Value> = monitor.children.iter().map(|child| node(child).into()).collect();
    value.insert("children".into(), children.into());
    value.insert("alarms".into(), alarms(monitor).into());
    value.into()
}

/// Returns what does not add up at `monitor` and below it: each account once, though both of a pair tell of a child.
fn alarms(monitor: &NodeStatus) -> Vec<Value> {
    let mut found = BTreeMap::new();
    gather_alarms(monitor, &mut found);
    let value = |((node, peer, what), samples): ((&str, &str, &str), i64)| json!({ "node": node, "peer": peer, "what": what, "samples": samples });
    found.into_iter().map(value).collect()
}

fn gather_alarms<'a>(monitor: &'a NodeStatus, found: &mut BTreeMap<(&'a str, &'a str, &'static str), i64>) {
    for account in monitor.accounts.iter().filter(|account| account.residual() != 0) {
        found.insert((&monitor.node, &account.parent, "residual"), account.residual());
    }
    for received in monitor.received.iter().filter(|received| received.excess() > 0) {
        found.insert((&monitor.node, &received.child, "excess"), received.excess() as i64);
    }
    monitor.children.iter().for_each(|child| gather_alarms(child, found));
}

/// A datacenter, as its best informed primary sees it.
struct Datacenter<'a> {
    name: &'a str,
    primaries: &'a [&'a NodeStatus],
    /// Each once, with its newest status: a secondary streams to every primary of a pair.
    secondaries: BTreeMap<&'a str, &'a NodeStatus>,
    best: Option<&'a NodeStatus>,
    targets: HealthCounts,
}

impl<'a> Datacenter<'a> {
    fn of(name: &'a str, primaries: &'a [&'a NodeStatus]) -> Datacenter<'a> {
        let mut secondaries: BTreeMap<&str, &NodeStatus> = BTreeMap::new();
        for secondary in primaries.iter().flat_map(|primary| &primary.children) {
            let known = secondaries.entry(&secondary.node).or_insert(secondary);
            if (known.is_connected, known.at) < (secondary.is_connected, secondary.at) {
                *known = secondary;
            }
        }
        let knowledge = |primary: &&&NodeStatus| (primary.is_connected, primary.watermark.complete_through, primary.at);
        let best = primaries.iter().max_by_key(knowledge).copied();
        let mut targets = HealthCounts::default();
        secondaries.values().for_each(|secondary| targets.merge(&secondary.targets));
        if secondaries.is_empty() {
            targets = best.map_or(targets, |best| best.targets);
        }
        Datacenter { name, primaries, secondaries, best, targets }
    }

    fn coverage(&self) -> Coverage {
        self.best.map_or(Coverage::default(), |best| best.coverage)
    }

    fn value(&self) -> Value {
        json!({
            "datacenter": self.name,
            "targets": targets(&self.targets),
            "active_series": self.active_series(),
            "samples_per_second": self.samples_per_second(),
            "coverage": coverage(&self.coverage()),
            "watermark": watermark(&self.best.map_or(Watermark::default(), |best| best.watermark)),
            "primaries": self.primaries.iter().map(|primary| Value::from(node(primary))).collect::<Vec<Value>>(),
            "secondaries": self.secondaries.values().map(|child| Value::from(node(child))).collect::<Vec<Value>>(),
        })
    }

    fn active_series(&self) -> u64 {
        self.secondaries.values().map(|secondary| secondary.active_series).sum()
    }

    fn samples_per_second(&self) -> f64 {
        self.secondaries.values().map(|secondary| secondary.samples_per_second).sum()
    }
}

#[derive(Default)]
struct Totals {
    datacenters: u64,
    primaries: u64,
    secondaries: u64,
    disconnected: u64,
    targets: HealthCounts,
    active_series: u64,
    samples_per_second: f64,
    coverage: Coverage,
    outbox_frames: u64,
    outbox_bytes: u64,
    /// Of either sign, so that none hides another.
    residual: u64,
}

impl Totals {
    fn add(&mut self, datacenter: &Datacenter<'_>) {
        self.datacenters += 1;
        self.primaries += datacenter.primaries.len() as u64;
        self.secondaries += datacenter.secondaries.len() as u64;
        self.targets.merge(&datacenter.targets);
        self.active_series += datacenter.active_series();
        self.samples_per_second += datacenter.samples_per_second();
        self.coverage.merge(&datacenter.coverage());
        for monitor in datacenter.primaries.iter().chain(datacenter.secondaries.values()) {
            self.disconnected += u64::from(!monitor.is_connected);
            self.outbox_frames += monitor.outbox_frames;
            self.outbox_bytes += monitor.outbox_bytes;
            self.residual += monitor.accounts.iter().map(|account| account.residual().unsigned_abs()).sum::<u64>();
        }
    }

    fn value(&self) -> Value {
        json!({
            "datacenters": self.datacenters,
            "primaries": self.primaries,
            "secondaries": self.secondaries,
            "disconnected": self.disconnected,
            "targets": targets(&self.targets),
            "active_series": self.active_series,
            "samples_per_second": self.samples_per_second,
            "coverage": coverage(&self.coverage),
            "queue": { "frames": self.outbox_frames, "bytes": self.outbox_bytes },
            "residual": self.residual,
        })
    }
}

/// Returns what a monitor says of itself, without those below it.
fn node(status: &NodeStatus) -> Map<String, Value> {
    let value = json!({
        "node": status.node,
        "role": status.role.as_str(),
        "version": status.version,
        "incarnation": status.incarnation.to_string(),
        "connected": status.is_connected,
        "at": seconds(status.at),
        "started": seconds(status.started),
        "clock_ahead_seconds": status.clock_ahead_ms.map(|ahead| ahead as f64 / 1e3),
        "trouble": (!status.trouble.is_empty()).then_some(&status.trouble),
        "http": status.http,
        "targets": targets(&status.targets),
        "active_series": status.active_series,
        "samples_per_second": status.samples_per_second,
        "coverage": coverage(&status.coverage),
        "watermark": watermark(&status.watermark),
        "queue": { "frames": status.outbox_frames, "bytes": status.outbox_bytes },
        "accounts": status.accounts.iter().map(account).collect::<Vec<Value>>(),
        "received": status.received.iter().map(received).collect::<Vec<Value>>(),
    });
    if let Value::Object(members) = value { members } else { Map::new() }
}

fn targets(counts: &HealthCounts) -> Value {
    json!({
        "total": counts.total(),
        "up": counts.online,
        "down": counts.offline,
        "degraded": counts.degraded,
        "unknown": counts.unknown,
    })
}

fn coverage(coverage: &Coverage) -> Value {
    let Coverage { expected, reported, late, lost } = coverage;
    json!({ "expected": expected, "reported": reported, "late": late, "lost": lost, "ratio": coverage.ratio() })
}

fn watermark(watermark: &Watermark) -> Value {
    json!({ "newest": seconds(watermark.newest), "complete_through": seconds(watermark.complete_through) })
}

fn account(account: &Account) -> Value {
    let dropped: Map<String, Value> =
        account.dropped.iter().map(|(reason, samples)| (reason.as_str().into(), (*samples).into())).collect();
    json!({
        "parent": account.parent,
        "collected": account.collected,
        "delivered": account.delivered,
        "queued": account.queued,
        "dropped": dropped,
        "residual": account.residual(),
    })
}

fn received(received: &Received) -> Value {
    json!({
        "child": received.child,
        "applied": received.applied,
        "applied_before": received.applied_before,
        "delivered": received.delivered,
        "incarnation_lost": received.incarnation_lost,
        "excess": received.excess(),
    })
}
