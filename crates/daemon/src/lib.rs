//! What every process of the tree is handed from outside: clock, randomness, connections and who may make them, names,
//! tasks, signals, telemetry.
//!
//! Roles take these as parameters and never reach for the system's own, so that a test can pass simulated ones.
//! Nothing here knows what a monitor does.
//!
//! ```
//! use firetower_daemon::Random;
//!
//! let (a, b) = (Random::seeded(7), Random::seeded(7));
//! assert_eq!(a.next_u64(), b.next_u64());
//! assert!(a.below(10) < 10);
//! ```

mod aside;
mod backoff;
mod blocking;
mod clock;
mod crowd;
mod http;
mod names;
mod net;
mod process;
mod random;
mod security;
mod signal;
mod surroundings;
mod tasks;
mod telemetry;

pub use aside::aside;
pub use backoff::Backoff;
pub use blocking::blocking;
pub use clock::Clock;
pub use crowd::{CrowdMetrics, CrowdRules, Place, Work, serve_crowd};
pub use http::{HttpMetrics, start_http};
pub use names::{NameRecord, Names};
pub use net::{Connector, Io, Listener, Peer, Stream};
pub use process::ProcessMetrics;
pub use random::Random;
pub use security::{
    CertificateFiles, Port, Security, SecurityError, SecurityFamily, SecurityLine, TokenFiles, certificate_end,
};
pub use signal::{ReloadSignal, stop_signal};
pub use surroundings::Surroundings;
pub use tasks::{Ended, Tasks};
pub use telemetry::{chain, start_logging};
