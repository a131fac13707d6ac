//! Waits for states, never for moments.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};

const POLL_EVERY: Duration = Duration::from_millis(50);

/// Looks until there is something to see, and returns it.
///
/// # Errors
/// If there is nothing within `limit`; the chain says why the last look failed.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let seen = look();
        match seen {
            Ok(Some(seen)) => return Ok(seen),
            Ok(None) if Instant::now() > deadline => return Err(anyhow!("{what}: not within {limit:?}")),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("{what}: not within {limit:?}"));
            }
            // It fails once a signal has come, for programs that listen to signals.
            Ok(None) | Err(_) => firetower_benches::sleep(POLL_EVERY)?,
        }
    }
}

/// Returns milliseconds since the unix epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
