//! The child's side of the `Answer` call.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use firetower_daemon::{aside, chain};
use firetower_model::{AskError, Inquiry};
use firetower_wire as wire;
use firetower_wire::limits::ANSWER_CREDIT_BYTES;
use firetower_wire::{AnswerDown, AnswerUp, Opening, Receiver, Sender};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::answers::line::Line;
use crate::answers::{Answers, Out};
use crate::error::Error;
use crate::metrics::{Outcome, RelayMetrics};

/// Queries of one parent that are worked on at once, and that wait for that. Those that come meanwhile are told so.
const WORKING_MAX: usize = 4;
const WAITING_MAX: usize = 64;
/// Queries that nobody has looked at yet; more are dropped.
pub(crate) const QUERIES_MAX: usize = 64;
/// Before the call is opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// How long the work on answers that nobody waits for may take to end, until it is left to itself.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// Answers the queries of one session with a parent.
pub(crate) struct Answering {
    parent: String,
    dialled: wire::Parent,
    answers: Arc<dyn Answers>,
    queries: mpsc::Receiver<(u64, Arc<Inquiry>)>,
    at_once: Arc<Semaphore>,
    tasks: JoinSet<u64>,
    stop: CancellationToken,
    metrics: RelayMetrics,
}

/// What the parent may say of an answer that is open.
struct Held {
    granted: watch::Sender<u64>,
    stopped: CancellationToken,
}

impl Answering {
    pub(crate) fn new(
        parent: String,
        dialled: wire::Parent,
        answers: Arc<dyn Answers>,
        queries: mpsc::Receiver<(u64, Arc<Inquiry>)>,
        metrics: RelayMetrics,
    ) -> Answering {
        let (at_once, tasks, stop) = (Arc::new(Semaphore::new(WORKING_MAX)), JoinSet::new(), CancellationToken::new());
        Answering { parent, dialled, answers, queries, at_once, tasks, stop, metrics }
    }

    /// Answers until it is dropped; a call that ends is opened again.
    pub(crate) async fn run(&mut self, opening: &Opening) -> Infallible {
        loop {
            // They were asked over a call that has ended.
            while self.queries.try_recv().is_ok() {}
            let ended = match self.dialled.answers(opening.clone()).await {
                Ok(call) => self.serve(call).await,
                Err(error) => error.into(),
            };
            tracing::warn!(parent = self.parent, error = %chain(&ended), "answer call ended");
            sleep(REOPEN_PAUSE).await;
        }
    }

    /// Ends the work on all answers.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(STOP_LIMIT, ended).await.is_err() {
            tracing::warn!(parent = self.parent, "work on an answer does not end");
        }
    }

    /// Serves one call until it ends; returns why.
    async fn serve(&mut self, (up, mut down): (Sender<AnswerUp>, Receiver<AnswerDown>)) -> Error {
        let up = Arc::new(up);
        let over = self.stop.child_token();
        let _over = over.clone().drop_guard();
        let mut open: HashMap<u64, Held> = HashMap::new();
        loop {
            tokio::select! {
                biased;
                said = down.next() => match said {
                    Err(error) => return error.into(),
                    Ok(None) => return Error::Ended { call: "answer" },
                    Ok(Some(AnswerDown::Refused(refusal))) => return Error::refused(&self.parent, refusal),
                    Ok(Some(AnswerDown::Cancel { id })) => drop(open.remove(&id).map(|held| held.stopped.cancel())),
                    Ok(Some(AnswerDown::Credit { id, bytes })) => {
                        if let Some(held) = open.get(&id) {
                            held.granted.send_modify(|granted| *granted = granted.saturating_add(bytes));
                        }
                    }
                },
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    drop(ended.map(|id| open.remove(&id)));
                }
                Some((id, inquiry)) = self.queries.recv(), if self.tasks.len() < WORKING_MAX + 2 * WAITING_MAX => {
                    let stopped = over.child_token();
                    let (granted, grants) = watch::channel(ANSWER_CREDIT_BYTES);
                    let line = Line::new(id, Arc::clone(&up), grants, stopped.clone(), inquiry.within);
                    if open.len() < WORKING_MAX + WAITING_MAX {
                        open.insert(id, Held { granted, stopped });
                        self.tasks.spawn(self.work(id, inquiry, line));
                    } else {
                        self.tasks.spawn(self.turn_away(id, line));
                    }
                }
            }
        }
    }

    /// Answers one query.
    fn work(&self, id: u64, inquiry: Arc<Inquiry>, line: Line) -> impl Future<Output = u64> + Send + 'static {
        let (answers, at_once) = (Arc::clone(&self.answers), Arc::clone(&self.at_once));
        let (parent, metrics) = (self.parent.clone(), self.metrics.clone());
        async move {
            let line = Arc::new(line);
            let worked = {
                let work = answer(answers, at_once, inquiry, Arc::clone(&line));
                let mut work = std::pin::pin!(work);
                tokio::select! {
                    biased;
                    worked = work.as_mut() => worked,
                    () = line.live() => work.await,
                }
            };
            let outcome = match worked {
                Ok(()) => Outcome::Answered,
                Err(AskError::Gone) if line.is_stopped() => Outcome::Cancelled,
                Err(AskError::Gone) => {
                    line.fail(AskError::Unavailable { reason: "took longer than is waited for".into() }).await;
                    Outcome::Failed
                }
                Err(error) => {
                    line.fail(error).await;
                    Outcome::Failed
                }
            };
            metrics.answered(&parent, outcome);
            id
        }
    }

    /// Says that there is no room for one query more.
    fn turn_away(&self, id: u64, line: Line) -> impl Future<Output = u64> + Send + 'static {
        self.metrics.answered(&self.parent, Outcome::Failed);
        async move {
            line.fail(AskError::Unavailable { reason: "too many queries wait".into() }).await;
            id
        }
    }
}

/// Waits for its turn, then works on a thread that may block.
async fn answer(
    answers: Arc<dyn Answers>,
    at_once: Arc<Semaphore>,
    inquiry: Arc<Inquiry>,
    line: Arc<Line>,
) -> Result<(), AskError> {
    let permit = tokio::select! {
        biased;
        () = line.over() => return Err(AskError::Gone),
        permit = at_once.acquire_owned() => permit.map_err(|_| AskError::Gone)?,
    };
    let work = move || {
        let _permit = permit;
        let mut out = Out::new(line);
        answers.answer(&inquiry, &mut out).and_then(|ending| out.end(&ending))
    };
    let worked = aside("answer", work).await;
    worked
        .ok()
        .flatten()
        .unwrap_or_else(|| Err(AskError::Unavailable { reason: "the work on the answer broke".into() }))
}
