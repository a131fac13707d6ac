//! Buffers that belong to whoever is at work, not to a target or a connection.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fetch::{Body, Inflater};
use crate::page::PageReader;
use crate::room::Room;

/// How many sets of buffers are kept while nobody uses them.
const IDLE_SETS_MAX: usize = 16;
/// How large those sets may be together: a few huge pages must not make every set as large as the hugest.
const IDLE_SET_BYTES_MAX: usize = 8 << 20;
/// How many rows are kept for the next scrapes.
const IDLE_ROWS_MAX: usize = 256;
/// How large those rows may be together.
const IDLE_ROW_BYTES_MAX: usize = 4 << 20;

/// A pool of buffers; clones share it.
///
/// Taking never waits, so that no slow target can delay another: there are as many sets in use as there are answers
/// being read at the moment, each bounded by its target's limit on the body's size.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Pool>);

#[derive(Debug, Default)]
struct Pool {
    #[expect(clippy::vec_box, reason = "a target's task, which waits with room for a set, is to be small")]
    workers: Mutex<Vec<Box<Worker>>>,
    rows: Mutex<IdleRows>,
}

#[derive(Debug, Default)]
struct IdleRows {
    rows: Vec<Vec<f64>>,
    bytes: usize,
}

/// What it takes to read one answer.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// Bytes as they came.
    pub(crate) raw: Room,
    pub(crate) inflated: Room,
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
        let mut idle = lock(&self.0.rows);
        let row = idle.rows.pop().unwrap_or_default();
        idle.bytes -= row.capacity() * size_of::<f64>();
        row
    }

    /// Takes back a row whose values are no longer needed, for the next scrape.
    pub fn give_row(&self, mut row: Vec<f64>) {
        row.clear();
        let bytes = row.capacity() * size_of::<f64>();
        let mut idle = lock(&self.0.rows);
        if idle.rows.len() < IDLE_ROWS_MAX && idle.bytes + bytes <= IDLE_ROW_BYTES_MAX {
            idle.bytes += bytes;
            idle.rows.push(row);
        }
    }
}

impl Worker {
    /// Returns the page at `body`, and what reads it.
    pub(crate) fn page(&mut self, body: Body) -> (&[u8], &mut PageReader) {
        let page = match body {
            Body::Raw(range) => &self.raw[range],
            Body::Inflated(length) => &self.inflated[..length],
        };
        (page, &mut self.reader)
    }

    fn bytes(&self) -> usize {
        self.raw.len() + self.inflated.len() + self.reader.bytes()
    }
}

/// A set of buffers, given back when it is dropped.
pub(crate) struct Lease {
    worker: Option<Box<Worker>>,
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
        worker.raw.give_back();
        worker.inflated.give_back();
        let mut workers = lock(&self.pool.workers);
        let idle: usize = workers.iter().map(|worker| worker.bytes()).sum();
        if workers.len() < IDLE_SETS_MAX && idle + worker.bytes() <= IDLE_SET_BYTES_MAX {
            workers.push(worker);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
