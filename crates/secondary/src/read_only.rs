//! Answering from a data directory that cannot be written.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use firetower_api::{Common, NotTaken, Readiness, WriteMetrics, common, series, spans, tsdb, write};
use firetower_daemon::{HttpMetrics, Listener, Surroundings, Tasks, blocking, start_http};
use firetower_query::Local;
use firetower_relay::ExposedDisk;
use firetower_store::{DataDirectory, Store, Trouble, is_writable};
use firetower_topology::{QueryLimits, ReceiveLimits};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::listed::Listed;
use crate::metrics::StoreMetrics;
use crate::tsdb::read_tsdb;

/// How often it is tried whether the directory can be written again.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// How long requests under way may take when answering ends.
const GRACE: Duration = Duration::from_secs(5);

/// Answers from `data`, which could not be opened for writing because of `failed`, until it can be written or `cancel`.
///
/// # Errors
/// `failed` in the end, so that it is opened again; at once if it cannot even be read, or fails for another reason than its
/// disk.
pub(crate) async fn answer_read_only(
    data: &DataDirectory,
    failed: firetower_store::Error,
    http: Listener,
    surroundings: &Surroundings,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let DataDirectory::Folder(path) = data else { return Err(failed.into()) };
    if !failed.is_mended_by_opening() {
        return Err(failed.into());
    }
    let Ok(store) = blocking(|| Store::open_read_only(path)) else { return Err(failed.into()) };
    let advice = failed.trouble().map_or("", Trouble::advice);
    let chain = firetower_daemon::chain(&failed).to_string();
    let why = format!("{} cannot be written, nothing new is kept: {advice} ({chain})", path.display());
    tracing::error!(why, "answering from what is there, and nothing more");
    let mut registry = Registry::default();
    registry.register_collector(Box::new(StoreMetrics::new(store.clone())));
    registry.register_collector(Box::new(ExposedDisk::read_only(store.clone())));
    let (clock, security) = (surroundings.clock.clone(), surroundings.security.clone());
    security.register(&mut registry);
    let served = HttpMetrics::register(&mut registry);
    let written = WriteMetrics::register(&mut registry);
    let said = why.clone();
    let refuse =
        write(Arc::new(move |_| Err(NotTaken::Held(said.clone()))), ReceiveLimits::default().bytes as usize, written);
    let answers = Common { readiness: Readiness::waiting(why), registry: Arc::new(registry), reload: None };
    let store = Arc::new(store);
    let (read_tsdb, listed) = (read_tsdb(Arc::clone(&store)), Arc::new(Listed(Arc::clone(&store))));
    let router =
        common(answers).merge(series(Local(Arc::clone(&store)), listed, clock.clone(), QueryLimits::default()));
    let router = router.merge(spans(store, clock)).merge(tsdb(read_tsdb)).merge(refuse);
    let stop = cancel.child_token();
    let (mut tasks, writable, path) = (Tasks::<Error>::new(), stop.clone(), path.to_owned());
    tasks.start("wait for a disk that can be written", |cancel| async move {
        tokio::select! {
            () = until_writable(&path) => writable.cancel(),
            () = cancel.cancelled() => {}
        }
        Ok(())
    });
    start_http(&mut tasks, http, router, security, served);
    let (ended, overran) = tasks.join(stop, GRACE).await;
    if !ended.is_empty() || !overran.is_empty() {
        tracing::warn!(?ended, ?overran, "answering from what is there did not end well");
    }
    Err(failed.into())
}

async fn until_writable(path: &Path) {
    loop {
        tokio::time::sleep(PROBE_EVERY).await;
        if blocking(|| is_writable(path)) {
            return;
        }
    }
}
