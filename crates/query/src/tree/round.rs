//! Asking all at once, and taking what they say as it comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use firetower_model::{Answered, Ask, Ending, Inquiry, Piece};
use firetower_relay::Callers;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::IsStopped;
use crate::error::Error;
use crate::tree::group::{Group, Said};

/// How often it is looked whether anybody still waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came of a round.
pub(super) enum Step {
    /// A piece of the answer.
    Piece(Piece),
    /// All have said which targets moved, or do not answer: now it goes on, or begins anew.
    Moved(Vec<Vec<u64>>),
    /// All have answered, or will not.
    Done,
}

/// One question to all groups. It must be used on a thread that may block. The children are told when it is dropped.
pub(super) struct Round {
    runtime: Handle,
    _tasks: JoinSet<()>,
    heard: mpsc::Receiver<(usize, Said)>,
    may_go_on: watch::Sender<bool>,
    until: Instant,
    is_stopped: IsStopped,
    holders: Vec<String>,
    /// Which targets moved, by who said so; until all have.
    moved: Vec<Option<Vec<u64>>>,
    is_begun: bool,
    /// How each group ended, with its groups of an aggregation.
    ended: Vec<Option<(Vec<Piece>, Ending)>>,
    /// Groups of an aggregation in the order of those who said them, once all have.
    ready: VecDeque<Piece>,
}

impl Round {
    pub(super) fn begin(
        callers: &Callers,
        groups: &[Group],
        ask: &Ask,
        moved: &[u64],
        until: Instant,
        is_stopped: &IsStopped,
    ) -> Round {
        let within = until.saturating_duration_since(Instant::now());
        let inquiry = Arc::new(Inquiry { ask: ask.clone(), moved: moved.to_vec(), within });
        let (to, heard) = mpsc::channel(groups.len().max(1));
        let (may_go_on, going_on) = watch::channel(false);
        let runtime = Handle::current();
        let mut tasks = JoinSet::new();
        for (place, group) in groups.iter().enumerate() {
            let asked = group.clone().ask(place, callers.clone(), Arc::clone(&inquiry), going_on.clone(), to.clone());
            tasks.spawn_on(asked, &runtime);
        }
        Round {
            runtime,
            _tasks: tasks,
            heard,
            may_go_on,
            until,
            is_stopped: Arc::clone(is_stopped),
            holders: groups.iter().map(|group| group.holds.clone()).collect(),
            moved: vec![None; groups.len()],
            is_begun: false,
            ended: vec![None; groups.len()],
            ready: VecDeque::new(),
        }
    }

    /// Lets the children go on, now that it is known which targets moved.
    pub(super) fn go_on(&mut self) {
        self.is_begun = true;
        self.may_go_on.send_replace(true);
    }

    pub(super) fn next(&mut self) -> Result<Step, Error> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Step::Piece(piece));
            }
            if !self.is_begun && self.moved.iter().all(Option::is_some) {
                return Ok(Step::Moved(self.moved.iter().flatten().cloned().collect()));
            }
            if self.ended.iter().all(Option::is_some) {
                // Each is merged in its turn, so that replicas come to the same bits.
                self.ready = self.ended.iter_mut().flatten().flat_map(|(groups, _)| std::mem::take(groups)).collect();
                if self.ready.is_empty() {
                    return Ok(Step::Done);
                }
                continue;
            }
            let (place, said) = self.hear()?;
            match said {
                // A replica that is asked in place of another cannot say more than that nothing moved.
                Said::Moved(moved) => drop(self.moved[place].get_or_insert(moved)),
                Said::Piece(piece) => return Ok(Step::Piece(piece)),
                Said::End(groups, ending) => self.ended[place] = Some((groups, ending)),
                Said::Missing(missing) => {
                    let mut answered = Answered::default();
                    missing.into_iter().for_each(|missing| answered.miss(missing));
                    self.moved[place].get_or_insert_default();
                    self.ended[place] = Some((Vec::new(), Ending { answered, ..Ending::default() }));
                }
                Said::Refused(reason) => return Err(Error::Execution { reason }),
            }
        }
    }

    fn hear(&mut self) -> Result<(usize, Said), Error> {
        loop {
            if (self.is_stopped)() || Instant::now() >= self.until {
                return Err(Error::Stopped);
            }
            let heard = &mut self.heard;
            match self.runtime.block_on(async { timeout(LOOK_EVERY, heard.recv()).await }) {
                Ok(Some(heard)) => return Ok(heard),
                // All tasks have ended, one of them without a word.
                Ok(None) => return Err(Error::Stopped),
                Err(_) => {}
            }
        }
    }

    /// Returns who answered.
    pub(super) fn answered(&self) -> impl Iterator<Item = (String, Answered)> {
        let ended = self.ended.iter().flatten().map(|(_, ending)| ending.answered.clone());
        self.holders.iter().cloned().zip(ended).collect::<Vec<_>>().into_iter()
    }

    /// Returns what all have said at the end.
    pub(super) fn said(&self) -> Ending {
        let mut all = Ending::default();
        for (_, ending) in self.ended.iter().flatten() {
            all.warnings.extend_from_slice(&ending.warnings);
            all.infos.extend_from_slice(&ending.infos);
            all.series += ending.series;
            all.samples += ending.samples;
        }
        all
    }
}
