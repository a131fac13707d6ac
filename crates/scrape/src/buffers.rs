//! Buffers that belong to whoever is at work, not to a target or a connection.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fetch::Inflater;
use crate::page::PageReader;

/// How many sets of buffers are kept while nobody uses them.
const IDLE_SETS_MAX: usize = 16;
/// How large a buffer may be that is kept.
const IDLE_BUFFER_BYTES_MAX: usize = 4 << 20;
/// How many rows are kept for the next scrapes.
const IDLE_ROWS_MAX: usize = 256;

/// A pool of buffers; clones share it.
///
/// Taking never waits, so that no slow target can delay another: there are as many sets in use as there are answers
/// being read at the moment, each bounded by its target's limit on the body's size.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Pool>);

#[derive(Debug, Default)]
struct Pool {
    workers: Mutex<Vec<Worker>>,
    rows: Mutex<Vec<Vec<f64>>>,
}

/// What it takes to read one answer.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// Bytes as they came; always as long as there is room.
    pub(crate) raw: Vec<u8>,
    pub(crate) inflated: Vec<u8>,
    pub(crate) inflater: Inflater,
    pub(crate) reader: PageReader,
}

impl Buffers {
    /// Takes a set of buffers, until it is dropped.
    pub(crate) fn take(&self) -> Lease {
        let worker = lock(&self.0.workers).pop().unwrap_or_default();
        Lease { worker: Some(worker), pool: Arc::clone(&self.0) }
    }

    /// Takes an empty row.
    pub(crate) fn take_row(&self) -> Vec<f64> {
        lock(&self.0.rows).pop().unwrap_or_default()
    }

    /// Takes back a row whose values are no longer needed, for the next scrape.
    pub fn give_row(&self, mut row: Vec<f64>) {
        row.clear();
        let mut rows = lock(&self.0.rows);
        if rows.len() < IDLE_ROWS_MAX && row.capacity() * 8 <= IDLE_BUFFER_BYTES_MAX && row.capacity() > 0 {
            rows.push(row);
        }
    }
}

/// A set of buffers, given back when it is dropped.
pub(crate) struct Lease {
    worker: Option<Worker>,
    pool: Arc<Pool>,
}

impl Deref for Lease {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        self.worker.as_ref().expect("only taken on drop")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Worker {
        self.worker.as_mut().expect("only taken on drop")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut worker) = self.worker.take() else { return };
        if worker.raw.len() > IDLE_BUFFER_BYTES_MAX {
            worker.raw = Vec::new();
        }
        if worker.inflated.capacity() > IDLE_BUFFER_BYTES_MAX {
            worker.inflated = Vec::new();
        }
        let mut workers = lock(&self.pool.workers);
        if workers.len() < IDLE_SETS_MAX {
            workers.push(worker);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
