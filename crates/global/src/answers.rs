//! The store's rows and health, as the API asks for them.

use std::sync::Arc;

use firetower_api::{
    CoverageFound, GlobalAnswers, HealthAsked, HealthFound, PointFound, ReadError, RowFound, RowTier, RowsAsked,
    RowsFound, ServiceInstance,
};
use firetower_daemon::Clock;
use firetower_model::{HealthCounts, Incarnation, NodeStatus, Role, Timestamp, Window};
use firetower_store::{HealthFilter, RowQuery, RowValue, Store};
use firetower_topology::Topology;
use tokio::sync::watch;

/// Returns what the API answers from.
pub(crate) fn answers(
    store: Store,
    topology: &Topology,
    status: watch::Receiver<NodeStatus>,
    clock: Clock,
) -> GlobalAnswers {
    let services = topology.services.iter().flat_map(|service| {
        service.instances.iter().map(|instance| ServiceInstance {
            service: service.name.clone(),
            datacenter: instance.datacenter.clone(),
            node_key: instance.node.clone(),
        })
    });
    let services = Arc::new(services.collect());
    let (rows_store, health_store) = (store.clone(), store);
    let (window, expected) = (topology.defaults.window, primaries(topology));
    GlobalAnswers {
        clock,
        status: Arc::new(move || with_silent(status.borrow().clone(), &expected)),
        rows: Arc::new(move |asked| read_rows(&rows_store, asked, window)),
        health: Arc::new(move |asked| read_health(&health_store, asked)),
        services,
    }
}

/// Returns what is known of the monitors below before any of them was heard.
fn primaries(topology: &Topology) -> Vec<NodeStatus> {
    let silent = |datacenter: &firetower_topology::Datacenter, node: &firetower_topology::Node, role| NodeStatus {
        node: node.name.clone(),
        role,
        version: String::new(),
        incarnation: Incarnation { created: Timestamp::default(), random: 0 },
        at: Timestamp::default(),
        started: Timestamp::default(),
        http: node.http.clone(),
        region: datacenter.region.clone(),
        datacenter: datacenter.name.clone(),
        is_connected: false,
        targets: HealthCounts::default(),
        active_series: 0,
        samples_per_second: 0.0,
        coverage: Default::default(),
        watermark: Default::default(),
        outbox_frames: 0,
        outbox_bytes: 0,
        accounts: Vec::new(),
        children: Vec::new(),
    };
    let mut all = Vec::new();
    for datacenter in topology.datacenters() {
        for primary in &datacenter.primaries {
            let mut status = silent(datacenter, primary, Role::Primary);
            status.children =
                datacenter.secondaries.iter().map(|node| silent(datacenter, node, Role::Secondary)).collect();
            all.push(status);
        }
    }
    all.sort_by(|a, b| a.node.cmp(&b.node));
    all
}

/// Adds those of the topology that have not been heard.
fn with_silent(mut status: NodeStatus, expected: &[NodeStatus]) -> NodeStatus {
    add_silent(&mut status.children, expected);
    status
}

fn add_silent(heard: &mut Vec<NodeStatus>, expected: &[NodeStatus]) {
    for silent in expected {
        match heard.iter_mut().find(|status| status.node == silent.node) {
            Some(status) => add_silent(&mut status.children, &silent.children),
            None => heard.push(silent.clone()),
        }
    }
    heard.sort_by(|a, b| a.node.cmp(&b.node));
}

fn read_rows(store: &Store, asked: &RowsAsked, window: std::time::Duration) -> Result<RowsFound, ReadError> {
    let tier = match asked.tier {
        RowTier::Window => firetower_store::RowTier::Window,
        RowTier::FiveMinutes => firetower_store::RowTier::FiveMinutes,
        RowTier::Hour => firetower_store::RowTier::Hour,
    };
    let query = RowQuery {
        tier,
        name: asked.name.as_deref(),
        job: asked.job.as_deref(),
        datacenter: asked.datacenter.as_deref(),
        range: asked.range,
        points_max: asked.points_max,
    };
    let answer = store.read_rows(&query)?;
    let rows = answer.series.into_iter().map(|row| RowFound {
        datacenter: row.datacenter,
        key: row.key,
        points: row.points.into_iter().map(|(window, value)| point(window, &value)).collect(),
    });
    let coverage = answer.headers.into_iter().map(|(datacenter, header)| CoverageFound {
        datacenter,
        start: header.window.start(),
        coverage: header.coverage,
        revision: header.revision,
    });
    Ok(RowsFound {
        window: tier.step().unwrap_or(window),
        rows: rows.collect(),
        coverage: coverage.collect(),
        worst: answer.worst,
        total: answer.total,
        is_truncated: answer.is_truncated,
    })
}

fn point(window: Window, value: &RowValue) -> PointFound {
    match value {
        RowValue::Window(cross) => PointFound {
            start: window.start(),
            series: cross.series as f64,
            special: cross.special,
            sum: cross.sum,
            min: cross.min,
            max: cross.max,
            increase: cross.increase,
            unanchored: cross.unanchored,
        },
        RowValue::Tier(row) => PointFound {
            start: window.start(),
            series: row.series_mean(),
            special: row.special,
            sum: row.sum_mean(),
            min: row.min,
            max: row.max,
            increase: row.increase,
            unanchored: row.unanchored,
        },
    }
}

fn read_health(store: &Store, asked: &HealthAsked) -> HealthFound {
    let counts = match &asked.datacenter {
        None => store.health_counts(),
        Some(name) => store.health_by_datacenter().remove(name).unwrap_or_default(),
    };
    let filter = HealthFilter { datacenter: asked.datacenter.as_deref(), state: asked.state };
    HealthFound { counts, nodes: store.unhealthy(filter, asked.limit) }
}
