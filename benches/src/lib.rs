//! What measures the tree: a fleet of simulated targets, its log, a store fed with its pages, programs that run, and
//! readings of them.
//!
//! The whole-system tests use the same fleet. It knows nothing of the tree: a page's values follow from
//! (seed, target, line, scrape number) alone, so whoever has the log can recompute what was served.
//!
//! ```
//! use firetower_benches::{Line, Page};
//!
//! let page = Page::new(7, 50);
//! let mut text = Vec::new();
//! page.render(3, 0, &mut text);
//! assert_eq!(page.lines().len(), 50);
//! let growing = page.lines().iter().position(Line::is_cumulative).expect("a third of them grow");
//! assert!(page.value(3, growing, 1) >= page.value(3, growing, 0));
//! ```

mod containers;
mod digits;
mod feed;
mod ids;
mod log;
mod measure;
mod motion;
mod names;
mod page;
mod pages;
mod proxy;
mod recorded;
mod roster;
mod running;
mod server;
mod wait;

pub use containers::Containers;
pub use feed::Feed;
pub use ids::Ids;
pub use log::{Response, read_log};
pub use measure::{Percentiles, Process, Reading, Schedule, disk_bytes, schedule_of};
pub use page::{Behaviour, Line, Page, Values};
pub use pages::Pages;
pub use proxy::{Fault, Proxy};
pub use recorded::Recorded;
pub use roster::Churn;
pub use running::{Running, beside};
pub use server::{Explosion, Fleet, FleetOptions};
pub use wait::{exit_code, now_ms, sleep, sleep_until, stop_on_signals, wait_for};
