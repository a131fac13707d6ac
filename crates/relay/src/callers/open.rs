//! An open `Answer` call, and the answers that come over it.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firetower_model::AskError;
use firetower_wire::AnswerDown;
use firetower_wire::limits::ANSWER_CREDIT_BYTES;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::callers::gaps::Gaps;
use crate::error::Error;
use crate::metrics::{RelayMetrics, peer};

/// Answers of one child that are open at once.
const ANSWERS_MAX: usize = 64;
/// More credit is granted once so much of what was granted is taken.
const GRANT_BYTES: u64 = ANSWER_CREDIT_BYTES / 4;

/// An open `Answer` call.
pub(super) struct Open {
    pub(super) child: String,
    pub(super) metrics: RelayMetrics,
    pub(super) gaps: Arc<Mutex<Gaps>>,
    down: mpsc::Sender<AnswerDown>,
    ended: CancellationToken,
    answers: Mutex<HashMap<u64, Arc<Answer>>>,
}

impl Open {
    pub(super) fn new(
        child: String,
        down: mpsc::Sender<AnswerDown>,
        gaps: Arc<Mutex<Gaps>>,
        metrics: RelayMetrics,
    ) -> Open {
        Open { child, metrics, gaps, down, ended: CancellationToken::new(), answers: Mutex::default() }
    }

    /// Expects an answer; why not, for people.
    pub(super) fn expect(&self, id: u64) -> Result<Arc<Answer>, &'static str> {
        let mut answers = self.lock();
        if self.has_ended() {
            return Err("no open call for answers");
        }
        if answers.len() >= ANSWERS_MAX {
            return Err("too many queries wait for it");
        }
        let answer = Arc::new(Answer::default());
        answers.insert(id, Arc::clone(&answer));
        Ok(answer)
    }

    /// Forgets an answer, and tells the child so if it still works on it.
    pub(super) fn forget(&self, id: u64) {
        if self.lock().remove(&id).is_some() {
            self.tell(AnswerDown::Cancel { id });
        }
    }

    /// Hears the next bytes of an answer, or none as a sign of life.
    ///
    /// # Errors
    /// If the child breaks the rules of the call.
    pub(super) fn hear(&self, id: u64, content: &[u8], is_last: bool, ends_piece: bool) -> Result<(), Error> {
        let answer = if is_last { self.lock().remove(&id) } else { self.lock().get(&id).cloned() };
        match answer {
            Some(answer) => {
                let heard = answer.hear(content, is_last, ends_piece, &self.gaps);
                if heard.is_err() {
                    self.metrics.unruly_answers.get_or_create(&peer(&self.child)).inc();
                    answer.end(End::Failed(AskError::Unavailable { reason: "sent more than was granted".into() }));
                }
                heard
            }
            None => {
                self.metrics.late_chunks.get_or_create(&peer(&self.child)).inc_by(u64::from(!content.is_empty()));
                // The query may have come behind its cancellation, over another connection.
                if !is_last {
                    self.tell(AnswerDown::Cancel { id });
                }
                Ok(())
            }
        }
    }

    /// Hears that there is no more of an answer.
    pub(super) fn fail(&self, id: u64, error: AskError) {
        if let Some(answer) = self.lock().remove(&id) {
            answer.end(End::Failed(error));
        }
    }

    /// Fails all answers that are open; none is expected any more.
    pub(super) fn end(&self) {
        let mut answers = self.lock();
        self.ended.cancel();
        for (_, answer) in answers.drain() {
            answer.end(End::Failed(AskError::Unavailable { reason: "its connection has ended".into() }));
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits until nothing more is to come over it.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Tells the child something; one that does not read is cut off.
    fn tell(&self, message: AnswerDown) {
        if self.down.try_send(message).is_err() {
            self.ended.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Answer>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has come of one answer and is not taken yet.
#[derive(Default)]
pub(super) struct Answer {
    said: Mutex<Said>,
    changed: Notify,
}

struct Said {
    content: VecDeque<u8>,
    /// How many bytes of it each whole piece takes, and how many are behind the last one.
    pieces: VecDeque<usize>,
    begun: usize,
    /// Bytes that the child may have sent in all, those that it has, and those taken since it was granted more.
    granted: u64,
    sent: u64,
    taken: u64,
    signs: u64,
    heard_at: Instant,
    end: Option<End>,
}

impl Default for Said {
    fn default() -> Said {
        Said {
            content: VecDeque::new(),
            pieces: VecDeque::new(),
            begun: 0,
            granted: ANSWER_CREDIT_BYTES,
            sent: 0,
            taken: 0,
            signs: 0,
            heard_at: Instant::now(),
            end: None,
        }
    }
}

/// How an answer has ended.
pub(super) enum End {
    /// All of it has come.
    Whole,
    Failed(AskError),
}

/// What was taken of an answer.
pub(super) enum Taken {
    /// Bytes up to the end of a piece.
    Piece,
    /// Bytes, and the piece goes on.
    Part,
    /// The child has said nothing that was not taken; how often it has shown that it lives.
    Nothing { signs: u64 },
    /// There is no more.
    Ended(End),
}

impl Answer {
    /// Waits until more has come.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Appends to `piece` what has come of it, and lets the child send more.
    pub(super) fn take(&self, id: u64, piece: &mut Vec<u8>, open: &Open) -> Taken {
        let mut said = self.lock();
        let whole = said.pieces.pop_front();
        let bytes = whole.unwrap_or_else(|| mem::take(&mut said.begun));
        if bytes == 0 {
            let signs = said.signs;
            return said.end.take().map_or(Taken::Nothing { signs }, Taken::Ended);
        }
        let (front, back) = said.content.as_slices();
        let of_front = bytes.min(front.len());
        piece.extend_from_slice(&front[..of_front]);
        piece.extend_from_slice(&back[..bytes - of_front]);
        said.content.drain(..bytes);
        said.taken += bytes as u64;
        if said.taken >= GRANT_BYTES && said.end.is_none() {
            let bytes = mem::take(&mut said.taken);
            said.granted += bytes;
            open.tell(AnswerDown::Credit { id, bytes });
        }
        if whole.is_some() { Taken::Piece } else { Taken::Part }
    }

    fn hear(&self, content: &[u8], is_last: bool, ends_piece: bool, gaps: &Mutex<Gaps>) -> Result<(), Error> {
        let mut said = self.lock();
        if !content.is_empty() && said.sent >= said.granted {
            return Err(Error::Unruly { rule: "has more of an answer than was granted" });
        }
        said.sent += content.len() as u64;
        said.content.extend(content);
        said.begun += content.len();
        if ends_piece {
            let bytes = mem::take(&mut said.begun);
            said.pieces.extend((bytes > 0).then_some(bytes));
        }
        said.signs += 1;
        let now = Instant::now();
        let gap = now - mem::replace(&mut said.heard_at, now);
        gaps.lock().unwrap_or_else(PoisonError::into_inner).note(gap);
        if is_last {
            said.end = Some(End::Whole);
        }
        drop(said);
        self.changed.notify_one();
        Ok(())
    }

    fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
