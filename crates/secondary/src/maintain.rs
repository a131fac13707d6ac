//! Keeping the store in shape: settling what is over, dropping what is old or too much.

use std::time::Duration;

use firetower_daemon::{Clock, blocking, chain};
use firetower_model::Timestamp;
use firetower_store::{Cutoffs, Retire, Store};
use firetower_topology::Retention;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How often it is looked whether old buckets have to make room on the disk.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(1);
/// How often closed buckets are settled and old ones dropped.
const MAINTAIN_EVERY: Duration = Duration::from_secs(30);

/// Settles closed buckets and drops old ones, until `cancel`; `settle_bytes` is the memory that settling may use for samples.
///
/// Settling comes first: what is dropped leaves its spans behind. A retention that changes holds from the next time on.
pub(crate) async fn maintain(
    store: Store,
    retention: watch::Receiver<Retention>,
    late_window: Duration,
    settle_bytes: usize,
    clock: Clock,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let mut ticks = interval(MAKE_ROOM_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = clock.now();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let kept = Kept { store: &store, retention: *retention.borrow(), late_window, settle_bytes };
        passed_over(kept.make_room(&cancel).await)?;
        if due <= clock.now() {
            due = clock.now() + MAINTAIN_EVERY;
            passed_over(kept.settle(clock.now(), &cancel).await)?;
            passed_over(kept.retire(clock.now(), &cancel).await)?;
        }
    }
}

/// Passes over what may go better the next time: nothing was taken away.
fn passed_over(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(Error::Store(error)) if error.is_passing() => {
            tracing::error!(error = %chain(&error), "the store could not be kept in shape, it is tried again");
            Ok(())
        }
        done => done,
    }
}

struct Kept<'a> {
    store: &'a Store,
    retention: Retention,
    late_window: Duration,
    settle_bytes: usize,
}

impl Kept<'_> {
    /// Drops the oldest settled buckets until as much of the disk is free as is to stay free.
    async fn make_room(&self, cancel: &CancellationToken) -> Result<(), Error> {
        while !cancel.is_cancelled()
            && let Some(retire) = blocking(|| self.store.retire_for_space())?
        {
            tracing::warn!("the disk is nearly full: the oldest samples are given up");
            drop_buckets(retire, cancel).await?;
        }
        Ok(())
    }

    async fn settle(&self, now: Timestamp, cancel: &CancellationToken) -> Result<(), Error> {
        while let Some(mut settle) = blocking(|| self.store.settle_due(now, self.late_window, self.settle_bytes))? {
            while blocking(|| settle.step())? {
                if cancel.is_cancelled() {
                    return Ok(());
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn retire(&self, now: Timestamp, cancel: &CancellationToken) -> Result<(), Error> {
        let Retention { raw, five_minutes, one_hour, bytes, .. } = self.retention;
        let cutoffs = Cutoffs { raw: now - raw, five_minutes: now - five_minutes, one_hour: now - one_hour };
        drop_buckets(blocking(|| self.store.retire(&cutoffs))?, cancel).await?;
        if bytes > 0
            && let Some(retire) = blocking(|| self.store.retire_for_bytes(bytes))?
        {
            drop_buckets(retire, cancel).await?;
        }
        Ok(())
    }
}

async fn drop_buckets(mut retire: Retire, cancel: &CancellationToken) -> Result<(), Error> {
    while !cancel.is_cancelled() && blocking(|| retire.step())? {
        tokio::task::yield_now().await;
    }
    Ok(())
}
