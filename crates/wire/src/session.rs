//! The two halves of an open call, alike on both sides.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use firetower_daemon::{Place, Work};

use tokio::sync::mpsc;
use tonic::Streaming;

use crate::error::Error;
use crate::message::Message;

/// Messages that wait in a sender; more make [`Sender::send`] wait.
pub(crate) const QUEUE_MESSAGES_MAX: usize = 4;

/// Says `T` to the far side. The call's direction ends when it is dropped.
pub struct Sender<T: Message>(mpsc::Sender<T::Proto>);

impl<T: Message> Sender<T> {
    pub(crate) fn new(queue: mpsc::Sender<T::Proto>) -> Sender<T> {
        Sender(queue)
    }

    /// Queues `message`; waits while the far side is slower than we are. That it has arrived only an answer can tell.
    ///
    /// # Errors
    /// If the call has ended, or `message` is over one of [`crate::limits`].
    ///
    /// # Cancel safety
    /// If it is dropped before it has finished, `message` was not sent.
    pub async fn send(&self, message: T) -> Result<(), Error> {
        self.0.send(message.into_proto()?).await.map_err(|_| Error::Ended { call: T::CALL })
    }

    /// Tells whether a message would be queued at once.
    pub fn has_room(&self) -> bool {
        self.0.capacity() > 0
    }

    /// Waits until a message would be queued at once, or the call has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub async fn room(&self) {
        // One that has ended has room for nothing: sending says so.
        let _ = self.0.reserve().await;
    }

    /// Waits until the far side takes no more messages.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub async fn ended(&self) {
        self.0.closed().await;
    }
}

impl<T: Message> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({})", T::CALL)
    }
}

/// Hears `T` from the far side. The call ends when it is dropped.
pub struct Receiver<T: Message> {
    stream: Streaming<T::Proto>,
    proof: Proof,
    message: PhantomData<fn() -> T>,
}

/// Whether the far side has shown that it is no stranger to the protocol.
enum Proof {
    /// Nobody asks for it.
    Unasked,
    /// Its connection counts as idle until its first message.
    Awaited(Arc<Place>),
    Given {
        _work: Work,
    },
}

impl<T: Message> Receiver<T> {
    pub(crate) fn new(stream: Streaming<T::Proto>) -> Receiver<T> {
        Receiver { stream, proof: Proof::Unasked, message: PhantomData }
    }

    /// Hears from a peer whose connection, at `place`, is at work from its first message on.
    pub(crate) fn of_peer(stream: Streaming<T::Proto>, place: Arc<Place>) -> Receiver<T> {
        Receiver { stream, proof: Proof::Awaited(place), message: PhantomData }
    }

    /// Waits for the next message; `None` when the far side has ended the call well. Messages that this release does
    /// not know are skipped.
    ///
    /// # Errors
    /// If the connection or the far side fails, or says what is malformed or over one of [`crate::limits`]. Nothing
    /// more is to be had from the call then.
    ///
    /// # Cancel safety
    /// No message is lost if it is dropped.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            let call_error = |source| Error::Call { call: T::CALL, source: Box::new(source) };
            let Some(read) = self.stream.message().await.map_err(call_error)? else { return Ok(None) };
            if let Some(message) = T::from_proto(read)? {
                if let Proof::Awaited(place) = &self.proof {
                    self.proof = Proof::Given { _work: place.work() };
                }
                return Ok(Some(message));
            }
            tracing::debug!(call = T::CALL, "unknown message skipped");
        }
    }
}

impl<T: Message> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", T::CALL)
    }
}
