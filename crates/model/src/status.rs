//! What a monitor says of itself, and of those below it.

use crate::coverage::{Coverage, Watermark};
use crate::frame::DropReason;
use crate::health::HealthCounts;
use crate::incarnation::Incarnation;
use crate::time::Timestamp;

/// Which place in the tree a monitor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Pulls from targets.
    Secondary,
    /// Gathers one datacenter.
    Primary,
    /// Gathers all.
    Global,
}

impl Role {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Secondary => "secondary",
            Role::Primary => "primary",
            Role::Global => "global",
        }
    }
}

/// Raw samples at one hop towards one parent: `collected = delivered + queued + dropped`.
///
/// No term is derived from the others.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Account {
    /// The parent replica.
    pub parent: String,
    /// Samples stored here (a secondary) or applied from below (a primary).
    pub collected: u64,
    /// Those whose frames the parent has acknowledged.
    pub delivered: u64,
    /// Those in open windows and in frames not yet acknowledged.
    pub queued: u64,
    /// Those given up, by reason.
    pub dropped: Vec<(DropReason, u64)>,
}

impl Account {
    /// Returns `collected - delivered - queued - dropped`: zero, or something is wrong.
    pub fn residual(&self) -> i64 {
        let dropped: u64 = self.dropped.iter().map(|(_, samples)| samples).sum();
        self.collected.wrapping_sub(self.delivered).wrapping_sub(self.queued).wrapping_sub(dropped) as i64
    }
}

/// What a child claims towards one parent replica, in raw samples of its data directory's life.
///
/// What the replica applied before it was named (again) is in the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Claim {
    /// All that is for this replica.
    pub collected: u64,
    /// What it has acknowledged.
    pub delivered: u64,
    /// What was given up, for whatever reason.
    pub dropped: u64,
}

/// Raw samples from one child, counted where they arrive, beside what the child says of them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Received {
    /// The child.
    pub child: String,
    /// Those in the applied frames of its present data directory.
    pub applied: u64,
    /// Those in the applied frames of its earlier ones.
    pub applied_before: u64,
    /// Those of the present one that the child counts as delivered here, when it last said so; `None` if it does not.
    pub delivered: Option<u64>,
    /// Those that the child held for this parent when a data directory of it was lost.
    pub incarnation_lost: u64,
}

impl Received {
    /// Returns how many samples the child counts as delivered and were not applied: zero, or something is wrong.
    ///
    /// A child hears of its deliveries after they were made, so it never counts more of them.
    pub fn excess(&self) -> u64 {
        self.delivered.map_or(0, |delivered| delivered.saturating_sub(self.applied))
    }
}

/// What a monitor says of itself with each heartbeat, and of those below it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeStatus {
    /// Name in the topology file.
    pub node: String,
    /// Its place.
    pub role: Role,
    /// Release.
    pub version: String,
    /// Life of its data directory.
    pub incarnation: Incarnation,
    /// When it said so.
    pub at: Timestamp,
    /// When its process started.
    pub started: Timestamp,
    /// Where its HTTP API listens.
    pub http: String,
    /// Region, empty for a global.
    pub region: String,
    /// Datacenter, empty for a global.
    pub datacenter: String,
    /// Whether its parent hears it: as seen by the parent, true when said by itself.
    pub is_connected: bool,
    /// Its targets (a secondary) or those of all its children, by state.
    pub targets: HealthCounts,
    /// Series that got a sample in the last scrape of their target.
    pub active_series: u64,
    /// Raw samples stored (a secondary) or carried by frames (others), per second over the last window.
    pub samples_per_second: f64,
    /// Coverage of its last complete window.
    pub coverage: Coverage,
    /// How far it has come.
    pub watermark: Watermark,
    /// Frames in its outbox.
    pub outbox_frames: u64,
    /// Bytes in its outbox.
    pub outbox_bytes: u64,
    /// Its account towards each parent replica.
    pub accounts: Vec<Account>,
    /// What it has received from each child that it ever heard, in order of their names.
    pub received: Vec<Received>,
    /// By how many milliseconds its clock is ahead of its parent's, negative if behind: as seen by the parent.
    pub clock_ahead_ms: Option<i64>,
    /// What keeps it from its work, in words; empty if nothing does.
    pub trouble: String,
    /// Those below it, in order of their names.
    pub children: Vec<NodeStatus>,
}

impl NodeStatus {
    /// What can be said of a monitor before anything was heard of it: its name, its place, and nothing else.
    pub fn silent(node: &str, role: Role, region: &str, datacenter: &str, http: &str) -> NodeStatus {
        NodeStatus {
            node: node.to_owned(),
            role,
            version: String::new(),
            incarnation: Incarnation { created: Timestamp::default(), random: 0 },
            at: Timestamp::default(),
            started: Timestamp::default(),
            http: http.to_owned(),
            region: region.to_owned(),
            datacenter: datacenter.to_owned(),
            is_connected: false,
            targets: HealthCounts::default(),
            active_series: 0,
            samples_per_second: 0.0,
            coverage: Coverage::default(),
            watermark: Watermark::default(),
            outbox_frames: 0,
            outbox_bytes: 0,
            accounts: Vec::new(),
            received: Vec::new(),
            clock_ahead_ms: None,
            trouble: String::new(),
            children: Vec::new(),
        }
    }

    /// What a monitor says of itself when its process has just started at `now`.
    #[must_use]
    pub fn started(self, version: &str, incarnation: Incarnation, now: Timestamp) -> NodeStatus {
        NodeStatus { version: version.to_owned(), incarnation, at: now, started: now, is_connected: true, ..self }
    }
}
