//! The monitor of one datacenter: assigns targets to its secondaries, merges what they say, and passes it on.
//!
//! It scrapes nothing and keeps no raw samples; it keeps rows. What it does with each frame is in [`Setup`]'s order:
//! frames of the secondaries become partials, partials become the datacenter's rows, rows go to every replica of the
//! global aggregator.

mod answer;
mod discovery;
mod kept;
mod merge;
mod run;
mod shares;
mod tower;

pub use run::{Setup, run};

/// Why a primary stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("keep the datacenter's rows")]
    Store(#[from] firetower_store::Error),
    /// What was kept does not read back.
    #[error("read what was kept")]
    Wire(#[from] firetower_wire::Error),
    /// Frames stopped moving.
    #[error("pass frames on")]
    Relay(#[from] firetower_relay::Error),
    /// The HTTP API failed.
    #[error("answer over HTTP")]
    Api(#[from] std::io::Error),
    /// A task broke one of our own rules.
    #[error("task {name} panicked")]
    Panicked {
        /// Its name.
        name: &'static str,
    },
    /// Stopping took longer than the grace period.
    #[error("stopping took longer than {grace:?}: {} had not ended", tasks.join(", "))]
    Overran {
        /// The grace period.
        grace: std::time::Duration,
        /// The tasks that were cut off.
        tasks: Vec<&'static str>,
    },
}
