//! Answering what a parent asks.

mod line;
mod serve;

use std::sync::Arc;

use firetower_daemon::chain;
use firetower_model::{AskError, Ending, Inquiry, Piece};
use firetower_wire::limits::CHUNK_BYTES_MAX;
use firetower_wire::{Bytes, encode_ending, encode_piece};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::answers::line::Line;

pub(crate) use serve::{Answering, QUERIES_MAX};

/// Answers what parents ask.
pub trait Answers: Send + Sync + 'static {
    /// Answers `inquiry`; blocks, on a thread kept for that.
    ///
    /// # Errors
    /// Why there is no answer, or no more of it; [`AskError::Gone`] once [`Out::is_stopped`].
    fn answer(&self, inquiry: &Inquiry, out: &mut Out) -> Result<Ending, AskError>;
}

/// Where the pieces of one answer go.
pub struct Out {
    line: Arc<Line>,
    runtime: Handle,
    /// Bytes that the parent has granted in all, and those that were sent.
    granted: watch::Receiver<u64>,
    sent: u64,
}

impl Out {
    fn new(line: Arc<Line>) -> Out {
        let granted = line.granted();
        Out { line, runtime: Handle::current(), granted, sent: 0 }
    }

    /// Sends a piece; blocks while the parent takes no more.
    ///
    /// # Errors
    /// [`AskError::Gone`] once nobody waits for the answer; [`AskError::Execution`] if the piece is over one of
    /// [`firetower_wire::limits`].
    pub fn say(&mut self, piece: Piece) -> Result<(), AskError> {
        let execution = |error| AskError::Execution { reason: format!("answer: {}", chain(&error)) };
        self.send(encode_piece(&piece).map_err(execution)?.into(), false)
    }

    /// Tells whether nobody waits for the answer any more: the parent has said so, its connection is gone, or the time that it
    /// waits is over.
    pub fn is_stopped(&self) -> bool {
        self.line.is_over()
    }

    /// Returns what tells the same as [`Out::is_stopped`].
    pub fn stopped(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let line = Arc::clone(&self.line);
        Arc::new(move || line.is_over())
    }

    fn end(&mut self, ending: &Ending) -> Result<(), AskError> {
        let execution = |error| AskError::Execution { reason: format!("end of the answer: {}", chain(&error)) };
        self.send(encode_ending(ending).map_err(execution)?.into(), true)
    }

    /// Sends a piece in chunks.
    fn send(&mut self, mut piece: Bytes, is_last: bool) -> Result<(), AskError> {
        while !piece.is_empty() {
            let chunk = piece.split_to(piece.len().min(CHUNK_BYTES_MAX));
            let bytes = chunk.len() as u64;
            let ends_piece = piece.is_empty();
            self.runtime.block_on(async {
                self.line.credit(&mut self.granted, self.sent).await?;
                self.line.say(chunk, is_last && ends_piece, ends_piece).await
            })?;
            self.sent += bytes;
        }
        Ok(())
    }
}
