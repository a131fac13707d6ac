//! The monitor that pulls: scrapes its share of a datacenter's targets, keeps every sample, and passes windows on.
//!
//! Each target has one task, which scrapes it at its slots. All scrapes go through one collector, which
//! appends them to the store and adds them to the open windows; a window's rows go into the outbox a second after its
//! end. Everything that a window says follows from the raw samples, so that it can be said again after a crash.

mod answer;
mod census;
mod collect;
mod collector;
mod discovery;
mod kept;
mod label_limits;
mod listed;
mod maintain;
mod metrics;
mod plan;
mod read_only;
mod receive;
mod replay;
mod resolver;
mod run;
mod share;
mod starts;
mod targets;
mod track;
mod tsdb;
mod window;

pub use run::{Setup, StandaloneSetup, run, run_standalone};

/// Why a secondary stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("keep samples")]
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
