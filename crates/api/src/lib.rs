//! The HTTP API of every monitor, cut into pieces that a role puts together.
//!
//! [`common`] is what all of them serve, [`series()`] answers PromQL, lists series and labels, and has the newest samples,
//! [`spans`] answers from tiers, [`targets()`] says what is scraped, [`about()`] what Prometheus's pages ask beside,
//! [`tsdb`] who has how many, [`kept`] which labels rows lack, [`backup`] copies the data directory, [`monitor`] how one
//! monitor is, [`global`] answers for the whole fleet, [`write()`] takes what others write. Nothing here decides: it reads what it is handed
//! and writes it down. It holds no state beyond the limits of a request.
//!
//! ```
//! use std::sync::Arc;
//! use firetower_api::{Common, Readiness, common};
//! use prometheus_client::registry::Registry;
//!
//! let readiness = Readiness::waiting("opening the store");
//! let router = common(Common { readiness: readiness.clone(), registry: Arc::new(Registry::default()), reload: None });
//! readiness.set_ready();
//! # let _ = router;
//! ```

mod about;
mod backup;
mod blocking;
mod common;
mod compressed;
mod error;
mod federate;
mod global;
mod json;
mod kept;
mod lists;
mod monitor;
mod params;
mod query;
mod series;
mod spans;
mod targets;
mod tsdb;
mod write;

pub use about::{About, JobFound, about};
pub use backup::{MakeBackup, backup};
pub use common::{Common, Readiness, Reload, common, reload_on_signal};
pub use error::Error;
pub use global::{
    CoverageFound, DurationsAsked, DurationsFound, GlobalAnswers, HealthAsked, HealthFound, PointFound, ReadDurations,
    ReadError, ReadHealth, ReadRows, RowFound, RowTier, RowsAsked, RowsFound, ServiceInstance, global,
};
pub use kept::kept;
pub use monitor::monitor;
pub use series::series;
pub use spans::spans;
pub use targets::{AskTargets, LastScrape, TargetFound, targets};
pub use tsdb::{Counted, ReadTsdb, TsdbStatus, tsdb};
pub use write::{NotTaken, TakeWrite, Taken, WriteMetrics, write};
