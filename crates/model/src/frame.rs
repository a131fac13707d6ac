//! What travels up the tree, one sequenced message at a time.

use crate::coverage::{Coverage, SlotBits, Watermark};
use crate::cross::Cross;
use crate::health::{HealthCounts, NodeHealth};
use crate::ids::{Epoch, Revision, RowId, Sequence};
use crate::kept::{KeptLabels, KeptVersion};
use crate::time::{Timestamp, Window};

/// One sequenced message of a push stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Its place in the stream of the sender's incarnation.
    pub sequence: Sequence,
    /// How many raw samples it carries that no earlier frame did.
    pub weight: u64,
    /// What it says.
    pub body: Body,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// One datacenter's rows of one window.
    Rows(WindowRows),
    /// Changes of health.
    Health(HealthReport),
    /// Stands for frames that the outbox had to drop.
    Tombstone(Tombstone),
    /// Labels that the sender's rows lack or should lack: what it proposes, and what it knows to be decided.
    Kept(KeptLabels),
    /// A kind that this release does not know; applied as nothing, acknowledged, and counted.
    Unknown,
}

/// All rows that one sender has for one window of one datacenter.
///
/// A higher revision replaces a lower one as a whole, so applying is an upsert and replay is harmless.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowRows {
    /// Whose rows.
    pub datacenter: String,
    /// Which window.
    pub window: Window,
    /// 1 at the close; a primary's is the sum of its children's, so that both of a pair count alike.
    pub revision: Revision,
    /// Of the sender's lease.
    pub epoch: Epoch,
    /// What qualifies the rows.
    pub coverage: Coverage,
    /// Which slots are behind them; a secondary's frames only.
    pub slots: Option<SlotBits>,
    /// How far the sender had come.
    pub watermark: Watermark,
    /// In order of the ids, each once. Ids are the sender's incarnation's.
    pub rows: Vec<(RowId, Cross)>,
    /// How long scrapes took.
    pub durations: Vec<JobDurations>,
    /// By which decision the sender chose the keys.
    pub kept: KeptVersion,
}

/// How long the scrapes of one job took in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDurations {
    /// Value of the `job` label.
    pub job: String,
    /// An `hdrhistogram` of microseconds, 1 µs to 60 s, 2 digits, serialised as V2.
    pub histogram: Vec<u8>,
}

/// Changes of health, and the counts after them.
///
/// Keyed by (reporter, incarnation): of two reports the one with the higher sequence holds.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthReport {
    /// The secondary whose targets these are.
    pub reporter: String,
    /// Orders the reports of a reporter: greater is newer. Survives restarts of the reporter.
    pub version: u64,
    /// Whose targets.
    pub datacenter: String,
    /// When.
    pub at: Timestamp,
    /// All targets of the reporter, by state.
    pub counts: HealthCounts,
    /// The targets whose state changed.
    pub changes: Vec<NodeHealth>,
    /// Whether `changes` lists every unhealthy target, so that those not listed are forgotten.
    pub is_snapshot: bool,
}

/// Stands for frames that the outbox had to drop.
#[derive(Clone, Debug, PartialEq)]
pub struct Tombstone {
    /// First of them.
    pub from: Sequence,
    /// Last of them.
    pub to: Sequence,
    /// Why.
    pub reason: DropReason,
}

/// Why raw samples, or the frames that carry them, were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// The outbox was over its bytes or age.
    OutboxFull,
    /// The samples were older than `late_window` when they came.
    LateUnmerged,
    /// The child's data directory was lost with frames in it.
    IncarnationLost,
    /// The parent's data directory was lost with frames that it had acknowledged.
    ParentLost,
    /// The frames were of a kind that the one who took them does not know.
    UnknownKind,
    /// The disk was full when they were scraped.
    DiskFull,
    /// A reason that a neighbour gives and this release does not know.
    Other,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [DropReason; 7] = [
        DropReason::OutboxFull,
        DropReason::LateUnmerged,
        DropReason::IncarnationLost,
        DropReason::ParentLost,
        DropReason::UnknownKind,
        DropReason::DiskFull,
        DropReason::Other,
    ];

    /// Returns the word for it in metrics and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::OutboxFull => "outbox_full",
            DropReason::LateUnmerged => "late_unmerged",
            DropReason::IncarnationLost => "incarnation_lost",
            DropReason::ParentLost => "parent_lost",
            DropReason::UnknownKind => "unknown_kind",
            DropReason::DiskFull => "disk_full",
            DropReason::Other => "other",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<DropReason> {
        DropReason::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}
