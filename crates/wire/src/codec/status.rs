//! What a monitor says of itself.

use firetower_model::{Account, Incarnation, NodeStatus, Received, Role, Timestamp};
use prost::Message;

use crate::codec::health::{counts_from_proto, counts_to_proto};
use crate::codec::rows::{coverage_from_proto, coverage_to_proto, watermark_from_proto, watermark_to_proto};
use crate::codec::walk::for_each;
use crate::codec::{drop_reason_from_proto, drop_reason_to_proto};
use crate::error::Error;
use crate::limits::{NAME_BYTES_MAX, STATUS_BYTES_MAX, STATUS_DEPTH_MAX, STATUS_NODES_MAX, text_within, within};
use crate::proto;

const CHILDREN_FIELD: u32 = 19;

/// Returns `status` as bytes, if a receiver would take them.
pub(crate) fn encode(status: &NodeStatus) -> Result<Vec<u8>, Error> {
    let message = to_proto(status).encode_to_vec();
    within("status", message.len(), STATUS_BYTES_MAX)?;
    Ok(message)
}

/// Reads back what [`encode`] returned.
pub(crate) fn decode(message: &[u8]) -> Result<NodeStatus, Error> {
    within("status", message.len(), STATUS_BYTES_MAX)?;
    check_nodes(message, STATUS_DEPTH_MAX, &mut 0)?;
    let read = proto::NodeStatus::decode(message).map_err(|source| Error::Malformed { what: "status", source })?;
    from_proto(read)
}

fn check_nodes(message: &[u8], tiers: usize, nodes: &mut usize) -> Result<(), Error> {
    *nodes += 1;
    within("nodes in status", *nodes, STATUS_NODES_MAX)?;
    let tiers_below = tiers.checked_sub(1).ok_or(Error::TooLarge {
        what: "tiers in status",
        size: STATUS_DEPTH_MAX + 1,
        max: STATUS_DEPTH_MAX,
    })?;
    for_each("status", message, CHILDREN_FIELD, |child| check_nodes(child, tiers_below, nodes))
}

fn to_proto(status: &NodeStatus) -> proto::NodeStatus {
    proto::NodeStatus {
        node: status.node.clone(),
        role: role_to_proto(status.role).into(),
        version: status.version.clone(),
        incarnation: Some(incarnation_to_proto(status.incarnation)),
        at_ms: status.at.as_millis(),
        started_ms: status.started.as_millis(),
        http: status.http.clone(),
        region: status.region.clone(),
        datacenter: status.datacenter.clone(),
        is_connected: status.is_connected,
        targets: Some(counts_to_proto(&status.targets)),
        active_series: status.active_series,
        samples_per_second: status.samples_per_second,
        coverage: Some(coverage_to_proto(&status.coverage)),
        watermark: watermark_to_proto(&status.watermark),
        outbox_frames: status.outbox_frames,
        outbox_bytes: status.outbox_bytes,
        accounts: status.accounts.iter().map(account_to_proto).collect(),
        children: status.children.iter().map(to_proto).collect(),
        clock_ahead_ms: status.clock_ahead_ms,
        trouble: status.trouble.clone(),
        received: status.received.iter().map(received_to_proto).collect(),
    }
}

fn from_proto(read: proto::NodeStatus) -> Result<NodeStatus, Error> {
    Ok(NodeStatus {
        node: text_within("node", read.node, NAME_BYTES_MAX)?,
        role: role_from_proto(read.role)?,
        version: text_within("version", read.version, NAME_BYTES_MAX)?,
        incarnation: incarnation_from_proto(read.incarnation)?,
        at: Timestamp::from_millis(read.at_ms),
        started: Timestamp::from_millis(read.started_ms),
        http: text_within("http address", read.http, NAME_BYTES_MAX)?,
        region: text_within("region", read.region, NAME_BYTES_MAX)?,
        datacenter: text_within("datacenter", read.datacenter, NAME_BYTES_MAX)?,
        is_connected: read.is_connected,
        targets: counts_from_proto(read.targets.unwrap_or_default()),
        active_series: read.active_series,
        samples_per_second: read.samples_per_second,
        coverage: coverage_from_proto(read.coverage.unwrap_or_default()),
        watermark: watermark_from_proto(read.watermark),
        outbox_frames: read.outbox_frames,
        outbox_bytes: read.outbox_bytes,
        accounts: read.accounts.into_iter().map(account_from_proto).collect::<Result<_, _>>()?,
        children: read.children.into_iter().map(from_proto).collect::<Result<_, _>>()?,
        clock_ahead_ms: read.clock_ahead_ms,
        trouble: text_within("trouble", read.trouble, NAME_BYTES_MAX)?,
        received: read.received.into_iter().map(received_from_proto).collect::<Result<_, _>>()?,
    })
}

fn account_to_proto(account: &Account) -> proto::Account {
    let dropped = account
        .dropped
        .iter()
        .map(|(reason, samples)| proto::Dropped { reason: drop_reason_to_proto(*reason).into(), samples: *samples });
    proto::Account {
        parent: account.parent.clone(),
        collected: account.collected,
        delivered: account.delivered,
        queued: account.queued,
        dropped: dropped.collect(),
    }
}

fn account_from_proto(read: proto::Account) -> Result<Account, Error> {
    let dropped = read.dropped.into_iter();
    Ok(Account {
        parent: text_within("parent", read.parent, NAME_BYTES_MAX)?,
        collected: read.collected,
        delivered: read.delivered,
        queued: read.queued,
        dropped: dropped.map(|it| (drop_reason_from_proto(it.reason), it.samples)).collect(),
    })
}

fn received_to_proto(received: &Received) -> proto::Received {
    proto::Received {
        child: received.child.clone(),
        applied: received.applied,
        applied_before: received.applied_before,
        delivered: received.delivered,
        incarnation_lost: received.incarnation_lost,
    }
}

fn received_from_proto(read: proto::Received) -> Result<Received, Error> {
    Ok(Received {
        child: text_within("child", read.child, NAME_BYTES_MAX)?,
        applied: read.applied,
        applied_before: read.applied_before,
        delivered: read.delivered,
        incarnation_lost: read.incarnation_lost,
    })
}

pub(crate) fn role_to_proto(role: Role) -> proto::Role {
    match role {
        Role::Secondary => proto::Role::Secondary,
        Role::Primary => proto::Role::Primary,
        Role::Global => proto::Role::Global,
    }
}

pub(crate) fn role_from_proto(role: i32) -> Result<Role, Error> {
    match proto::Role::try_from(role) {
        Ok(proto::Role::Secondary) => Ok(Role::Secondary),
        Ok(proto::Role::Primary) => Ok(Role::Primary),
        Ok(proto::Role::Global) => Ok(Role::Global),
        Ok(proto::Role::Unspecified) | Err(_) => Err(Error::Invalid { what: "role", rule: "must be a known one" }),
    }
}

pub(crate) fn incarnation_to_proto(incarnation: Incarnation) -> proto::Incarnation {
    proto::Incarnation { created_ms: incarnation.created.as_millis(), random: incarnation.random }
}

pub(crate) fn incarnation_from_proto(read: Option<proto::Incarnation>) -> Result<Incarnation, Error> {
    let read = read.ok_or(Error::Invalid { what: "incarnation", rule: "must be given" })?;
    Ok(Incarnation { created: Timestamp::from_millis(read.created_ms), random: read.random })
}
