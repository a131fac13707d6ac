//! The agent: this host's own readings, for monitors to pull.
//!
//! It serves node_exporter's metrics under node_exporter's names, types and units, so that dashboards and rules written
//! for the one fit the other, and a short `/status` for those who only want to know how full the host is. It stores
//! nothing, dials nobody and invents nothing: what cannot be read is left out and said to be.
//!
//! ```no_run
//! use firetower_agent::{Options, run};
//! use firetower_daemon::{Clock, Listener};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = Listener::bind("127.0.0.1:6140").await?;
//! run(listener, Clock::system(), CancellationToken::new(), Options::default()).await?;
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use firetower_daemon::{Clock, HttpMetrics, Listener, Security, Tasks, start_http};
use tokio_util::sync::CancellationToken;

mod collect;
mod http;
mod page;
mod readings;
mod status;

pub use http::router;
pub use readings::Readings;
pub use status::Status;

/// How often the share of CPU time in use is measured.
pub const CPU_INTERVAL: Duration = Duration::from_secs(5);

/// How long the filesystems may take to answer before they are left out of the page.
pub const FILESYSTEM_TIMEOUT: Duration = Duration::from_secs(3);

/// How long answers under way may take once the agent is asked to stop.
pub const GRACE: Duration = Duration::from_secs(5);

/// What may be set about an agent.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often the share of CPU time in use is measured; more than zero.
    pub cpu_interval: Duration,
    /// How long the filesystems may take to answer before they are left out of the page.
    pub filesystem_timeout: Duration,
    /// How long answers under way may take once the agent is asked to stop.
    pub grace: Duration,
    /// Who may ask.
    pub security: Security,
}

impl Default for Options {
    fn default() -> Options {
        let security = Security::none();
        Options { cpu_interval: CPU_INTERVAL, filesystem_timeout: FILESYSTEM_TIMEOUT, grace: GRACE, security }
    }
}

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task panicked.
    #[error("task {task} panicked")]
    Panicked {
        /// Its name.
        task: &'static str,
    },
    /// Tasks did not end within the grace period and were dropped.
    #[error("tasks that overran the grace period: {}", tasks.join(", "))]
    Overran {
        /// Their names.
        tasks: Vec<&'static str>,
    },
}

/// Serves this host's readings on `listener` until `cancel` is cancelled.
///
/// # Errors
/// If a task failed, or overran the grace period while stopping.
pub async fn run(listener: Listener, clock: Clock, cancel: CancellationToken, options: Options) -> Result<(), Error> {
    let readings = Readings::new(options.filesystem_timeout);
    let security = options.security;
    let pages = router(readings.clone(), security.clone());
    tracing::info!(address = listener.local_address(), "agent listens");

    let mut tasks = Tasks::new();
    start_http(&mut tasks, listener, pages, security, HttpMetrics::default());
    tasks.start("cpu", |cancel| async move {
        readings.watch_cpu(clock, options.cpu_interval, cancel).await;
        Ok(())
    });

    let (failed, overran) = tasks.join(cancel, options.grace).await;
    if let Some(ended) = failed.into_iter().next() {
        return match ended.result {
            Err(Some(error)) => Err(error),
            _ => Err(Error::Panicked { task: ended.name }),
        };
    }
    if overran.is_empty() { Ok(()) } else { Err(Error::Overran { tasks: overran }) }
}
