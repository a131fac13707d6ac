//! Keeping the store in shape: settling what is over, dropping what is old or too much.

use std::time::Duration;

use firetower_daemon::{Clock, blocking};
use firetower_store::{Cutoffs, Retire, Store};
use firetower_topology::Retention;
use tokio::sync::watch;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::Error;

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
    let mut ticks = interval(MAINTAIN_EVERY);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let (now, retention) = (clock.now(), *retention.borrow());
        while let Some(mut settle) = blocking(|| store.settle_due(now, late_window, settle_bytes))? {
            while blocking(|| settle.step())? {
                if cancel.is_cancelled() {
                    return Ok(());
                }
                tokio::task::yield_now().await;
            }
        }
        let cutoffs = Cutoffs {
            raw: now - retention.raw,
            five_minutes: now - retention.five_minutes,
            one_hour: now - retention.one_hour,
        };
        drop_buckets(blocking(|| store.retire(&cutoffs))?, &cancel).await?;
        if retention.bytes > 0
            && let Some(retire) = blocking(|| store.retire_for_bytes(retention.bytes))?
        {
            drop_buckets(retire, &cancel).await?;
        }
    }
}

async fn drop_buckets(mut retire: Retire, cancel: &CancellationToken) -> Result<(), Error> {
    while !cancel.is_cancelled() && blocking(|| retire.step())? {
        tokio::task::yield_now().await;
    }
    Ok(())
}
