//! What happened, in order, as one number.

use std::sync::{Arc, Mutex};

use xxhash_rust::xxh3::Xxh3;

/// What happened, in order, as one number; clones are the same trace.
#[derive(Clone)]
pub(crate) struct Trace(Arc<Mutex<Xxh3>>);

impl Trace {
    pub(crate) fn new() -> Trace {
        Trace(Arc::new(Mutex::new(Xxh3::new())))
    }

    /// Notes that something happened.
    pub(crate) fn note(&self, event: &str) {
        tracing::debug!(target: "simulation", at = ?turmoil::sim_elapsed(), event, "event");
        let mut hasher = self.0.lock().expect("no panics");
        hasher.update(event.as_bytes());
        hasher.update(&[0]);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.0.lock().expect("no panics").digest()
    }
}
