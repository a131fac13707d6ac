//! HTTP on a listener, within limits that hold whoever asks.

mod guarded;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::guarded::{Answer, Watched};
use crate::crowd::{Crowd, Place};
use crate::net::{Listener, Peer, Stream};

/// Connections open at once; a further one takes the place of the one that has waited longest for a request.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to the end of a request's head, from its connection or its last answer on.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How large a request's head may be, its URL included.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long a client may take nothing of its answer.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked for who has taken too long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a connection was cut.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cut {
    reason: &'static str,
}

/// What serving HTTP counts; clones share it.
#[derive(Clone, Debug, Default)]
pub struct HttpMetrics {
    cut: Family<Cut, Counter>,
    open: Gauge,
}

impl HttpMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> HttpMetrics {
        let metrics = HttpMetrics::default();
        let help =
            "Connections cut by us: crowded, slow (no request), large_head, malformed, stalled (answer not taken)";
        registry.register("firetower_http_cut_connections", help, metrics.cut.clone());
        registry.register("firetower_http_connections", "Connections open", metrics.open.clone());
        metrics
    }

    fn cut(&self, reason: &'static str, count: usize) {
        if count > 0 {
            self.cut.get_or_create(&Cut { reason }).inc_by(count as u64);
        }
    }
}

/// Answers requests on `listener` by `router` until `cancel`; then takes no new ones, and ends when those under way
/// are answered.
///
/// Nobody can keep others from being answered by connecting often, asking slowly or not reading: see the limits above.
///
/// # Cancel safety
/// If it is dropped, requests under way are cut off.
pub async fn serve_http(mut listener: Listener, router: Router, metrics: HttpMetrics, cancel: CancellationToken) {
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
            _ = looks.tick() => metrics.cut("slow", crowd.cut_after(HEAD_LIMIT)),
            (stream, Peer { address, .. }) = listener.accept() => {
                if connections.len() >= CONNECTIONS_MAX {
                    metrics.cut("crowded", 1);
                    if !crowd.cut_longest() {
                        tracing::warn!(address, most = CONNECTIONS_MAX, "connection refused: all others are at work");
                        continue;
                    }
                }
                let (router, metrics, cancel) = (router.clone(), metrics.clone(), cancel.clone());
                connections.spawn(serve_connection(stream, address, router, crowd.enter(), metrics, cancel));
            }
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        log_panic(ended);
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection task failed");
    }
}

async fn serve_connection(
    stream: Stream,
    address: String,
    router: Router,
    place: Arc<Place>,
    metrics: HttpMetrics,
    cancel: CancellationToken,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (router, work) = (router.clone(), place.work());
        async move {
            let response = router.oneshot(request.map(Body::new)).await?;
            Ok::<_, Infallible>(response.map(|body| Body::new(Answer::new(body, work))))
        }
    });
    let stream = TokioIo::new(Watched::new(stream, STALL_LIMIT, Arc::clone(&place)));
    let connection = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).serve_connection(stream, service);
    let mut connection = std::pin::pin!(connection);
    let mut is_stopping = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break ended,
            () = place.cut() => {
                tracing::debug!(address, "http connection cut: it waited for too long, or others came");
                return;
            }
            () = cancel.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        if let Some(reason) = fault(&error) {
            metrics.cut(reason, 1);
        }
        tracing::debug!(address, %error, "http connection broke");
    }
}

/// Returns what a peer did wrong; nothing if it only went away.
fn fault(error: &hyper::Error) -> Option<&'static str> {
    let is_stall = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    match error {
        error if error.is_parse_too_large() => Some("large_head"),
        error if error.is_parse() => Some("malformed"),
        error => error.source()?.downcast_ref().is_some_and(is_stall).then_some("stalled"),
    }
}

#[cfg(test)]
mod tests;
