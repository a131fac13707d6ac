//! Connections, in a form that a simulated network can stand in for.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Bytes in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection.
pub type Stream = Box<dyn Io>;

type Connecting = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

/// Who is on the far side of a connection, as the transport knows it; what a message says of its sender is another matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection comes from, `host:port`.
    pub address: String,
    /// The names that its certificate proves; `None` on a connection without.
    pub names: Option<Arc<[String]>>,
}

impl Peer {
    /// Returns the peer of a connection without certificates.
    pub fn at(address: impl Into<String>) -> Peer {
        Peer { address: address.into(), names: None }
    }

    /// Tells whether it may be `node`: its certificate says so, or there are no certificates here.
    pub fn may_be(&self, node: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.iter().any(|name| name == node))
    }
}

/// How long to rest after `accept` failed, as it does while file descriptors are short.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Opens connections by `host:port`.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn(String) -> Connecting + Send + Sync>);

impl Connector {
    /// Returns the connector of the real network.
    pub fn tcp() -> Connector {
        Connector::new(|address| async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Stream)
        })
    }

    /// Makes a connector of a function from `host:port`.
    pub fn new<F>(connect: impl Fn(String) -> F + Send + Sync + 'static) -> Connector
    where
        F: Future<Output = io::Result<Stream>> + Send + 'static,
    {
        Connector(Arc::new(move |address| Box::pin(connect(address))))
    }

    /// Opens a connection to `host:port`.
    ///
    /// # Errors
    /// If the name does not resolve or nobody answers there. It has no time limit of its own.
    pub async fn connect(&self, address: &str) -> io::Result<Stream> {
        (self.0)(address.to_owned()).await
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

pub(crate) type Accepting<'a> = Pin<Box<dyn Future<Output = io::Result<(Stream, Peer)>> + Send + 'a>>;

/// Takes connections one after the other; none is lost if a future is dropped.
pub(crate) trait Accept: Send {
    fn accept(&mut self) -> Accepting<'_>;
}

impl Accept for TcpListener {
    fn accept(&mut self) -> Accepting<'_> {
        Box::pin(async {
            let (stream, peer) = TcpListener::accept(self).await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as Stream, Peer::at(peer.to_string())))
        })
    }
}

/// A listener made of a function.
struct Accepted<A>(A);

impl<A, F> Accept for Accepted<A>
where
    A: FnMut() -> F + Send,
    F: Future<Output = io::Result<(Stream, Peer)>> + Send + 'static,
{
    fn accept(&mut self) -> Accepting<'_> {
        Box::pin((self.0)())
    }
}

/// Takes connections.
pub struct Listener {
    accept: Box<dyn Accept>,
    address: String,
}

impl Listener {
    /// Listens on `host:port` of the real network; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address is in use or not of this host.
    pub async fn bind(address: &str) -> io::Result<Listener> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?.to_string();
        Ok(Listener { accept: Box::new(listener), address })
    }

    /// Puts `wrap` between this listener and whoever takes its connections.
    pub(crate) fn map(self, wrap: impl FnOnce(Box<dyn Accept>) -> Box<dyn Accept>) -> Listener {
        Listener { accept: wrap(self.accept), address: self.address }
    }

    /// Makes a listener at `address` of a function that takes the next connection, with who is at its far end.
    ///
    /// No connection may be lost when what it returns is dropped.
    pub fn new<F>(address: String, accept: impl FnMut() -> F + Send + 'static) -> Listener
    where
        F: Future<Output = io::Result<(Stream, Peer)>> + Send + 'static,
    {
        Listener { accept: Box::new(Accepted(accept)), address }
    }

    /// Returns the `host:port` that it listens on.
    pub fn local_address(&self) -> &str {
        &self.address
    }

    /// Takes the next connection, with who is at its far end. Failures to accept are logged and tried again.
    ///
    /// # Cancel safety
    /// No connection is lost if it is dropped.
    pub async fn accept(&mut self) -> (Stream, Peer) {
        loop {
            match self.accept.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(address = self.address, %error, "accept failed");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

#[cfg(test)]
impl Accept for tokio::sync::mpsc::Receiver<(Stream, Peer)> {
    fn accept(&mut self) -> Accepting<'_> {
        Box::pin(async { Ok(self.recv().await.expect("the test opens connections")) })
    }
}

#[cfg(test)]
impl Listener {
    /// Takes the connections that a test opens.
    pub(crate) fn of_channel(connections: tokio::sync::mpsc::Receiver<(Stream, Peer)>) -> Listener {
        Listener { accept: Box::new(connections), address: "test:1".into() }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.address)
    }
}
