//! Waiting for a moment or for a state.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

/// How long after one look at a state the next comes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Returns the milliseconds since the unix epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Sleeps until a moment in milliseconds since the unix epoch.
pub fn sleep_until(at_ms: i64) {
    thread::sleep(Duration::from_millis((at_ms - now_ms()).max(0) as u64));
}

/// Looks again and again until there is something to see, and returns that.
///
/// # Errors
/// What `look` returns, or that `limit` is over.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look().with_context(|| what.to_owned())? {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(LOOK_EVERY);
    }
}
