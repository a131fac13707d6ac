//! Whole-system tests: real processes on loopback, scraped targets, crashes, and what must hold afterwards.
//!
//! [`Tree`] starts a tree of monitors over a simulated fleet, kills and restarts them, and cleans up. [`Answers`]
//! reads what a process says over HTTP. [`expected_rows`] recomputes from raw samples what must be at the top, by
//! the rules of ARCHITECTURE.md alone: it shares no code with what it checks.

mod answers;
mod binaries;
mod broken;
mod disk;
mod expect;
mod hosts;
mod impostor;
mod journal;
mod name_server;
mod pods;
mod ports;
mod process;
mod served;
mod site;
mod trap;
mod tree;
mod wait;
mod write_body;

pub use answers::{Account, Answers, Coverage, Dropped, Point, RawSeries, Received, Row, RowKey, Rows, encode};
pub use binaries::{firetower, fleet};
pub use broken::{Broken, LinkFault};
pub use disk::Disk;
pub use expect::{Grid, check_account, check_coverage, check_few_lost, check_rows, expected_rows, join, without};
pub use hosts::Hosts;
pub use journal::Journal;
pub use name_server::NameServer;
pub use pods::Pods;
pub use ports::Ports;
pub use process::Process;
pub use served::check_served;
pub use site::{Answer, Asked, Site};
pub use trap::{TRAPS, Trap};
pub use tree::{Layout, Tree};
pub use wait::{now_ms, wait_for};
pub use write_body::WriteBody;
