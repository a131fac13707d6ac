//! The child's side: it dials.

use std::io;
use std::time::Duration;

use firetower_daemon::{Connector, Stream};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Response, Status, Streaming};
use tower::{Service, service_fn};

use crate::error::Error;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::message::{AnswerDown, AnswerUp, ChildControl, FrameDown, FrameUp, Hello, Message, Opening, ParentControl};
use crate::proto::tree_client::TreeClient;
use crate::session::{QUEUE_MESSAGES_MAX, Receiver, Sender};

/// How long a child waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialOptions {
    /// For a connection, and again for a call to be taken.
    pub connect_timeout: Duration,
    /// Between two pings on a connection, busy or not.
    pub keep_alive_interval: Duration,
    /// For the answer to a ping; then the connection is given up.
    pub keep_alive_timeout: Duration,
}

impl Default for DialOptions {
    /// A dead parent is found within 8 s.
    fn default() -> DialOptions {
        DialOptions {
            connect_timeout: Duration::from_secs(4),
            keep_alive_interval: Duration::from_secs(3),
            keep_alive_timeout: Duration::from_secs(5),
        }
    }
}

/// One replica of a parent, over two connections: what is fresh never waits behind what is old.
///
/// Calls outlive it; the connections close with the last call.
#[derive(Clone, Debug)]
pub struct Parent {
    fresh: TreeClient<Channel>,
    old: TreeClient<Channel>,
    options: DialOptions,
}

impl Parent {
    /// Opens the connection for fresh things to `address`, a `host:port`; the other one comes with the first call on it.
    ///
    /// # Errors
    /// If nobody answers there in time.
    ///
    /// # Cancel safety
    /// Half-open connections are closed if it is dropped.
    pub async fn dial(connector: &Connector, address: &str, options: DialOptions) -> Result<Parent, Error> {
        let endpoint = endpoint(address, options)?;
        let limit = options.connect_timeout;
        let fresh = timeout(limit, endpoint.connect_with_connector(dialler(connector, address)))
            .await
            .map_err(|_| Error::Silent { step: "dial", limit })?
            .map_err(|source| Error::Dial { address: address.to_owned(), source })?;
        let old = endpoint.connect_with_connector_lazy(dialler(connector, address));
        Ok(Parent { fresh: client(fresh), old: client(old), options })
    }

    /// Opens `Control` and says `hello`.
    ///
    /// # Errors
    /// If the parent does not take the call in time.
    pub async fn control(&self, hello: Hello) -> Result<(Sender<ChildControl>, Receiver<ParentControl>), Error> {
        let mut client = self.fresh.clone();
        self.open(ChildControl::Hello(hello), async |up| client.control(up).await).await
    }

    /// Opens `Live` for fresh frames.
    ///
    /// # Errors
    /// If the parent does not take the call in time.
    pub async fn live(&self, opening: Opening) -> Result<(Sender<FrameUp>, Receiver<FrameDown>), Error> {
        let mut client = self.fresh.clone();
        self.open(FrameUp::Opening(opening), async |up| client.live(up).await).await
    }

    /// Opens `Backlog` for old frames.
    ///
    /// # Errors
    /// If the parent does not take the call in time.
    pub async fn backlog(&self, opening: Opening) -> Result<(Sender<FrameUp>, Receiver<FrameDown>), Error> {
        let mut client = self.old.clone();
        self.open(FrameUp::Opening(opening), async |up| client.backlog(up).await).await
    }

    /// Opens `Answer` for answers to the queries that come on `Control`.
    ///
    /// # Errors
    /// If the parent does not take the call in time.
    pub async fn answers(&self, opening: Opening) -> Result<(Sender<AnswerUp>, Receiver<AnswerDown>), Error> {
        let mut client = self.old.clone();
        self.open(AnswerUp::Opening(opening), async |up| client.answer(up).await).await
    }

    async fn open<U: Message, D: Message>(
        &self,
        first: U,
        call: impl AsyncFnOnce(ReceiverStream<U::Proto>) -> Result<Response<Streaming<D::Proto>>, Status>,
    ) -> Result<(Sender<U>, Receiver<D>), Error> {
        let (queue, queued) = mpsc::channel(QUEUE_MESSAGES_MAX);
        let sender = Sender::new(queue);
        sender.send(first).await?;
        let limit = self.options.connect_timeout;
        let answer = timeout(limit, call(ReceiverStream::new(queued))).await;
        let response = answer
            .map_err(|_| Error::Silent { step: U::CALL, limit })?
            .map_err(|source| Error::Call { call: U::CALL, source: Box::new(source) })?;
        Ok((sender, Receiver::new(response.into_inner())))
    }
}

fn endpoint(address: &str, options: DialOptions) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|source| Error::Address { address: address.to_owned(), source })?;
    Ok(endpoint
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout)
        .keep_alive_while_idle(true))
}

fn dialler(
    connector: &Connector,
    address: &str,
) -> impl Service<Uri, Response = TokioIo<Stream>, Error = io::Error, Future: Send> + Send + 'static {
    let (connector, address) = (connector.clone(), address.to_owned());
    service_fn(move |_: Uri| {
        let (connector, address) = (connector.clone(), address.clone());
        async move { connector.connect(&address).await.map(TokioIo::new) }
    })
}

fn client(channel: Channel) -> TreeClient<Channel> {
    TreeClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
}
