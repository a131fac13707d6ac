//! The parent's side: it listens.

mod calls;
mod metrics;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use firetower_daemon::{CrowdMetrics, CrowdRules, Listener, Peer, Place, Stream, serve_crowd};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::limits::MESSAGE_BYTES_MAX;
use crate::message::{AnswerDown, AnswerUp, ChildControl, FrameDown, FrameUp, ParentControl};
use crate::proto::tree_server::TreeServer;
use crate::serve::calls::Calls;
use crate::session::{Receiver, Sender};

pub use metrics::CallMetrics;

/// Connections open at once; a further one takes the place of the one that has waited longest without a call in which
/// something was said.
const CONNECTIONS_MAX: usize = 2_048;
/// Connections that wait so at once: a child speaks within moments, so the oldest is the last to be one.
const WAITING_MAX: usize = 256;
/// Calls open at once on one connection; a child needs two.
const CALLS_MAX: u32 = 8;
/// How long a connection may wait so.
const CALL_LIMIT: Duration = Duration::from_secs(8);
const RULES: CrowdRules = CrowdRules {
    connections_max: CONNECTIONS_MAX,
    waiting_max: WAITING_MAX,
    wait_limit: CALL_LIMIT,
    overdue: "silent",
    logs_overdue: true,
};
/// How large the headers of a call may be.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Bytes that may be on their way on one call, and on one connection, before the parent has asked for more: what a child
/// that keeps to no credit can make the parent hold, but for the one message that it is sending.
const CALL_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 128 << 10;
/// How long the calls of a connection may take to end after the parent was told to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// Between two pings on a connection, and for their answers: a dead child is found within 8 s.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which frames a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Fresh ones.
    Live,
    /// Old ones.
    Backlog,
}

/// A call that a child has opened.
#[derive(Debug)]
pub enum Accepted {
    /// `Control`.
    Control(ControlSession),
    /// `Live` or `Backlog`.
    Frames(FrameSession),
    /// `Answer`.
    Answers(AnswerSession),
}

/// An open `Control` call. The child's first message, still to be read, is its hello.
#[derive(Debug)]
pub struct ControlSession {
    /// Who called.
    pub peer: Peer,
    /// To the child.
    pub sender: Sender<ParentControl>,
    /// From the child.
    pub receiver: Receiver<ChildControl>,
}

/// An open `Live` or `Backlog` call. The child's first message, still to be read, is its opening.
#[derive(Debug)]
pub struct FrameSession {
    /// Who called.
    pub peer: Peer,
    /// Which of the two.
    pub lane: Lane,
    /// To the child.
    pub sender: Sender<FrameDown>,
    /// From the child.
    pub receiver: Receiver<FrameUp>,
}

/// An open `Answer` call. The child's first message, still to be read, is its opening.
#[derive(Debug)]
pub struct AnswerSession {
    /// Who called.
    pub peer: Peer,
    /// To the child.
    pub sender: Sender<AnswerDown>,
    /// From the child.
    pub receiver: Receiver<AnswerUp>,
}

/// Takes connections from `listener` and hands every call over to `accepted`, until `cancel`.
///
/// A call whose session is dropped ends, and so do the calls of a connection that breaks. Peers that do not speak
/// gRPC, or have no call open, are cut off: the oldest of them at once when there are many. After `cancel` no call is taken,
/// and those that are still open get a second to be ended by the owners of their sessions.
///
/// # Cancel safety
/// If it is dropped, all connections are cut at once.
pub async fn serve(
    listener: Listener,
    accepted: mpsc::Sender<Accepted>,
    metrics: CallMetrics,
    cancel: CancellationToken,
) {
    let CallMetrics(metrics) = metrics;
    let (counts, stop) = (metrics.clone(), cancel.clone());
    let serve = move |stream, peer, place| {
        serve_connection(stream, peer, accepted.clone(), place, counts.clone(), stop.clone())
    };
    serve_crowd(listener, RULES, metrics, serve, cancel).await;
}

async fn serve_connection(
    stream: Stream,
    peer: Peer,
    accepted: mpsc::Sender<Accepted>,
    place: Arc<Place>,
    metrics: CrowdMetrics,
    cancel: CancellationToken,
) {
    let calls = Calls { peer: peer.clone(), accepted, place: Arc::clone(&place) };
    let service = TreeServer::new(calls)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .initial_stream_window_size(CALL_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(DRAIN_LIMIT, connection.as_mut()).await.unwrap_or(Ok(()))
        }
        ended = connection.as_mut() => ended,
        () = place.cut() => return,
    };
    if let Err(error) = ended {
        let is_broken = is_of_transport(&*error);
        metrics.cut(if is_broken { "broken" } else { "malformed" }, 1);
        tracing::debug!(peer = peer.address, %error, is_broken, "connection ended badly");
    }
}

/// Tells whether the connection itself failed, rather than what came over it.
fn is_of_transport(error: &(dyn Error + 'static)) -> bool {
    error.is::<io::Error>() || error.source().is_some_and(is_of_transport)
}
