//! One question to one child, for whoever asked.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use firetower_daemon::{blocking, chain};
use firetower_model::{AskError, Ending, Piece};
use firetower_wire::decode_pieces;
use firetower_wire::limits::MESSAGE_BYTES_MAX;
use tokio::time::timeout;

use crate::callers::open::{Answer, End, Open, Taken};
use crate::metrics::Outcome;

/// How finely silence is measured. What counts is time in which this process was awake: on a busy machine a child is not
/// silent because nobody had time to hear it.
const STEP: Duration = Duration::from_millis(25);

/// What a child says of what it was asked. Whoever drops it before its end wants no more: the child is told.
pub struct Asked {
    id: u64,
    open: Arc<Open>,
    answer: Arc<Answer>,
    /// What has come of the next piece.
    piece: Vec<u8>,
    pieces: VecDeque<Piece>,
    ending: Option<Ending>,
    /// For how long the child was silent while it was listened to, since it last showed that it lives.
    silence: Duration,
    signs: u64,
    outcome: Option<Outcome>,
}

/// The next of what a child says.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A part of the answer.
    Piece(Piece),
    /// Its end.
    End(Ending),
}

/// Why there is no more of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The child has given no sign of life on it.
    #[error("silent for {after:?}")]
    Hung {
        /// For how long.
        after: Duration,
    },
    /// The child says why, or it went away.
    #[error(transparent)]
    Error(#[from] AskError),
}

impl Asked {
    /// Expects the answer `id`; why not, for people.
    pub(super) fn begin(id: u64, open: &Arc<Open>) -> Result<Asked, &'static str> {
        Ok(Asked {
            id,
            answer: open.expect(id)?,
            open: Arc::clone(open),
            piece: Vec::new(),
            pieces: VecDeque::new(),
            ending: None,
            silence: Duration::ZERO,
            signs: 0,
            outcome: None,
        })
    }

    /// Waits for the next piece, or the end of the answer.
    ///
    /// The child counts as hung when it has given no sign of life for the larger of 250 ms and twice the 99th percentile of
    /// its own such silences; only time in which this is awaited counts.
    ///
    /// # Errors
    /// If there is no more of it; after that, and after the end, [`AskError::Gone`].
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub async fn next(&mut self) -> Result<Heard, Failed> {
        if self.outcome.is_some() {
            return Err(AskError::Gone.into());
        }
        let heard = self.listen().await;
        self.outcome = match &heard {
            Ok(Heard::Piece(_)) => None,
            Ok(Heard::End(_)) => Some(Outcome::Answered),
            Err(Failed::Hung { .. }) => Some(Outcome::Hung),
            Err(Failed::Error(_)) => Some(Outcome::Failed),
        };
        heard
    }

    async fn listen(&mut self) -> Result<Heard, Failed> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(Heard::Piece(piece));
            }
            if let Some(ending) = self.ending.take() {
                return Ok(Heard::End(ending));
            }
            match self.answer.take(self.id, &mut self.piece, &self.open) {
                Taken::Piece => self.decode()?,
                Taken::Part if self.piece.len() <= MESSAGE_BYTES_MAX => {}
                Taken::Part => return Err(unavailable("answer with a piece that is too large".into())),
                Taken::Ended(End::Failed(error)) => return Err(error.into()),
                Taken::Ended(End::Whole) => return Err(unavailable("answer without an end".into())),
                Taken::Nothing { signs } => self.wait(signs).await?,
            }
        }
    }

    /// Waits for a sign of life, for a step at most.
    async fn wait(&mut self, signs: u64) -> Result<(), Failed> {
        if mem::replace(&mut self.signs, signs) != signs {
            self.silence = Duration::ZERO;
        }
        let limit = self.open.gaps.lock().unwrap_or_else(PoisonError::into_inner).limit();
        if self.silence >= limit {
            return Err(Failed::Hung { after: self.silence });
        }
        if timeout(STEP, self.answer.changed()).await.is_err() {
            self.silence += STEP;
        }
        Ok(())
    }

    fn decode(&mut self) -> Result<(), Failed> {
        let piece = mem::take(&mut self.piece);
        let (pieces, ending) = blocking(|| decode_pieces(&piece)).map_err(malformed)?;
        self.pieces.extend(pieces);
        self.ending = ending;
        Ok(())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.open.forget(self.id);
        self.open.metrics.asked(&self.open.child, self.outcome.unwrap_or(Outcome::Cancelled));
    }
}

fn malformed(error: firetower_wire::Error) -> Failed {
    unavailable(format!("answer that cannot be read: {}", chain(&error)))
}

fn unavailable(reason: String) -> Failed {
    AskError::Unavailable { reason }.into()
}
