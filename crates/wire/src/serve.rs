//! The parent's side: it listens.

mod calls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use firetower_daemon::{Listener, Peer, Stream};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::limits::MESSAGE_BYTES_MAX;
use crate::message::{ChildControl, FrameDown, FrameUp, ParentControl};
use crate::proto::tree_server::TreeServer;
use crate::serve::calls::Calls;
use crate::session::{Receiver, Sender};

/// Connections open at once; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// Calls open at once on one connection; a child needs two.
const CALLS_MAX: u32 = 16;
/// How long a connection may take to its first call.
const FIRST_CALL_LIMIT: Duration = Duration::from_secs(8);
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

/// Takes connections from `listener` and hands every call over to `accepted`, until `cancel`.
///
/// A call whose session is dropped ends, and so do the calls of a connection that breaks. Peers that do not speak
/// gRPC, or do not speak at all, are cut off. After `cancel` no call is taken, and those that are still open get a
/// second to be ended by the owners of their sessions.
///
/// # Cancel safety
/// If it is dropped, all connections are cut at once.
pub async fn serve(mut listener: Listener, accepted: mpsc::Sender<Accepted>, cancel: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => log_panic(ended),
            (stream, peer) = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                connections.spawn(serve_connection(stream, peer, accepted.clone(), cancel.clone()));
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

async fn serve_connection(stream: Stream, peer: Peer, accepted: mpsc::Sender<Accepted>, cancel: CancellationToken) {
    let has_called = Arc::new(AtomicBool::new(false));
    let calls = Calls { peer: peer.clone(), accepted, has_called: has_called.clone() };
    let service = TreeServer::new(calls)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        .initial_stream_window_size(CALL_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let first_call_limit = sleep(FIRST_CALL_LIMIT);
    let mut first_call_limit = std::pin::pin!(first_call_limit);
    let ended = loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => {
                connection.as_mut().graceful_shutdown();
                break timeout(DRAIN_LIMIT, connection.as_mut()).await.unwrap_or(Ok(()));
            }
            ended = connection.as_mut() => break ended,
            () = first_call_limit.as_mut(), if !first_call_limit.is_elapsed() => {
                if !has_called.load(Ordering::Relaxed) {
                    tracing::warn!(peer = peer.address, "connection without a call cut off");
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = peer.address, error = %error, "connection broke");
    }
}
