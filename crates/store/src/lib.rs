//! The only crate that sees RocksDB: raw samples, and what the tree keeps beside them.
//!
//! It decides nothing: what is written, acknowledged or forgotten is said by its caller. Everything that must become
//! durable together goes into one [`Batch`]. See `FORMAT.md` for keys and values.

mod analyze;
mod backup;
mod check;
mod database;
mod disk;
mod engine;
mod error;
mod hostile;
mod life;
mod raw;
mod tiers;
mod tree;
mod unreadable;
mod usage;

pub use analyze::{Analysis, Cardinality, LabelCount, PairCount, TargetCount, TierExtent};
pub use backup::Copied;
pub use check::{CheckFault, Checked, check};
pub use database::{Batch, DataDirectory, Memory, Options, Store};
pub use disk::{DiskState, Trouble, is_writable};
pub use engine::ModelDisk;
pub use error::Error;
#[doc(hidden)]
pub use hostile::read_hostile;
pub use raw::{Appended, Appender, Bucket, LastRow, LooseSample, OfTargets, ScrapeRow, ScrapeRows, Settle, StoreStats};
pub use tiers::{Cutoffs, Retire};
pub use tree::applied::{Applied, Hello, Receiver};
pub use tree::dictionary::ROW_KEYS_MAX;
pub use tree::health::{HealthFilter, Reporter};
pub use tree::outbox::{Outbox, Stored};
pub use tree::ranges::RangeSet;
pub use tree::rows::{
    DATACENTERS_MAX, Put, ROLL_DELAY, Roll, RowAnswer, RowHeader, RowQuery, RowSeries, RowTier, RowValue, TierRow,
};
pub use tree::windows::WindowRecord;
pub use usage::FamilyUsage;
