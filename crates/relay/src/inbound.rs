//! What sessions hand to the keeper.

use firetower_model::{Claim, Frame, Generation, Incarnation, NodeStatus, Sequence, Timestamp};
use firetower_wire::{FrameDown, Hello, ParentControl, Refusal, RowKeys};
use tokio::sync::{mpsc, oneshot};

use crate::inbox::Room;

/// Tells the sessions of one keeper apart; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

/// What sessions hand to the keeper.
pub(crate) enum Inbound {
    /// A child greets; `out` takes what it is to be told later.
    Hello { session: SessionId, hello: Hello, answer: oneshot::Sender<ParentControl>, out: mpsc::Sender<ParentControl> },
    /// A child lives.
    Heartbeat { session: SessionId, status: Box<NodeStatus>, highest: Sequence, at: Timestamp, claim: Option<Claim> },
    /// A child follows an assignment.
    Taken { session: SessionId, generation: Generation, fingerprint: u64 },
    /// A child's `Control` call has ended.
    Gone { session: SessionId },
    /// A child opens a stream of frames; the answer is a refusal if it is not here.
    Opening { child: String, incarnation: Incarnation, answer: oneshot::Sender<Option<Refusal>> },
    /// A child names rows.
    RowKeys { child: String, incarnation: Incarnation, row_keys: RowKeys, room: Room, out: mpsc::Sender<FrameDown> },
    /// A child's frame.
    Frame {
        session: SessionId,
        child: String,
        incarnation: Incarnation,
        frame: Frame,
        row_keys_needed: u32,
        /// Held until it is applied.
        room: Room,
        out: mpsc::Sender<FrameDown>,
    },
}
