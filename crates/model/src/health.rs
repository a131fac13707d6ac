//! Whether a target answers.

use crate::time::Timestamp;

/// Whether a target answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Not checked yet.
    Unknown,
    /// The last check succeeded.
    Online,
    /// The last check failed, the one before it did not.
    Degraded,
    /// Two checks or more in a row failed.
    Offline,
}

impl State {
    /// Returns the word for it in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Online => "online",
            State::Degraded => "degraded",
            State::Offline => "offline",
        }
    }
}

/// What is known of one target's health at its last check.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeHealth {
    /// Datacenter it is in.
    pub datacenter: String,
    /// Value of its `job` label.
    pub job: String,
    /// `host:port`.
    pub node_key: String,
    /// Value of its `instance` label, which tells targets of one address apart; empty from a child that does not say it.
    pub instance: String,
    /// The verdict.
    pub state: State,
    /// Failed checks in a row.
    pub consecutive_failures: u32,
    /// When it was last checked.
    pub last_check: Timestamp,
    /// How long that check took, in seconds.
    pub response_time_seconds: f64,
    /// Share of its processors in use, in percent; `None` where unknown.
    pub cpu_usage: Option<f64>,
    /// Share of its memory in use, in percent; `None` where unknown.
    pub memory_usage: Option<f64>,
    /// Why the last check failed, in words; empty if it did not.
    pub reason: String,
}

/// How many targets are in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HealthCounts {
    /// Not checked yet.
    pub unknown: u64,
    /// Last check succeeded.
    pub online: u64,
    /// One failed check.
    pub degraded: u64,
    /// Two failed checks or more.
    pub offline: u64,
}

impl HealthCounts {
    /// Counts one target in `state`.
    pub fn add(&mut self, state: State) {
        match state {
            State::Unknown => self.unknown += 1,
            State::Online => self.online += 1,
            State::Degraded => self.degraded += 1,
            State::Offline => self.offline += 1,
        }
    }

    /// Adds other targets.
    pub fn merge(&mut self, other: &HealthCounts) {
        self.unknown += other.unknown;
        self.online += other.online;
        self.degraded += other.degraded;
        self.offline += other.offline;
    }

    /// Returns how many targets there are.
    pub fn total(&self) -> u64 {
        self.unknown + self.online + self.degraded + self.offline
    }
}
