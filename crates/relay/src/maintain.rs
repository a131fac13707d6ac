//! Longer tiers of rows, and the end of old ones.

use std::time::Duration;

use firetower_daemon::{Clock, blocking};
use firetower_model::Timestamp;
use firetower_store::{Batch, RowTier, Store};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// How often it is looked for what is due.
const EVERY: Duration = Duration::from_secs(15);

const DAY: Duration = Duration::from_secs(86_400);

/// How long the rows of each tier are kept, finest first.
const KEPT: [Duration; 3] = [DAY, DAY.saturating_mul(30), DAY.saturating_mul(400)];

/// Makes the longer tiers of rows and drops what is past its time, until `cancel`.
///
/// # Errors
/// If the store fails.
pub async fn maintain_rows(store: Store, clock: Clock, cancel: CancellationToken) -> Result<(), Error> {
    let mut ticks = interval(EVERY);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            _ = ticks.tick() => blocking(|| maintain_once(&store, clock.now()))?,
        }
    }
}

fn maintain_once(store: &Store, now: Timestamp) -> Result<(), Error> {
    for roll in store.roll_due(now)? {
        let mut batch = Batch::default();
        store.roll(&mut batch, &roll)?;
        store.commit(batch)?;
    }
    for (tier, kept) in RowTier::ALL.into_iter().zip(KEPT) {
        store.retain_rows(tier, now - kept)?;
    }
    Ok(())
}
