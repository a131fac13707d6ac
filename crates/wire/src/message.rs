//! What is said in the calls, in the words of the tree.

mod answers;
mod control;
mod frames;
mod inquiry;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use firetower_model::{
    Assignment, Claim, Generation, Incarnation, Inquiry, KeptLabels, Labels, NodeStatus, Role, RowId, Sequence,
    Timestamp,
};
use prost::bytes::Bytes;

use crate::error::Error;

pub use answers::{AnswerDown, AnswerUp};
pub use control::{decode_assignment, encode_assignment};
pub use inquiry::check_inquiry;

/// What a child says on `Control`; [`ChildControl::Hello`] first.
#[derive(Clone, Debug, PartialEq)]
pub enum ChildControl {
    /// Who it is.
    Hello(Hello),
    /// That it lives, and how it is.
    Heartbeat(Box<Heartbeat>),
    /// That it has stored an assignment and will follow it.
    AssignmentTaken {
        /// Which.
        generation: Generation,
        /// As computed by the child.
        fingerprint: u64,
    },
}

/// What a parent says on `Control`; [`ParentControl::HelloReply`] or [`ParentControl::Refused`] first.
#[derive(Clone, Debug, PartialEq)]
pub enum ParentControl {
    /// That it takes the child on.
    HelloReply(HelloReply),
    /// That it does not; the call ends.
    Refused(Refusal),
    /// The child's share of the targets.
    Assignment(Assignment),
    /// What its clock shows, in answer to a heartbeat.
    ClockReading {
        /// [`Heartbeat::at`].
        sent: Timestamp,
        /// The parent's time.
        at: Timestamp,
    },
    /// All that it has decided about labels: after a hello, and whenever that grows.
    KeptLabels(KeptLabels),
    /// How many more bytes of frames it is ready to take.
    Credit {
        /// How many.
        bytes: u64,
    },
    /// What it wants to know; the answer goes up on `Answer`.
    Query {
        /// Numbers the answer; never used again.
        id: u64,
        /// What is asked.
        inquiry: Arc<Inquiry>,
    },
}

/// What a child says on `Live` and `Backlog`; [`FrameUp::Opening`] first.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameUp {
    /// Whose stream this is.
    Opening(Opening),
    /// Keys of rows.
    RowKeys(RowKeys),
    /// One frame.
    Frame(SealedFrame),
    /// The next part of a frame.
    Part(FramePart),
}

/// What a parent says on `Live` and `Backlog`.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameDown {
    /// These sequences are applied and durable. Ranges rise and do not touch.
    Acknowledged(Vec<RangeInclusive<Sequence>>),
    /// It lacks row keys from this id on, and has not applied the frames that need them.
    NeedRowKeys {
        /// First id that it lacks.
        from: RowId,
    },
    /// It does not take this stream; the call ends.
    Refused(Refusal),
    /// How many more bytes it is ready to take on this stream.
    Credit {
        /// How many.
        bytes: u64,
        /// How many it has taken so far.
        taken: u64,
    },
}

/// What a side can do beside what every release can; what both can is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Features {
    /// Frames in parts, credit, and old frames on `Backlog`.
    pub lanes: bool,
    /// Queries on `Control`, and `Answer`.
    pub queries: bool,
}

impl Features {
    /// Those of this release.
    pub const OURS: Features = Features { lanes: true, queries: true };
}

/// A child says who it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// Name in the topology file.
    pub node: String,
    /// Its place in the tree.
    pub role: Role,
    /// Release.
    pub version: String,
    /// Life of its data directory.
    pub incarnation: Incarnation,
    /// Region, or empty.
    pub region: String,
    /// Datacenter, or empty.
    pub datacenter: String,
    /// Highest sequence written to its outbox, 0 before the first.
    pub highest_sequence: Sequence,
    /// How many row keys its incarnation has: ids from 0 up to, not including, this.
    pub row_keys: u32,
    /// Sequences up to this one will not be sent to this parent.
    pub settled_through: Sequence,
    /// What it can do.
    pub features: Features,
}

/// A parent takes a child on.
#[derive(Clone, Debug, PartialEq)]
pub struct HelloReply {
    /// The parent's name in the topology file.
    pub node: String,
    /// Its place in the tree.
    pub role: Role,
    /// Release.
    pub version: String,
    /// Life of its data directory: if it is another than before, acknowledged frames may be lost there.
    pub incarnation: Incarnation,
    /// How many of the child's row keys it has, from id 0 on.
    pub row_keys_known: u32,
    /// Sequences of the child's incarnation that are applied and durable. Ranges rise and do not touch.
    pub applied: Vec<RangeInclusive<Sequence>>,
    /// Whether the next health report should be a snapshot.
    pub wants_health_snapshot: bool,
    /// Raw samples in the frames of `applied`; `None` from an earlier release.
    pub applied_samples: Option<u64>,
    /// What it can do.
    pub features: Features,
    /// The parent's time; `None` from an older release.
    pub at: Option<Timestamp>,
}

/// A child lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// How it and those below it are.
    pub status: NodeStatus,
    /// Highest sequence written to its outbox, 0 before the first.
    pub highest_sequence: Sequence,
    /// The child's time when it sent this.
    pub at: Timestamp,
    /// What it counts towards this parent, once that is known.
    pub claim: Option<Claim>,
}

/// Why a parent does not take a child, or a stream, on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the child's program.
    pub reason: RefusalReason,
    /// For people; cut at [`crate::limits::TEXT_BYTES_MAX`].
    pub text: String,
    /// Not to come again before this is over.
    pub retry_after: Duration,
}

impl Refusal {
    /// Refuses for good, or until somebody has changed something.
    pub fn new(reason: RefusalReason, text: impl Into<String>) -> Refusal {
        Refusal { reason, text: text.into(), retry_after: Duration::ZERO }
    }
}

/// Why a parent does not take a child, or a stream, on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalReason {
    /// A newer incarnation of this node has been here; the process should exit.
    Superseded,
    /// This parent is not the parent of that node, by its topology file.
    WrongParent,
    /// The peer is not who it says it is.
    WrongIdentity,
    /// Not now; come again later.
    Busy,
    /// What was sent makes no sense to the parent.
    Malformed,
    /// A reason that this release does not know.
    Unknown,
}

impl RefusalReason {
    /// Returns the word for it in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusalReason::Superseded => "superseded",
            RefusalReason::WrongParent => "wrong_parent",
            RefusalReason::WrongIdentity => "wrong_identity",
            RefusalReason::Busy => "busy",
            RefusalReason::Malformed => "malformed",
            RefusalReason::Unknown => "unknown",
        }
    }
}

/// Whose stream this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Name in the topology file.
    pub node: String,
    /// Life of its data directory.
    pub incarnation: Incarnation,
    /// What it can do.
    pub features: Features,
}

/// Keys of rows in order of their ids, without gaps: at most [`crate::limits::ROW_KEYS_MAX`] in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKeys {
    /// Id of the first.
    pub first: RowId,
    /// Name, kept labels and job of each.
    pub keys: Vec<Labels>,
}

impl RowKeys {
    /// Returns how many bytes they count against credit.
    pub fn cost(&self) -> u64 {
        self.keys.iter().map(RowKeys::cost_of).sum()
    }

    /// Returns how many bytes one key counts against credit.
    pub fn cost_of(key: &Labels) -> u64 {
        16 + key.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() as u64
    }
}

/// All of a frame but its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Its place in the stream of the sender's incarnation.
    pub sequence: Sequence,
    /// How many raw samples it carries that no earlier frame did.
    pub weight: u64,
    /// What [`crate::kind`] returned.
    pub kind: u32,
    /// How many row keys, from id 0 on, the parent must have to apply it.
    pub row_keys_needed: u32,
    /// Bytes of its payload, at most [`crate::limits::FRAME_BYTES_MAX`].
    pub size: u32,
}

/// A part of a frame; the parts of a frame follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramePart {
    /// Begins a frame; `None` in the parts after the first.
    pub head: Option<FrameHead>,
    /// The next bytes of its payload, at most [`crate::limits::PART_BYTES_MAX`].
    pub content: Bytes,
}

/// A frame as it lies in the outbox: its payload is what [`crate::encode_frame`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFrame {
    /// Its place in the stream of the sender's incarnation.
    pub sequence: Sequence,
    /// How many raw samples it carries that no earlier frame did.
    pub weight: u64,
    /// What [`crate::kind`] returned.
    pub kind: u32,
    /// How many row keys, from id 0 on, the parent must have to apply it.
    pub row_keys_needed: u32,
    /// What it says.
    pub payload: Bytes,
}

/// A message of one direction of one call.
///
/// Implemented by the six enums of this module, and by nothing else.
pub trait Message: Sized + Send + 'static {
    /// Its protobuf.
    #[doc(hidden)]
    type Proto: prost::Message + Default + 'static;

    /// Which call it belongs to, for error messages.
    const CALL: &'static str;

    /// Returns it as protobuf.
    #[doc(hidden)]
    fn into_proto(self) -> Result<Self::Proto, Error>;

    /// Reads it from protobuf; `None` if this release does not know what is said.
    #[doc(hidden)]
    fn from_proto(read: Self::Proto) -> Result<Option<Self>, Error>;
}
