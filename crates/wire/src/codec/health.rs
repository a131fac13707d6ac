//! Health reports.

use firetower_model::{HealthCounts, HealthReport, NodeHealth, State, Timestamp};
use prost::Message;

use crate::codec::walk::check_count;
use crate::error::Error;
use crate::limits::{HEALTH_CHANGES_MAX, NAME_BYTES_MAX, TEXT_BYTES_MAX, cut_text, text_within, within};
use crate::proto;
use crate::proto::node_health;

const CHANGES_FIELD: u32 = 6;

pub(super) fn to_proto(report: &HealthReport) -> Result<proto::HealthReport, Error> {
    within("health changes", report.changes.len(), HEALTH_CHANGES_MAX)?;
    Ok(proto::HealthReport {
        reporter: text_within("reporter", report.reporter.clone(), NAME_BYTES_MAX)?,
        version: report.version,
        datacenter: text_within("datacenter", report.datacenter.clone(), NAME_BYTES_MAX)?,
        at_ms: report.at.as_millis(),
        counts: Some(counts_to_proto(&report.counts)),
        changes: report.changes.iter().map(node_to_proto).collect::<Result<_, _>>()?,
        is_snapshot: report.is_snapshot,
    })
}

pub(super) fn decode(message: &[u8]) -> Result<HealthReport, Error> {
    check_count("health changes", message, CHANGES_FIELD, HEALTH_CHANGES_MAX)?;
    let read =
        proto::HealthReport::decode(message).map_err(|source| Error::Malformed { what: "health report", source })?;
    Ok(HealthReport {
        reporter: text_within("reporter", read.reporter, NAME_BYTES_MAX)?,
        version: read.version,
        datacenter: text_within("datacenter", read.datacenter, NAME_BYTES_MAX)?,
        at: Timestamp::from_millis(read.at_ms),
        counts: counts_from_proto(read.counts.unwrap_or_default()),
        changes: read.changes.into_iter().map(node_from_proto).collect::<Result<_, _>>()?,
        is_snapshot: read.is_snapshot,
    })
}

fn node_to_proto(node: &NodeHealth) -> Result<proto::NodeHealth, Error> {
    let state = match node.state {
        State::Unknown => node_health::State::Unknown,
        State::Online => node_health::State::Online,
        State::Degraded => node_health::State::Degraded,
        State::Offline => node_health::State::Offline,
    };
    Ok(proto::NodeHealth {
        datacenter: text_within("datacenter", node.datacenter.clone(), NAME_BYTES_MAX)?,
        job: text_within("job", node.job.clone(), NAME_BYTES_MAX)?,
        node_key: text_within("node key", node.node_key.clone(), NAME_BYTES_MAX)?,
        state: state.into(),
        consecutive_failures: node.consecutive_failures,
        last_check_ms: node.last_check.as_millis(),
        response_time_seconds: node.response_time_seconds,
        cpu_usage: node.cpu_usage,
        memory_usage: node.memory_usage,
        reason: cut_text(&node.reason),
        instance: cut_text(&node.instance),
    })
}

fn node_from_proto(read: proto::NodeHealth) -> Result<NodeHealth, Error> {
    let state = match node_health::State::try_from(read.state) {
        Ok(node_health::State::Online) => State::Online,
        Ok(node_health::State::Degraded) => State::Degraded,
        Ok(node_health::State::Offline) => State::Offline,
        Ok(node_health::State::Unknown) | Err(_) => State::Unknown,
    };
    Ok(NodeHealth {
        datacenter: text_within("datacenter", read.datacenter, NAME_BYTES_MAX)?,
        job: text_within("job", read.job, NAME_BYTES_MAX)?,
        node_key: text_within("node key", read.node_key, NAME_BYTES_MAX)?,
        state,
        consecutive_failures: read.consecutive_failures,
        last_check: Timestamp::from_millis(read.last_check_ms),
        response_time_seconds: read.response_time_seconds,
        cpu_usage: read.cpu_usage,
        memory_usage: read.memory_usage,
        reason: text_within("reason", read.reason, TEXT_BYTES_MAX)?,
        instance: text_within("instance", read.instance, TEXT_BYTES_MAX)?,
    })
}

pub(super) fn counts_to_proto(counts: &HealthCounts) -> proto::HealthCounts {
    proto::HealthCounts {
        unknown: counts.unknown,
        online: counts.online,
        degraded: counts.degraded,
        offline: counts.offline,
    }
}

pub(super) fn counts_from_proto(read: proto::HealthCounts) -> HealthCounts {
    HealthCounts { unknown: read.unknown, online: read.online, degraded: read.degraded, offline: read.offline }
}
