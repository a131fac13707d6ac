//! What one answer is sent over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firetower_model::AskError;
use firetower_wire::{AnswerUp, Bytes, Sender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often a parent hears that an answer is worked on.
const SIGN_EVERY: Duration = Duration::from_millis(50);

/// What one answer is sent over.
pub(super) struct Line {
    id: u64,
    up: Arc<Sender<AnswerUp>>,
    granted: watch::Receiver<u64>,
    /// Cancelled when the parent wants no more, or the call has ended.
    stopped: CancellationToken,
    /// When the parent no longer waits.
    deadline: Instant,
    said_at: Mutex<Instant>,
}

impl Line {
    pub(super) fn new(
        id: u64,
        up: Arc<Sender<AnswerUp>>,
        granted: watch::Receiver<u64>,
        stopped: CancellationToken,
        within: Duration,
    ) -> Line {
        let now = Instant::now();
        Line { id, up, granted, stopped, deadline: now + within, said_at: Mutex::new(now) }
    }

    pub(super) fn granted(&self) -> watch::Receiver<u64> {
        self.granted.clone()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_cancelled()
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_stopped() || self.deadline <= Instant::now()
    }

    /// Waits until nobody waits for the answer any more.
    pub(super) async fn over(&self) {
        tokio::select! {
            biased;
            () = self.stopped.cancelled() => {}
            () = sleep_until(self.deadline) => {}
        }
    }

    /// Waits until more than `sent` bytes are granted.
    pub(super) async fn credit(&self, granted: &mut watch::Receiver<u64>, sent: u64) -> Result<(), AskError> {
        tokio::select! {
            biased;
            () = self.over() => Err(AskError::Gone),
            waited = granted.wait_for(|granted| sent < *granted) => waited.map(drop).map_err(|_| AskError::Gone),
        }
    }

    /// Sends the next bytes of the answer.
    pub(super) async fn say(&self, content: Bytes, is_last: bool, ends_piece: bool) -> Result<(), AskError> {
        self.send(AnswerUp::Chunk { id: self.id, content, is_last, ends_piece }).await
    }

    /// Says that there is no more.
    pub(super) async fn fail(&self, error: AskError) {
        // A parent that is gone need not hear it.
        tokio::select! {
            biased;
            () = self.stopped.cancelled() => {}
            _ = self.up.send(AnswerUp::Failed { id: self.id, error }) => {}
        }
    }

    /// Says now and then that the answer is worked on, if nothing else is said, until nobody waits for it.
    pub(super) async fn live(&self) {
        loop {
            let due = *self.said_at.lock().unwrap_or_else(PoisonError::into_inner) + SIGN_EVERY;
            if Instant::now() < due {
                sleep_until(due).await;
            } else if self.say(Bytes::new(), false, false).await.is_err() {
                return;
            }
        }
    }

    async fn send(&self, message: AnswerUp) -> Result<(), AskError> {
        let sent = tokio::select! {
            biased;
            () = self.over() => return Err(AskError::Gone),
            sent = self.up.send(message) => sent,
        };
        *self.said_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        sent.map_err(|_| AskError::Gone)
    }
}
