//! The monitor above all datacenters: takes the primaries' rows and answers for the whole fleet.
//!
//! It holds rows, counts of health and the unhealthy targets; raw samples stay where they were scraped. A row is keyed by
//! datacenter and never by sender, so both primaries of a pair may send it.

mod answers;
mod below;
mod roll;
mod run;
mod summit;

pub use run::{Setup, run};

/// Why a global aggregator stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("keep the fleet's rows")]
    Store(#[from] firetower_store::Error),
    /// Frames stopped moving.
    #[error("take frames in")]
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
