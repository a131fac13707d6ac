//! Watching whether there is room on the disk.

use std::time::Duration;

use firetower_daemon::blocking;
use firetower_store::Store;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// How often the disk is looked at, and what waits for room is tried.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Looks at the disk of `store` until `cancel`, and tells `say` each time why nothing new is kept, if that is so.
///
/// # Errors
/// If the disk fails in a way that only opening the store again can mend.
pub async fn watch_disk(store: Store, say: impl Fn(Option<&str>), cancel: CancellationToken) -> Result<(), Error> {
    let mut ticks = interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_held = false;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let state = blocking(|| store.watch_disk())?;
        match (&state.held, is_held) {
            (Some(why), false) => tracing::error!(why, "the disk is full"),
            (None, true) => tracing::info!(free_bytes = state.free_bytes, "there is room on the disk again"),
            _ => {}
        }
        is_held = state.held.is_some();
        say(state.held.as_deref());
    }
}
