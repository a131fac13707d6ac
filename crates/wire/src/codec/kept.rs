//! Dropped labels, on their way down and up.

use firetower_model::kept::DROPPED_TEXT_MAX;
use firetower_model::{DroppedLabel, KeptLabels, Timestamp};
use prost::Message;

use crate::codec::walk::check_count;
use crate::error::Error;
use crate::limits::{DROPPED_LABELS_MAX, text_within, within};
use crate::proto;

const DROPPED_FIELD: u32 = 1;

/// Encodes a decision as it travels, for whoever keeps it.
///
/// # Errors
/// If it is over a limit.
pub fn encode(labels: &KeptLabels) -> Result<Vec<u8>, Error> {
    Ok(to_proto(labels)?.encode_to_vec())
}

/// Reads back what [`encode`] returned.
///
/// # Errors
/// If it is malformed or over a limit.
pub fn decode(message: &[u8]) -> Result<KeptLabels, Error> {
    check_count("dropped labels", message, DROPPED_FIELD, DROPPED_LABELS_MAX)?;
    let read = proto::KeptLabels::decode(message).map_err(|source| Error::Malformed { what: "kept labels", source })?;
    from_proto(read)
}

pub(crate) fn to_proto(labels: &KeptLabels) -> Result<proto::KeptLabels, Error> {
    within("dropped labels", labels.len(), DROPPED_LABELS_MAX)?;
    Ok(proto::KeptLabels { dropped: labels.iter().map(dropped_to_proto).collect::<Result<_, _>>()? })
}

pub(crate) fn from_proto(read: proto::KeptLabels) -> Result<KeptLabels, Error> {
    within("dropped labels", read.dropped.len(), DROPPED_LABELS_MAX)?;
    read.dropped.into_iter().map(dropped_from_proto).collect()
}

fn dropped_to_proto(dropped: DroppedLabel) -> Result<proto::DroppedLabel, Error> {
    let is_decided = dropped.from != DroppedLabel::UNDECIDED;
    Ok(proto::DroppedLabel {
        name: text_within("name", dropped.name, DROPPED_TEXT_MAX)?,
        job: text_within("job", dropped.job, DROPPED_TEXT_MAX)?,
        label: text_within("label", dropped.label, DROPPED_TEXT_MAX)?,
        values: dropped.values,
        from_ms: is_decided.then_some(dropped.from.as_millis()),
    })
}

fn dropped_from_proto(read: proto::DroppedLabel) -> Result<DroppedLabel, Error> {
    Ok(DroppedLabel {
        name: text_within("name", read.name, DROPPED_TEXT_MAX)?,
        job: text_within("job", read.job, DROPPED_TEXT_MAX)?,
        label: text_within("label", read.label, DROPPED_TEXT_MAX)?,
        values: read.values,
        from: read.from_ms.map_or(DroppedLabel::UNDECIDED, Timestamp::from_millis),
    })
}
