//! The messages of `Control`, to and from protobuf.

use std::sync::Arc;
use std::time::Duration;

use firetower_model::{Assignment, Claim, Generation, Sequence, Target, Timestamp};

use prost::Message as _;

use crate::codec::status::{decode as decode_status, encode as encode_status};
use crate::codec::status::{incarnation_from_proto, incarnation_to_proto, role_from_proto, role_to_proto};
use crate::codec::{kept, labels};
use crate::error::Error;
use crate::limits::{NAME_BYTES_MAX, TARGETS_MAX, URL_BYTES_MAX, cut_text, text_within, within};
use crate::message::frames::{ranges_from_proto, ranges_to_proto};
use crate::message::inquiry;
use crate::message::{
    ChildControl, Features, Heartbeat, Hello, HelloReply, Message, ParentControl, Refusal, RefusalReason,
};
use crate::proto;
use crate::proto::refused::Reason;
use crate::proto::{child_control, parent_control};

impl Message for ChildControl {
    type Proto = proto::ChildControl;

    const CALL: &'static str = "control";

    fn into_proto(self) -> Result<proto::ChildControl, Error> {
        let content = match self {
            ChildControl::Hello(hello) => child_control::Content::Hello(hello_to_proto(hello)),
            ChildControl::Heartbeat(heartbeat) => child_control::Content::Heartbeat(proto::Heartbeat {
                status: encode_status(&heartbeat.status)?.into(),
                highest_sequence: heartbeat.highest_sequence.0,
                at_ms: heartbeat.at.as_millis(),
                claim: heartbeat.claim.map(claim_to_proto),
            }),
            ChildControl::AssignmentTaken { generation, fingerprint } => {
                let taken = proto::AssignmentTaken { generation: generation.0, fingerprint };
                child_control::Content::AssignmentTaken(taken)
            }
        };
        Ok(proto::ChildControl { content: Some(content) })
    }

    fn from_proto(read: proto::ChildControl) -> Result<Option<ChildControl>, Error> {
        let Some(content) = read.content else { return Ok(None) };
        Ok(Some(match content {
            child_control::Content::Hello(hello) => ChildControl::Hello(hello_from_proto(hello)?),
            child_control::Content::Heartbeat(heartbeat) => ChildControl::Heartbeat(Box::new(Heartbeat {
                status: decode_status(&heartbeat.status)?,
                highest_sequence: Sequence(heartbeat.highest_sequence),
                at: Timestamp::from_millis(heartbeat.at_ms),
                claim: heartbeat.claim.map(claim_from_proto),
            })),
            child_control::Content::AssignmentTaken(taken) => ChildControl::AssignmentTaken {
                generation: Generation(taken.generation),
                fingerprint: taken.fingerprint,
            },
        }))
    }
}

impl Message for ParentControl {
    type Proto = proto::ParentControl;

    const CALL: &'static str = "control";

    fn into_proto(self) -> Result<proto::ParentControl, Error> {
        let content = match self {
            ParentControl::HelloReply(reply) => parent_control::Content::HelloReply(reply_to_proto(reply)),
            ParentControl::Refused(refusal) => parent_control::Content::Refused(refusal_to_proto(refusal)),
            ParentControl::Assignment(assignment) => {
                parent_control::Content::Assignment(assignment_to_proto(assignment)?)
            }
            ParentControl::KeptLabels(labels) => parent_control::Content::KeptLabels(kept::to_proto(&labels)?),
            ParentControl::ClockReading { sent, at } => {
                let reading = proto::ClockReading { sent_ms: sent.as_millis(), at_ms: at.as_millis() };
                parent_control::Content::ClockReading(reading)
            }
            ParentControl::Credit { bytes } => parent_control::Content::Credit(proto::Credit { bytes, taken: 0 }),
            ParentControl::Query { id, inquiry } => parent_control::Content::Query(inquiry::to_proto(id, &inquiry)?),
        };
        Ok(proto::ParentControl { content: Some(content) })
    }

    fn from_proto(read: proto::ParentControl) -> Result<Option<ParentControl>, Error> {
        let Some(content) = read.content else { return Ok(None) };
        Ok(Some(match content {
            parent_control::Content::HelloReply(reply) => ParentControl::HelloReply(reply_from_proto(reply)?),
            parent_control::Content::Refused(refused) => ParentControl::Refused(refusal_from_proto(refused)),
            parent_control::Content::Assignment(assignment) => {
                ParentControl::Assignment(assignment_from_proto(assignment)?)
            }
            parent_control::Content::KeptLabels(read) => ParentControl::KeptLabels(kept::from_proto(read)?),
            parent_control::Content::ClockReading(read) => ParentControl::ClockReading {
                sent: Timestamp::from_millis(read.sent_ms),
                at: Timestamp::from_millis(read.at_ms),
            },
            parent_control::Content::Credit(credit) => ParentControl::Credit { bytes: credit.bytes },
            parent_control::Content::Query(query) => {
                let id = query.query_id;
                let Some(inquiry) = inquiry::from_proto(query)? else { return Ok(None) };
                ParentControl::Query { id, inquiry: Arc::new(inquiry) }
            }
        }))
    }
}

fn hello_to_proto(hello: Hello) -> proto::Hello {
    proto::Hello {
        node: hello.node,
        role: role_to_proto(hello.role).into(),
        version: hello.version,
        incarnation: Some(incarnation_to_proto(hello.incarnation)),
        region: hello.region,
        datacenter: hello.datacenter,
        highest_sequence: hello.highest_sequence.0,
        row_keys: hello.row_keys,
        settled_through: hello.settled_through.0,
        features: Some(features_to_proto(hello.features)),
    }
}

pub(super) fn features_to_proto(features: Features) -> proto::Features {
    proto::Features { lanes: features.lanes, queries: features.queries }
}

pub(super) fn features_from_proto(read: Option<proto::Features>) -> Features {
    read.map_or(Features::default(), |read| Features { lanes: read.lanes, queries: read.queries })
}

fn claim_to_proto(claim: Claim) -> proto::Claim {
    proto::Claim { collected: claim.collected, delivered: claim.delivered, dropped: claim.dropped }
}

fn claim_from_proto(read: proto::Claim) -> Claim {
    Claim { collected: read.collected, delivered: read.delivered, dropped: read.dropped }
}

fn hello_from_proto(read: proto::Hello) -> Result<Hello, Error> {
    Ok(Hello {
        node: text_within("node", read.node, NAME_BYTES_MAX)?,
        role: role_from_proto(read.role)?,
        version: text_within("version", read.version, NAME_BYTES_MAX)?,
        incarnation: incarnation_from_proto(read.incarnation)?,
        region: text_within("region", read.region, NAME_BYTES_MAX)?,
        datacenter: text_within("datacenter", read.datacenter, NAME_BYTES_MAX)?,
        highest_sequence: Sequence(read.highest_sequence),
        row_keys: read.row_keys,
        settled_through: Sequence(read.settled_through),
        features: features_from_proto(read.features),
    })
}

fn reply_to_proto(reply: HelloReply) -> proto::HelloReply {
    proto::HelloReply {
        node: reply.node,
        role: role_to_proto(reply.role).into(),
        version: reply.version,
        incarnation: Some(incarnation_to_proto(reply.incarnation)),
        row_keys_known: reply.row_keys_known,
        applied: Some(ranges_to_proto(&reply.applied)),
        wants_health_snapshot: reply.wants_health_snapshot,
        applied_samples: reply.applied_samples,
        features: Some(features_to_proto(reply.features)),
        at_ms: reply.at.map(Timestamp::as_millis),
    }
}

fn reply_from_proto(read: proto::HelloReply) -> Result<HelloReply, Error> {
    Ok(HelloReply {
        node: text_within("node", read.node, NAME_BYTES_MAX)?,
        role: role_from_proto(read.role)?,
        version: text_within("version", read.version, NAME_BYTES_MAX)?,
        incarnation: incarnation_from_proto(read.incarnation)?,
        row_keys_known: read.row_keys_known,
        applied: ranges_from_proto(read.applied)?,
        wants_health_snapshot: read.wants_health_snapshot,
        applied_samples: read.applied_samples,
        features: features_from_proto(read.features),
        at: read.at_ms.map(Timestamp::from_millis),
    })
}

pub(super) fn refusal_to_proto(refusal: Refusal) -> proto::Refused {
    let reason = match refusal.reason {
        RefusalReason::Superseded => Reason::Superseded,
        RefusalReason::WrongParent => Reason::WrongParent,
        RefusalReason::WrongIdentity => Reason::WrongIdentity,
        RefusalReason::Busy => Reason::Busy,
        RefusalReason::Malformed => Reason::Malformed,
        RefusalReason::Unknown => Reason::Unspecified,
    };
    let retry_after_ms = u32::try_from(refusal.retry_after.as_millis()).unwrap_or(u32::MAX);
    proto::Refused { reason: reason.into(), text: cut_text(&refusal.text), retry_after_ms }
}

pub(super) fn refusal_from_proto(read: proto::Refused) -> Refusal {
    let reason = match Reason::try_from(read.reason) {
        Ok(Reason::Superseded) => RefusalReason::Superseded,
        Ok(Reason::WrongParent) => RefusalReason::WrongParent,
        Ok(Reason::WrongIdentity) => RefusalReason::WrongIdentity,
        Ok(Reason::Busy) => RefusalReason::Busy,
        Ok(Reason::Malformed) => RefusalReason::Malformed,
        Ok(Reason::Unspecified) | Err(_) => RefusalReason::Unknown,
    };
    Refusal { reason, text: cut_text(&read.text), retry_after: Duration::from_millis(read.retry_after_ms.into()) }
}

fn assignment_to_proto(assignment: Assignment) -> Result<proto::Assignment, Error> {
    within("targets", assignment.targets.len(), TARGETS_MAX)?;
    Ok(proto::Assignment {
        generation: assignment.generation.0,
        fingerprint: assignment.fingerprint,
        list: assignment.list,
        effective_from_ms: assignment.effective_from.as_millis(),
        targets: assignment.targets.into_iter().map(target_to_proto).collect::<Result<_, _>>()?,
    })
}

fn assignment_from_proto(read: proto::Assignment) -> Result<Assignment, Error> {
    within("targets", read.targets.len(), TARGETS_MAX)?;
    Ok(Assignment {
        generation: Generation(read.generation),
        fingerprint: read.fingerprint,
        list: read.list,
        effective_from: Timestamp::from_millis(read.effective_from_ms),
        targets: read.targets.into_iter().map(target_from_proto).collect::<Result<_, _>>()?,
    })
}

/// Encodes an assignment as it travels, for whoever keeps it.
///
/// # Errors
/// If it is over a limit.
pub fn encode_assignment(assignment: &Assignment) -> Result<Vec<u8>, Error> {
    Ok(assignment_to_proto(assignment.clone())?.encode_to_vec())
}

/// Reads back what [`encode_assignment`] returned.
///
/// # Errors
/// If it is malformed or over a limit.
pub fn decode_assignment(bytes: &[u8]) -> Result<Assignment, Error> {
    let read = proto::Assignment::decode(bytes).map_err(|source| Error::Malformed { what: "assignment", source })?;
    assignment_from_proto(read)
}

fn target_to_proto(target: Target) -> Result<proto::Target, Error> {
    let millis = |what, time: Duration| {
        u32::try_from(time.as_millis()).map_err(|_| Error::Invalid { what, rule: "must be under 49 days" })
    };
    Ok(proto::Target {
        job_name: text_within("job", target.job_name, NAME_BYTES_MAX)?,
        labels: labels::to_flat(&target.labels)?,
        url: text_within("url", target.url, URL_BYTES_MAX)?,
        interval_ms: millis("scrape interval", target.interval)?,
        timeout_ms: millis("scrape timeout", target.timeout)?,
    })
}

fn target_from_proto(read: proto::Target) -> Result<Target, Error> {
    if read.interval_ms == 0 {
        return Err(Error::Invalid { what: "scrape interval", rule: "must be at least 1 ms" });
    }
    Ok(Target {
        job_name: text_within("job", read.job_name, NAME_BYTES_MAX)?,
        labels: labels::from_flat(&read.labels)?,
        url: text_within("url", read.url, URL_BYTES_MAX)?,
        interval: Duration::from_millis(read.interval_ms.into()),
        timeout: Duration::from_millis(read.timeout_ms.into()),
    })
}
