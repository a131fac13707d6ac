//! The store's rows and health, as the API asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use firetower_api::{
    CoverageFound, DurationsAsked, DurationsFound, GlobalAnswers, HealthAsked, HealthFound, PointFound, ReadError,
    RowFound, RowTier, RowsAsked, RowsFound, ServiceInstance,
};
use firetower_daemon::Clock;
use firetower_model::{NodeStatus, Timestamp, Window};
use firetower_store::{HealthFilter, RowQuery, RowValue, Store};
use firetower_topology::Topology;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use tokio::sync::watch;

use crate::below::Below;

/// Returns what the API answers from.
pub(crate) fn answers(
    store: Store,
    topology: &Topology,
    below: watch::Receiver<Below>,
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
    let (rows_store, health_store, durations_store) = (store.clone(), store.clone(), store);
    let window = topology.defaults.window;
    GlobalAnswers {
        clock,
        status: Arc::new(move || with_silent(status.borrow().clone(), &below.borrow().silent)),
        rows: Arc::new(move |asked| read_rows(&rows_store, asked, window)),
        health: Arc::new(move |asked| read_health(&health_store, asked)),
        durations: Arc::new(move |asked| read_durations(&durations_store, asked)),
        services,
    }
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

/// Merges the last window's histograms of all datacenters, job by job.
fn read_durations(store: &Store, asked: &DurationsAsked) -> Result<Vec<DurationsFound>, ReadError> {
    let mut merged: BTreeMap<String, (Histogram<u64>, Timestamp, usize)> = BTreeMap::new();
    let is_asked_for = |name: &String| asked.datacenter.as_ref().is_none_or(|datacenter| datacenter == name);
    for datacenter in store.row_datacenters().iter().filter(|name| is_asked_for(name)) {
        let Some(window) = store.latest_window(datacenter)? else { continue };
        for durations in store.row_durations(datacenter, window)? {
            if asked.job.as_ref().is_some_and(|job| *job != durations.job) {
                continue;
            }
            let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &durations.histogram[..])?;
            match merged.get_mut(&durations.job) {
                None => drop(merged.insert(durations.job, (histogram, window.start(), 1))),
                Some((all, start, datacenters)) => {
                    all.add(&histogram)?;
                    *start = (*start).min(window.start());
                    *datacenters += 1;
                }
            }
        }
    }
    let found = |(job, (histogram, start, datacenters)): (String, (Histogram<u64>, Timestamp, usize))| {
        let seconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        let seconds = [seconds(0.5), seconds(0.9), seconds(0.99), histogram.max() as f64 / 1e6];
        DurationsFound { job, start, datacenters, scrapes: histogram.len(), seconds }
    };
    Ok(merged.into_iter().map(found).collect())
}
