//! What the tree keeps beside raw samples: frames out and in, row keys, windows, rows, health.
//!
//! What is held in memory as well is shared by the clones of a store, and runs ahead of the disk until the caller
//! commits its batch; a caller whose commit fails ends the process.

pub(crate) mod applied;
mod check;
mod codec;
pub(crate) mod dictionary;
pub(crate) mod health;
mod kv;
pub(crate) mod outbox;
mod partials;
pub(crate) mod ranges;
mod recent;
pub(crate) mod rows;
pub(crate) mod windows;

pub(crate) use check::check_entry;
pub(crate) use outbox::forget_outbox;
pub(crate) use windows::end_windows;

use std::sync::{Mutex, RwLock};

use rocksdb::PrefixRange;

use crate::database::Store;
use crate::engine::{Engine, ReadOptions};
use crate::error::Error;
use crate::tree::dictionary::Dictionary;
use crate::tree::health::HealthBook;
use crate::tree::partials::Revisions;
use crate::tree::recent::Recent;
use crate::tree::rows::{Datacenters, Headers};

/// Reads `bytes` as a child's rows of a window.
pub(crate) fn read_partial(bytes: &[u8]) -> Option<()> {
    codec::decode_window_rows(bytes).map(drop)
}

/// Why a lock can be taken.
const UNPOISONED: &str = "nothing panics while it holds the lock";

/// A key and its value.
type Pair = (Box<[u8]>, Box<[u8]>);

/// What of it is held in memory as well.
pub(crate) struct Tree {
    dictionary: RwLock<Dictionary>,
    datacenters: RwLock<Datacenters>,
    health: RwLock<HealthBook>,
    partial_revisions: Revisions,
    row_headers: Headers,
}

impl Tree {
    /// Reads back what is held in memory.
    pub(crate) fn load(db: &Engine) -> Result<Tree, Error> {
        Ok(Tree {
            dictionary: RwLock::new(Dictionary::load(db)?),
            datacenters: RwLock::new(Datacenters::load(db)?),
            health: RwLock::new(HealthBook::load(db)?),
            partial_revisions: Mutex::new(Recent::new()),
            row_headers: Mutex::new(Recent::new()),
        })
    }
}

/// Reads all keys that start with `prefix`, in order.
fn scan<'a>(db: &'a Engine, name: &'static str, prefix: &[u8]) -> impl Iterator<Item = Result<Pair, Error>> + 'a {
    let mut options = ReadOptions::default();
    options.set_iterate_range(PrefixRange(prefix));
    let pairs = db.pairs_cf(db.family(name), options);
    pairs.map(|pair| pair.map_err(Error::at("read a table of the tree")))
}

/// The same around what is damaged.
fn scan_around<'a>(
    store: &'a Store,
    name: &'static str,
    prefix: &[u8],
) -> impl Iterator<Item = Result<Pair, Error>> + 'a {
    let mut options = store.reading();
    options.set_iterate_range(PrefixRange(prefix));
    let pairs = store.db.pairs_cf(store.family(name), options);
    pairs.map(|pair| pair.map_err(Error::at("read a table of the tree")))
}

#[cfg(test)]
mod tests;
