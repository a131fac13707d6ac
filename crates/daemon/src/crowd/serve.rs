//! Takes the connections of a listener, within limits that hold whoever comes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Crowd, Place};
use crate::net::{Listener, Peer, Stream};

/// How often it is looked for connections that have waited for too long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many connections a listener has at once, and how long they may wait.
#[derive(Clone, Copy, Debug)]
pub struct CrowdRules {
    /// Connections open at once; a further one takes the place of the one that has waited longest.
    pub connections_max: usize,
    /// Connections that wait at once; a further one does the same.
    pub waiting_max: usize,
    /// How long one may wait.
    pub wait_limit: Duration,
    /// The reason that those are counted under which have waited for too long.
    pub overdue: &'static str,
    /// Whether they are logged; not where waiting is how a connection usually ends.
    pub logs_overdue: bool,
}

/// Why a connection was cut.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cut {
    reason: &'static str,
}

/// What a listener counts of its connections; clones share it.
#[derive(Clone, Debug, Default)]
pub struct CrowdMetrics {
    cut: Family<Cut, Counter>,
    open: Gauge,
}

impl CrowdMetrics {
    /// Registers them as `<part>_cut_connections` and `<part>_connections`, each with its help.
    pub fn register(registry: &mut Registry, part: &str, (cut, open): (&str, &str)) -> CrowdMetrics {
        let metrics = CrowdMetrics::default();
        registry.register(format!("{part}_cut_connections"), cut, metrics.cut.clone());
        registry.register(format!("{part}_connections"), open, metrics.open.clone());
        metrics
    }

    /// Counts connections that were cut, or ended badly, for `reason`, one of a few.
    pub fn cut(&self, reason: &'static str, count: usize) {
        if count > 0 {
            self.cut.get_or_create(&Cut { reason }).inc_by(count as u64);
        }
    }
}

/// Hands each connection of `listener` to a task of `serve`, until `cancel`; then takes no more, and ends when those
/// tasks have.
///
/// `serve` gives its connection up when its [`Place`] is cut, and ends in its own time after `cancel`.
///
/// # Cancel safety
/// If it is dropped, all connections are cut at once.
pub async fn serve_crowd<F>(
    mut listener: Listener,
    rules: CrowdRules,
    metrics: CrowdMetrics,
    serve: impl Fn(Stream, Peer, Arc<Place>) -> F,
    cancel: CancellationToken,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let crowd = Crowd::default();
    let mut connections = JoinSet::new();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        metrics.open.set(connections.len() as i64);
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => log_panic(ended),
            _ = looks.tick() => {
                let count = crowd.cut_after(rules.wait_limit);
                metrics.cut(rules.overdue, count);
                if count > 0 && rules.logs_overdue {
                    tracing::warn!(count, limit = ?rules.wait_limit, "connections without a request cut off");
                }
            }
            (stream, peer) = listener.accept() => {
                if connections.len() >= rules.connections_max || crowd.waiting() >= rules.waiting_max {
                    metrics.cut("crowded", 1);
                    if !crowd.cut_longest() {
                        let (peer, most) = (peer.address, rules.connections_max);
                        tracing::warn!(peer, most, "connection refused: all others are at work");
                        continue;
                    }
                }
                connections.spawn(serve(stream, peer, crowd.enter()));
            }
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        log_panic(ended);
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection task failed");
    }
}
