//! Frames as bytes: protobuf inside zstd.

pub(crate) mod column;
mod health;
pub(crate) mod kept;
pub(crate) mod labels;
pub(crate) mod piece;
mod rows;
pub(crate) mod screen;
pub(crate) mod status;
mod walk;

use std::io::Read;

use firetower_model::{Body, DropReason, Frame, Sequence, Tombstone};
use prost::Message;

use crate::error::Error;
use crate::limits::{FRAME_BYTES_MAX, within};
use crate::proto;

const KIND_UNKNOWN: u32 = 0;
const KIND_ROWS: u32 = 1;
const KIND_HEALTH: u32 = 2;
const KIND_TOMBSTONE: u32 = 3;
const KIND_KEPT: u32 = 4;

/// Of zstd: its own default.
const COMPRESSION_LEVEL: i32 = 3;
/// Base-2 logarithm of how far back a payload may refer, which bounds the memory to inflate it.
const WINDOW_LOG_MAX: u32 = FRAME_BYTES_MAX.ilog2();

/// Returns the number that stands for the kind of `body` on the wire and in the outbox.
pub fn kind(body: &Body) -> u32 {
    match body {
        Body::Rows(_) => KIND_ROWS,
        Body::Health(_) => KIND_HEALTH,
        Body::Tombstone(_) => KIND_TOMBSTONE,
        Body::Kept(_) => KIND_KEPT,
        Body::Unknown => KIND_UNKNOWN,
    }
}

/// Returns the payload of a frame that says `body`; its kind goes beside it.
///
/// Doubles keep their bits, NaN included. Reasons for people are cut to [`crate::limits::TEXT_BYTES_MAX`].
///
/// # Errors
/// If a receiver would refuse it: over one of [`crate::limits`], or ids that do not rise.
pub fn encode_frame(body: &Body) -> Result<Vec<u8>, Error> {
    let message = match body {
        Body::Rows(rows) => rows::to_proto(rows)?.encode_to_vec(),
        Body::Health(report) => health::to_proto(report)?.encode_to_vec(),
        Body::Tombstone(tombstone) => tombstone_to_proto(tombstone).encode_to_vec(),
        Body::Kept(labels) => kept::encode(labels)?,
        Body::Unknown => return Ok(Vec::new()),
    };
    within("frame", message.len(), FRAME_BYTES_MAX)?;
    zstd::bulk::compress(&message, COMPRESSION_LEVEL).map_err(|source| Error::Compress { what: "frame", source })
}

/// Reads what [`encode_frame`] returned, of this release or a neighbouring one.
///
/// Kinds of frames, blocks of rows and fields that this release does not know are skipped; a frame that is left with
/// no meaning is [`Body::Unknown`].
///
/// # Errors
/// If the payload is not what its kind says, or over one of [`crate::limits`]. Memory stays within a small multiple of
/// [`FRAME_BYTES_MAX`], whatever the bytes.
pub fn decode_frame(sequence: Sequence, weight: u64, kind: u32, payload: &[u8]) -> Result<Frame, Error> {
    let body = match kind {
        KIND_ROWS => Body::Rows(rows::decode(&inflate("frame", payload)?)?),
        KIND_HEALTH => Body::Health(health::decode(&inflate("frame", payload)?)?),
        KIND_TOMBSTONE => decode_tombstone(&inflate("frame", payload)?)?,
        KIND_KEPT => Body::Kept(kept::decode(&inflate("frame", payload)?)?),
        _ => Body::Unknown,
    };
    Ok(Frame { sequence, weight, body })
}

/// Returns how many bytes a payload that begins like this takes when inflated, at most [`FRAME_BYTES_MAX`].
pub fn inflated_bytes(start: &[u8]) -> usize {
    let said = zstd::zstd_safe::get_frame_content_size(start).ok().flatten();
    said.map_or(FRAME_BYTES_MAX, |said| usize::try_from(said).map_or(FRAME_BYTES_MAX, |said| said.min(FRAME_BYTES_MAX)))
}

/// Returns what was compressed, at most [`FRAME_BYTES_MAX`].
fn inflate(what: &'static str, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let inflate_error = |source| Error::Inflate { what, source };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload).map_err(inflate_error)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(inflate_error)?;
    let mut message = Vec::new();
    decoder.take(FRAME_BYTES_MAX as u64 + 1).read_to_end(&mut message).map_err(inflate_error)?;
    within(what, message.len(), FRAME_BYTES_MAX)?;
    Ok(message)
}

fn tombstone_to_proto(tombstone: &Tombstone) -> proto::Tombstone {
    proto::Tombstone {
        from: tombstone.from.0,
        to: tombstone.to.0,
        reason: drop_reason_to_proto(tombstone.reason).into(),
    }
}

fn decode_tombstone(message: &[u8]) -> Result<Body, Error> {
    let tombstone =
        proto::Tombstone::decode(message).map_err(|source| Error::Malformed { what: "tombstone", source })?;
    if tombstone.from > tombstone.to {
        return Err(Error::Invalid { what: "tombstone", rule: "must not end before it begins" });
    }
    let reason = drop_reason_from_proto(tombstone.reason);
    Ok(Body::Tombstone(Tombstone { from: Sequence(tombstone.from), to: Sequence(tombstone.to), reason }))
}

pub(crate) fn drop_reason_to_proto(reason: DropReason) -> proto::DropReason {
    match reason {
        DropReason::OutboxFull => proto::DropReason::OutboxFull,
        DropReason::LateUnmerged => proto::DropReason::LateUnmerged,
        DropReason::IncarnationLost => proto::DropReason::IncarnationLost,
        DropReason::ParentLost => proto::DropReason::ParentLost,
        DropReason::UnknownKind => proto::DropReason::UnknownKind,
        DropReason::DiskFull => proto::DropReason::DiskFull,
        DropReason::Other => proto::DropReason::Unspecified,
    }
}

/// Returns [`DropReason::Other`] for a reason that this release does not know: what it counts is still counted.
pub(crate) fn drop_reason_from_proto(reason: i32) -> DropReason {
    match proto::DropReason::try_from(reason) {
        Ok(proto::DropReason::OutboxFull) => DropReason::OutboxFull,
        Ok(proto::DropReason::LateUnmerged) => DropReason::LateUnmerged,
        Ok(proto::DropReason::IncarnationLost) => DropReason::IncarnationLost,
        Ok(proto::DropReason::ParentLost) => DropReason::ParentLost,
        Ok(proto::DropReason::UnknownKind) => DropReason::UnknownKind,
        Ok(proto::DropReason::DiskFull) => DropReason::DiskFull,
        Ok(proto::DropReason::Unspecified) | Err(_) => DropReason::Other,
    }
}

#[cfg(test)]
mod tests;
