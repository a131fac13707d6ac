//! The only crate that sees RocksDB: raw samples, and what the tree keeps beside them.
//!
//! It decides nothing: what is written, acknowledged or forgotten is said by its caller. Everything that must become
//! durable together goes into one [`Batch`]. See `FORMAT.md` for keys and values.

mod database;
mod error;

pub use database::{Batch, Options, Store};
pub use error::Error;
