//! Watching whether there is room on the disk.

use std::time::Duration;

use firetower_daemon::blocking;
use firetower_model::NodeStatus;
use firetower_store::Store;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// How often the disk is looked at, and what waits for room is tried.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// What the tree is told; with the place and the rest in the log and at `/-/ready`.
const FULL: &str = "its disk is full: nothing new is kept until there is room";
const UNMERGED: &str =
    "a file of its store is damaged, so that none are merged any more: `firetower store check` says which";
const DAMAGED: &str = "part of its store is damaged and left out of answers: `firetower store check` says what";

/// Looks at the disk of `store` until `cancel`, and tells `say` each time why nothing new is kept, if that is so; `status`
/// has what is wrong for the parents.
///
/// # Errors
/// If the disk fails in a way that only opening the store again can mend.
pub async fn watch_disk(
    store: Store,
    status: watch::Sender<NodeStatus>,
    say: impl Fn(Option<&str>),
    cancel: CancellationToken,
) -> Result<(), Error> {
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
        let trouble = trouble(&store, is_held);
        status.send_if_modified(|status| {
            let is_new = status.trouble != trouble;
            status.trouble.replace_range(.., trouble);
            is_new
        });
    }
}

/// Returns what is wrong with the disk, or nothing.
fn trouble(store: &Store, is_held: bool) -> &'static str {
    match store.raw_stats().damaged_places {
        _ if is_held => FULL,
        _ if store.is_unmerged() => UNMERGED,
        0 => "",
        _ => DAMAGED,
    }
}
