//! Clients that ask without end while something is measured.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use form_urlencoded::byte_serialize;

use crate::run::get_json;

/// Over all series of the fleet's most common metric, and over all series.
const QUERIES: [&str; 2] = ["sum by (mode) (rate(node_cpu_seconds_total[5m]))", "count({__name__=~\".+\"})"];
/// After a failure: whoever is asked may still be starting.
const PAUSE: Duration = Duration::from_millis(200);

/// Does `work` while `count` clients ask `url`, and says how much they were answered.
pub(super) fn while_asked<T>(count: usize, url: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (is_over, answered, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for asker in 0..count {
            let (is_over, answered, failed) = (&is_over, &answered, &failed);
            scope.spawn(move || {
                let query: String = byte_serialize(QUERIES[asker % QUERIES.len()].as_bytes()).collect();
                while !is_over.load(Ordering::Relaxed) {
                    if get_json(&format!("{url}/api/v1/query?query={query}")).is_ok() {
                        answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        failed.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(PAUSE);
                    }
                }
            });
        }
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        if count > 0 {
            let (answered, failed) = (answered.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
            println!("{count} clients: {answered} queries answered, {failed} not");
        }
        done
    })
}
