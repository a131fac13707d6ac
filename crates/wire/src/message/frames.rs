//! The messages of `Live` and `Backlog`, to and from protobuf.

use std::ops::RangeInclusive;

use firetower_model::{RowId, Sequence};

use crate::codec::labels;
use crate::codec::status::{incarnation_from_proto, incarnation_to_proto};
use crate::error::Error;
use crate::limits::{FRAME_BYTES_MAX, NAME_BYTES_MAX, PART_BYTES_MAX, RANGES_MAX, ROW_KEYS_MAX, text_within, within};
use crate::message::control::{features_from_proto, features_to_proto, refusal_from_proto, refusal_to_proto};
use crate::message::{FrameDown, FrameHead, FramePart, FrameUp, Message, Opening, RowKeys, SealedFrame};
use crate::proto;
use crate::proto::{frame_down, frame_up};

impl Message for FrameUp {
    type Proto = proto::FrameUp;

    const CALL: &'static str = "frames";

    fn into_proto(self) -> Result<proto::FrameUp, Error> {
        let content = match self {
            FrameUp::Opening(opening) => frame_up::Content::Opening(opening_to_proto(opening)),
            FrameUp::RowKeys(row_keys) => frame_up::Content::RowKeys(row_keys_to_proto(&row_keys)?),
            FrameUp::Frame(frame) => frame_up::Content::Frame(proto::Frame {
                sequence: frame.sequence.0,
                weight: frame.weight,
                kind: frame.kind,
                row_keys_needed: frame.row_keys_needed,
                payload: frame.payload,
            }),
            FrameUp::Part(part) => frame_up::Content::Part(part_to_proto(part)),
        };
        Ok(proto::FrameUp { content: Some(content) })
    }

    fn from_proto(read: proto::FrameUp) -> Result<Option<FrameUp>, Error> {
        let Some(content) = read.content else { return Ok(None) };
        Ok(Some(match content {
            frame_up::Content::Opening(opening) => FrameUp::Opening(opening_from_proto(opening)?),
            frame_up::Content::RowKeys(row_keys) => FrameUp::RowKeys(row_keys_from_proto(&row_keys)?),
            frame_up::Content::Frame(frame) => FrameUp::Frame(SealedFrame {
                sequence: Sequence(frame.sequence),
                weight: frame.weight,
                kind: frame.kind,
                row_keys_needed: frame.row_keys_needed,
                payload: frame.payload,
            }),
            frame_up::Content::Part(part) => FrameUp::Part(part_from_proto(part)?),
        }))
    }
}

impl Message for FrameDown {
    type Proto = proto::FrameDown;

    const CALL: &'static str = "frames";

    fn into_proto(self) -> Result<proto::FrameDown, Error> {
        let content = match self {
            FrameDown::Acknowledged(ranges) => {
                frame_down::Content::Acknowledged(proto::Acknowledged { sequences: Some(ranges_to_proto(&ranges)) })
            }
            FrameDown::NeedRowKeys { from } => frame_down::Content::NeedRowKeys(proto::NeedRowKeys { from_id: from.0 }),
            FrameDown::Refused(refusal) => frame_down::Content::Refused(refusal_to_proto(refusal)),
            FrameDown::Credit { bytes, taken } => frame_down::Content::Credit(proto::Credit { bytes, taken }),
        };
        Ok(proto::FrameDown { content: Some(content) })
    }

    fn from_proto(read: proto::FrameDown) -> Result<Option<FrameDown>, Error> {
        let Some(content) = read.content else { return Ok(None) };
        Ok(Some(match content {
            frame_down::Content::Acknowledged(acknowledged) => {
                FrameDown::Acknowledged(ranges_from_proto(acknowledged.sequences)?)
            }
            frame_down::Content::NeedRowKeys(need) => FrameDown::NeedRowKeys { from: RowId(need.from_id) },
            frame_down::Content::Refused(refused) => FrameDown::Refused(refusal_from_proto(refused)),
            frame_down::Content::Credit(credit) => FrameDown::Credit { bytes: credit.bytes, taken: credit.taken },
        }))
    }
}

pub(super) fn opening_to_proto(opening: Opening) -> proto::Opening {
    proto::Opening {
        node: opening.node,
        incarnation: Some(incarnation_to_proto(opening.incarnation)),
        features: Some(features_to_proto(opening.features)),
    }
}

pub(super) fn opening_from_proto(read: proto::Opening) -> Result<Opening, Error> {
    Ok(Opening {
        node: text_within("node", read.node, NAME_BYTES_MAX)?,
        incarnation: incarnation_from_proto(read.incarnation)?,
        features: features_from_proto(read.features),
    })
}

fn part_to_proto(part: FramePart) -> proto::FramePart {
    let head = |head: FrameHead| proto::Frame {
        sequence: head.sequence.0,
        weight: head.weight,
        kind: head.kind,
        row_keys_needed: head.row_keys_needed,
        ..proto::Frame::default()
    };
    proto::FramePart { head: part.head.map(head), size: part.head.map_or(0, |head| head.size), content: part.content }
}

fn part_from_proto(read: proto::FramePart) -> Result<FramePart, Error> {
    within("part of a frame", read.content.len(), PART_BYTES_MAX)?;
    within("frame", read.size as usize, FRAME_BYTES_MAX)?;
    let head = |head: proto::Frame| FrameHead {
        sequence: Sequence(head.sequence),
        weight: head.weight,
        kind: head.kind,
        row_keys_needed: head.row_keys_needed,
        size: read.size,
    };
    Ok(FramePart { head: read.head.map(head), content: read.content })
}

fn row_keys_to_proto(row_keys: &RowKeys) -> Result<proto::RowKeys, Error> {
    within("row keys", row_keys.keys.len(), ROW_KEYS_MAX)?;
    let key = |key| Ok(proto::LabelSet { labels: labels::to_flat(key)? });
    let keys = row_keys.keys.iter().map(key).collect::<Result<_, Error>>()?;
    Ok(proto::RowKeys { first_id: row_keys.first.0, keys })
}

fn row_keys_from_proto(read: &proto::RowKeys) -> Result<RowKeys, Error> {
    within("row keys", read.keys.len(), ROW_KEYS_MAX)?;
    if u32::try_from(read.keys.len()).ok().and_then(|count| read.first_id.checked_add(count)).is_none() {
        return Err(Error::Invalid { what: "row ids", rule: "must fit in 32 bits" });
    }
    let keys = read.keys.iter().map(|key| labels::from_flat(&key.labels)).collect::<Result<_, _>>()?;
    Ok(RowKeys { first: RowId(read.first_id), keys })
}

/// Leaves out the ranges after the first [`RANGES_MAX`].
pub(super) fn ranges_to_proto(ranges: &[RangeInclusive<Sequence>]) -> proto::Ranges {
    let bounds = ranges.iter().take(RANGES_MAX).flat_map(|range| [range.start().0, range.end().0]);
    proto::Ranges { bounds: bounds.collect() }
}

pub(super) fn ranges_from_proto(read: Option<proto::Ranges>) -> Result<Vec<RangeInclusive<Sequence>>, Error> {
    let bounds = read.unwrap_or_default().bounds;
    let invalid = |rule| Error::Invalid { what: "ranges", rule };
    let (pairs, rest) = bounds.as_chunks::<2>();
    within("ranges", pairs.len(), RANGES_MAX)?;
    if !rest.is_empty() {
        return Err(invalid("must each have an end"));
    }
    if pairs.iter().any(|[from, to]| *from == 0 || from > to) {
        return Err(invalid("must begin at 1 at least and not end before"));
    }
    if !pairs.is_sorted_by(|a, b| a[1] < b[0]) {
        return Err(invalid("must rise without overlap"));
    }
    Ok(pairs.iter().map(|[from, to]| Sequence(*from)..=Sequence(*to)).collect())
}
