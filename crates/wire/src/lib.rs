//! The wire between the tiers of the tree: the calls of `proto/firetower/v1`, and the frames that travel in them. Also what
//! Prometheus writes to us by remote_write.
//!
//! This is the only crate that sees protobuf and gRPC; everybody else speaks in the types of `firetower_model` and in
//! the few of [`message`]. It moves and checks what was said, within the limits of [`limits`], and decides nothing: who
//! may speak, what is applied and when to dial again is for the roles.
//!
//! ```
//! use firetower_model::{Body, DropReason, Sequence, Tombstone};
//! use firetower_wire::{decode_frame, encode_frame, kind};
//!
//! let body = Body::Tombstone(Tombstone { from: Sequence(3), to: Sequence(9), reason: DropReason::OutboxFull });
//! let payload = encode_frame(&body)?;
//! let frame = decode_frame(Sequence(10), 70_000, kind(&body), &payload)?;
//! assert_eq!((frame.weight, frame.body), (70_000, body));
//! # Ok::<(), firetower_wire::Error>(())
//! ```

mod codec;
mod dial;
mod error;
mod fields;
pub mod limits;
pub mod message;
mod proto;
mod serve;
mod session;
mod written;

pub use codec::kept::{decode as decode_kept, encode as encode_kept};
pub use codec::piece::{decode as decode_pieces, encode as encode_piece, encode_ending};
pub use codec::{decode_frame, encode_frame, inflated_bytes, kind};
pub use dial::{DialOptions, Parent};
pub use error::Error;
pub use message::{
    AnswerDown, AnswerUp, ChildControl, Features, FrameDown, FrameHead, FramePart, FrameUp, Heartbeat, Hello,
    HelloReply, Opening, ParentControl, Refusal, RefusalReason, RowKeys, SealedFrame, check_inquiry, decode_assignment,
    encode_assignment,
};
pub use prost::bytes::Bytes;
pub use serve::{Accepted, AnswerSession, CallMetrics, ControlSession, FrameSession, Lane, serve};
pub use session::{Receiver, Sender};
pub use written::{SeriesReader, WriteCounts, WriteLimits, WriteRequest, WrittenSeries};
