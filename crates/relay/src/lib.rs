//! Passing frames from hill to hill: what every monitor with a parent, or with children, does alike.
//!
//! [`Outlet`] keeps frames until every parent replica has acknowledged them, [`Link`] takes them to one replica, and
//! [`keep`] receives those of the children, applies each exactly once, and acknowledges it when it is durable. What a
//! frame means is for the role, through [`Parent`].
//!
//! The other way go questions: [`Callers`] asks children, and what a [`Link`] is asked goes to the [`Answers`] of its role.
//!
//! It joins `wire` and `store`, which do not know each other.

mod answers;
mod audit;
mod callers;
mod clock;
mod disk;
mod error;
mod exposed;
mod inbound;
mod inbox;
mod intake;
mod keep;
mod lane;
mod link;
mod maintain;
mod metrics;
mod outlet;
mod pace;
mod session;

pub use answers::{Answers, Out};
pub use audit::Audit;
pub use callers::{Asked, Caller, Callers, Failed, Heard};
pub use clock::ExposedClock;
pub use disk::watch_disk;
pub use error::Error;
pub use exposed::{ExposedDisk, ExposedKept, ExposedStatus};
pub use keep::{Children, FUTURE_TOLERANCE, Keeping, Orders, Parent, keep};
pub use link::{Identity, Link, ParentEvent};
pub use maintain::maintain_rows;
pub use metrics::RelayMetrics;
pub use outlet::{OutboxLimits, Outlet};
