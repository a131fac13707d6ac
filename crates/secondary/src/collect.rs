//! The task that owns the collector.

use std::sync::Arc;
use std::time::Duration;

use firetower_api::TargetFound;
use firetower_daemon::{Clock, blocking};
use firetower_model::{Assignment, Generation, KeptLabels, KeptReport, NodeStatus, Timestamp};
use firetower_relay::{Outlet, ParentEvent};
use firetower_scrape::{Buffers, Scrape};
use firetower_store::{Batch, Store};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::answer::Owned;
use crate::collector::Collector;

/// Scrapes taken in with one write.
const BATCH_MAX: usize = 256;
/// How often scrapes are taken in, and it is looked for what else is due. Each time costs a wake-up and a write, so
/// that hundreds of scrapes a second are worth gathering.
const TICK: Duration = Duration::from_millis(100);
/// How often what was scraped is made to survive a power loss.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// How often health is reported and status renewed.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// How often what can no longer matter is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// What is to become of a share.
pub(crate) enum Assign {
    /// It is to be followed; who says so wants to know the indexes of its targets.
    Follow(Assignment, oneshot::Sender<Vec<u32>>),
    /// It is followed, perhaps under another number.
    Twin(Assignment),
}

/// What the collecting task is started with.
pub(crate) struct Collecting {
    pub(crate) collector: Collector,
    pub(crate) store: Store,
    pub(crate) outlet: Option<Arc<Outlet>>,
    pub(crate) clock: Clock,
    pub(crate) buffers: Buffers,
    pub(crate) scrapes: mpsc::Receiver<Scrape>,
    pub(crate) assigns: mpsc::Receiver<Assign>,
    pub(crate) snapshots: mpsc::Receiver<()>,
    pub(crate) kept: mpsc::Receiver<KeptLabels>,
    /// Who wants to know what is scraped.
    pub(crate) asks: mpsc::Receiver<oneshot::Sender<Vec<TargetFound>>>,
    pub(crate) rows: watch::Sender<KeptReport>,
    pub(crate) status: watch::Sender<NodeStatus>,
    pub(crate) taken: Vec<watch::Sender<(Generation, u64)>>,
    /// The targets that are scraped.
    pub(crate) owned: watch::Sender<Owned>,
}

/// Takes scrapes in until `cancel`, then those that are still on their way, and makes all of it durable.
pub(crate) async fn collect(mut state: Collecting, cancel: CancellationToken) -> Result<(), Error> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = state.clock.now();
    let mut due = Due { sync: now, report: now, forget: now + FORGET_EVERY, rows_said: 0 };
    let mut scrapes = Vec::with_capacity(BATCH_MAX);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            _ = ticks.tick() => {
                // A few scrapes are taken in faster than another thread is woken.
                state.take_waiting(&mut scrapes)?;
                if state.is_due(&due) {
                    blocking(|| state.tick(&mut due))?;
                }
            }
            Some(assign) = state.assigns.recv() => blocking(|| state.assign(assign))?,
            Some(()) = state.snapshots.recv() => state.collector.want_health_snapshot(),
            // Whoever asked may have gone away.
            Some(answer) = state.asks.recv() => drop(answer.send(state.collector.targets())),
            Some(said) = state.kept.recv() => state.collector.adopt_kept(&said),
        }
    }
    state.scrapes.close();
    due.sync = Timestamp::MIN;
    blocking(|| {
        state.take_waiting(&mut scrapes)?;
        state.tick(&mut due)
    })
}

/// When what is due next.
struct Due {
    sync: Timestamp,
    report: Timestamp,
    forget: Timestamp,
    /// What was last said of the rows.
    rows_said: u64,
}

impl Collecting {
    /// Takes in the scrapes that wait, a batch at a time.
    fn take_waiting(&mut self, scrapes: &mut Vec<Scrape>) -> Result<(), Error> {
        loop {
            let waiting = std::iter::from_fn(|| self.scrapes.try_recv().ok());
            scrapes.extend(waiting.take(BATCH_MAX));
            if scrapes.is_empty() {
                return Ok(());
            }
            self.take(scrapes)?;
        }
    }

    fn take(&mut self, scrapes: &mut Vec<Scrape>) -> Result<(), Error> {
        let now = self.clock.now();
        let mut batch = Batch::default();
        for scrape in scrapes.drain(..) {
            let values = self.collector.take(scrape, &mut batch, now)?;
            self.buffers.give_row(values);
        }
        self.collector.note_newest(&mut batch);
        self.store.commit(batch)?;
        Ok(())
    }

    fn assign(&mut self, assign: Assign) -> Result<(), Error> {
        let (mut batch, now) = (Batch::default(), self.clock.now());
        let (share, answer) = match assign {
            Assign::Follow(share, answer) => (share, answer),
            Assign::Twin(twin) => {
                self.collector.hear_twin(&twin, now, &mut batch)?;
                return Ok(self.store.commit(batch)?);
            }
        };
        let taken = (share.generation, share.fingerprint);
        let indexes = self.collector.assign(share, now, &mut batch)?;
        self.store.commit(batch)?;
        self.store.sync_or_wait()?;
        self.owned.send_replace(self.collector.owned());
        for link in &self.taken {
            link.send_replace(taken);
        }
        // Whoever asked is gone only when all is being stopped.
        let _ = answer.send(indexes);
        Ok(())
    }

    /// Tells whether there is more to do than to take scrapes in.
    fn is_due(&self, due: &Due) -> bool {
        let now = self.clock.now();
        [due.sync, due.report, due.forget].into_iter().any(|at| at <= now) || self.collector.is_close_due(now)
    }

    fn tick(&mut self, due: &mut Due) -> Result<(), Error> {
        let now = self.clock.now();
        // First, so that the parents hear of a decision before the rows that follow it.
        let mut is_written = self.collector.send_kept(now)?;
        is_written |= self.collector.close_due(now)?;
        if due.report <= now {
            due.report = now + REPORT_EVERY;
            is_written |= self.collector.report_health(now)?;
            self.status.send_modify(|status| {
                status.at = now;
                self.collector.describe(status);
            });
            if let Some((said, report)) = self.collector.kept_report(due.rows_said) {
                due.rows_said = said;
                self.rows.send_replace(report);
            }
        }
        if due.forget <= now {
            due.forget = now + FORGET_EVERY;
            self.collector.forget(now)?;
        }
        if is_written || due.sync <= now {
            due.sync = now + SYNC_EVERY;
            self.store.sync_or_wait()?;
        }
        if let Some(outlet) = self.outlet.as_ref().filter(|_| is_written) {
            outlet.publish();
        }
        Ok(())
    }
}

/// What a parent says of a share.
#[derive(Debug, PartialEq)]
pub(crate) enum Wish {
    /// It is to be followed.
    Follow(Assignment),
    /// It was heard of before, perhaps from another parent under another number.
    Twin(Assignment),
}

/// Where the wishes of the parents go.
pub(crate) struct Wishes {
    pub(crate) assignments: mpsc::Sender<Wish>,
    pub(crate) snapshots: mpsc::Sender<()>,
    pub(crate) kept: mpsc::Sender<KeptLabels>,
}

/// Hands the wishes of the parents on. Of several shares the one of the highest generation is followed, and of equal ones that
/// of the parent named first. `followed` is what an earlier life of the data directory did.
pub(crate) async fn listen_to_parents(
    parents: Vec<String>,
    mut events: mpsc::Receiver<ParentEvent>,
    wishes: Wishes,
    mut followed: (Generation, u64),
    cancel: CancellationToken,
) -> Result<(), Error> {
    let rank = |parent: &str| parents.iter().position(|known| known == parent).unwrap_or(usize::MAX);
    let mut followed_rank = None;
    loop {
        let event = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            event = events.recv() => event,
        };
        match event {
            None => {
                cancel.cancelled().await;
                return Ok(());
            }
            Some(ParentEvent::HealthSnapshot) => drop(wishes.snapshots.try_send(())),
            Some(ParentEvent::KeptLabels(said)) => drop(wishes.kept.send(said).await),
            Some(ParentEvent::Assignment { parent, assignment }) => {
                let offered = (assignment.generation, assignment.fingerprint);
                let rank = rank(&parent);
                let is_other = offered.1 != followed.1 && offered.0 == followed.0;
                let is_preferred = is_other && followed_rank.is_none_or(|followed| rank <= followed);
                let wish = if offered.0 > followed.0 || is_preferred {
                    tracing::info!(parent, generation = %offered.0, targets = assignment.targets.len(), "share taken");
                    (followed, followed_rank) = (offered, Some(rank));
                    Wish::Follow(assignment)
                } else {
                    Wish::Twin(assignment)
                };
                let _ = wishes.assignments.send(wish).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_highest_generation_is_followed_and_of_equal_ones_the_first_primarys() {
        let target = |at: usize| firetower_model::Target {
            job_name: "a".into(),
            labels: firetower_model::Labels::new([("instance", format!("h{at}"))]),
            url: format!("http://h{at}/metrics"),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        let share = |generation, count| {
            let targets = (0..count).map(target).collect();
            Assignment::new(Generation(generation), Timestamp::default(), targets)
        };
        // Who says it, under which number, how many targets; and whether they are followed.
        let said = [
            ("p1", 7, 1, true),
            ("p1", 7, 1, false),
            ("p0", 7, 1, false),
            ("p0", 6, 2, false),
            ("p0", 7, 2, true),
            ("p1", 7, 1, false),
            ("p0", 7, 3, true),
            ("p1", 8, 1, true),
            ("p0", 7, 3, false),
        ];
        let (events, heard) = mpsc::channel(said.len());
        let (assignments, mut followed) = mpsc::channel(said.len());
        let wishes = Wishes { assignments, snapshots: mpsc::channel(1).0, kept: mpsc::channel(1).0 };
        let parents = vec!["p0".into(), "p1".into()];
        let listening = listen_to_parents(parents, heard, wishes, (Generation(6), 0), CancellationToken::new());
        for (parent, generation, count, _) in said {
            let assignment = share(generation, count);
            events.send(ParentEvent::Assignment { parent: parent.into(), assignment }).await.unwrap();
        }
        drop(events);
        let listened = tokio::time::timeout(Duration::from_secs(1), listening).await;
        assert!(listened.is_err(), "it waits to be cancelled");
        for (_, generation, count, is_followed) in said {
            let wish = if is_followed { Wish::Follow } else { Wish::Twin };
            assert_eq!(followed.recv().await.unwrap(), wish(share(generation, count)));
        }
        assert!(followed.recv().await.is_none());
    }
}
