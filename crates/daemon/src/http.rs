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
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::guarded::{Answer, Watched};
use crate::crowd::{CrowdMetrics, CrowdRules, Place, serve_crowd};
use crate::net::{Listener, Peer, Stream};
use crate::security::Security;
use crate::tasks::Tasks;

/// Connections open at once; a further one takes the place of the one that has waited longest for a request.
const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to the end of a request's head, from its connection or its last answer on.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How large a request's head may be, its URL included.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long a client may take nothing of its answer.
const STALL_LIMIT: Duration = Duration::from_secs(30);
const RULES: CrowdRules = CrowdRules {
    connections_max: CONNECTIONS_MAX,
    waiting_max: CONNECTIONS_MAX,
    wait_limit: HEAD_LIMIT,
    overdue: "slow",
    logs_overdue: false,
};

/// What serving HTTP counts; clones share it.
#[derive(Clone, Debug, Default)]
pub struct HttpMetrics(CrowdMetrics);

impl HttpMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> HttpMetrics {
        let cut =
            "Connections cut by us: crowded, slow (no request), large_head, malformed, stalled (answer not taken)";
        HttpMetrics(CrowdMetrics::register(registry, "firetower_http", (cut, "Connections open")))
    }
}

/// Starts what answers requests on `listener` by `router`, to those whom `security` lets in, and what follows its files.
pub fn start_http<E: Send + 'static>(
    tasks: &mut Tasks<E>,
    listener: Listener,
    router: Router,
    security: Security,
    metrics: HttpMetrics,
) {
    let router = security.protect(router);
    tasks.start("follow certificates and tokens", |cancel| async move {
        security.follow(cancel).await;
        Ok(())
    });
    tasks.start("answer http", |cancel| async move {
        serve_http(listener, router, metrics, cancel).await;
        Ok(())
    });
}

/// Answers requests on `listener` by `router` until `cancel`; then takes no new ones, and ends when those under way
/// are answered.
///
/// Nobody can keep others from being answered by connecting often, asking slowly or not reading: see the limits above.
///
/// # Cancel safety
/// If it is dropped, requests under way are cut off.
async fn serve_http(listener: Listener, router: Router, metrics: HttpMetrics, cancel: CancellationToken) {
    let HttpMetrics(metrics) = metrics;
    let (counts, stop) = (metrics.clone(), cancel.clone());
    let serve = move |stream, Peer { address, .. }: Peer, place| {
        serve_connection(stream, address, router.clone(), place, counts.clone(), stop.clone())
    };
    serve_crowd(listener, RULES, metrics, serve, cancel).await;
}

async fn serve_connection(
    stream: Stream,
    address: String,
    router: Router,
    place: Arc<Place>,
    metrics: CrowdMetrics,
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
