//! Connections of the simulated network, which can also be reset.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use firetower_daemon::{Connector, Listener, Peer, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::trace::Trace;

/// How often the connections of one host to another were reset, by both names.
type Counters = BTreeMap<(String, String), Arc<AtomicU64>>;

/// How often the connections of each host to each other one were reset.
#[derive(Clone, Default)]
pub(crate) struct Resets(Arc<Mutex<Counters>>);

impl Resets {
    /// Cuts all connections that `from` has opened to `to`; both sides may open new ones.
    pub(crate) fn reset(&self, from: &str, to: &str) {
        self.counter(from, to).fetch_add(1, Ordering::Relaxed);
    }

    fn counter(&self, from: &str, to: &str) -> Arc<AtomicU64> {
        let mut counters = self.0.lock().expect("no panics");
        Arc::clone(counters.entry((from.to_owned(), to.to_owned())).or_default())
    }
}

/// Returns what opens connections for the host `from`.
pub(crate) fn connector(from: &str, resets: &Resets, trace: &Trace) -> Connector {
    let (from, resets, trace) = (from.to_owned(), resets.clone(), trace.clone());
    Connector::new(move |address| {
        let to = address.split(':').next().unwrap_or("").to_owned();
        let (counter, trace) = (resets.counter(&from, &to), trace.clone());
        let event = format!("{from} dials {address}");
        async move {
            trace.note(&event);
            let inner = TcpStream::connect(address).await?;
            let made_at = counter.load(Ordering::Relaxed);
            Ok(Box::new(Resettable { inner, counter, made_at }) as Stream)
        }
    })
}

/// Listens on a port of the host at work.
pub(crate) async fn listen(host: &str, port: u16) -> io::Result<Listener> {
    let listener = Arc::new(TcpListener::bind(("0.0.0.0", port)).await?);
    Ok(Listener::new(format!("{host}:{port}"), move || {
        let listener = Arc::clone(&listener);
        async move {
            let (stream, peer) = listener.accept().await?;
            Ok((Box::new(stream) as Stream, Peer::at(peer.to_string())))
        }
    }))
}

/// A connection that is cut when its counter moves.
struct Resettable {
    inner: TcpStream,
    counter: Arc<AtomicU64>,
    made_at: u64,
}

impl Resettable {
    fn check(&self) -> io::Result<()> {
        if self.counter.load(Ordering::Relaxed) == self.made_at {
            Ok(())
        } else {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
