//! The parent's side of each open `Answer` call.

use firetower_daemon::chain;
use firetower_wire::{AnswerDown, AnswerSession, AnswerUp, Refusal, RefusalReason};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::callers::Callers;
use crate::callers::open::Open;
use crate::error::Error;
use crate::session::{FIRST_LIMIT, say, unproven};

/// Messages to a child that wait; a child that does not read them is cut off.
const DOWN_MAX: usize = 512;

impl Callers {
    /// Serves one `Answer` call until it ends.
    pub(crate) async fn serve(self, call: AnswerSession, cancel: CancellationToken) {
        let address = call.peer.address.clone();
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            ended = self.take(call) => ended,
        };
        if let Err(error) = ended {
            tracing::info!(peer = address, error = %chain(&error), "answer call ended");
        }
    }

    async fn take(&self, mut call: AnswerSession) -> Result<(), Error> {
        let first = timeout(FIRST_LIMIT, call.receiver.next()).await;
        let first = first.map_err(|_| Error::Silent { what: "opening", limit: FIRST_LIMIT })??;
        let Some(AnswerUp::Opening(opening)) = first else { return Err(Error::Ended { call: "answer" }) };
        if let Some(refusal) = unproven(&call.peer, &opening.node, &self.0.metrics) {
            return say(&call.sender, AnswerDown::Refused(refusal)).await;
        }
        let (down, mut to_send) = mpsc::channel(DOWN_MAX);
        let Some(open) = self.open(&opening, down) else {
            self.0.metrics.refused_streams.inc();
            let text = format!("{} has not said hello with incarnation {}", opening.node, opening.incarnation);
            let refusal = Refusal::new(RefusalReason::Busy, text);
            return say(&call.sender, AnswerDown::Refused(refusal)).await;
        };
        let _ending = Ending(&open);
        loop {
            tokio::select! {
                biased;
                () = open.ended() => return Ok(()),
                Some(message) = to_send.recv() => say(&call.sender, message).await?,
                said = call.receiver.next() => match said? {
                    None => return Ok(()),
                    Some(AnswerUp::Opening(_)) => {}
                    Some(AnswerUp::Chunk { id, content, is_last, ends_piece }) => {
                        open.hear(id, &content, is_last, ends_piece)?;
                    }
                    Some(AnswerUp::Failed { id, error }) => open.fail(id, error),
                },
            }
        }
    }
}

/// Ends a call with its session.
struct Ending<'a>(&'a Open);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
