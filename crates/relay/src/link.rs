//! Taking frames to one parent replica.

use std::sync::Arc;
use std::time::Duration;

use firetower_daemon::{Backoff, Clock, Connector, Random, blocking, chain};
use firetower_model::{Assignment, Generation, Inquiry, KeptLabels, NodeStatus, Role, Sequence, Timestamp};
use firetower_wire as wire;
use firetower_wire::{ChildControl, Features, Heartbeat, Hello, HelloReply, Opening, ParentControl};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::answers::{Answering, Answers, QUERIES_MAX};
use crate::error::Error;
use crate::lane::{Carries, Lane, Route};
use crate::metrics::{RelayMetrics, peer};
use crate::outlet::Outlet;
use crate::session::say;

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long it may take from dialling to open calls: after the longest wait, still within 10 s.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// How long a parent may take to tell the time before the clock is used without.
const CLOCK_LIMIT: Duration = Duration::from_secs(1);
/// Waits before dialling again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(4));
/// Frames that are younger when a link comes up are sent as fresh ones, older ones behind them.
const FRESH_AGE: Duration = Duration::from_secs(10);

/// Who dials.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name in the topology file.
    pub node: String,
    /// Its place.
    pub role: Role,
    /// Region, or empty.
    pub region: String,
    /// Datacenter, or empty.
    pub datacenter: String,
}

/// What a parent wants of the role.
#[derive(Debug)]
pub enum ParentEvent {
    /// To follow an assignment, if it is newer than the one followed.
    Assignment {
        /// Which replica says so.
        parent: String,
        /// The share.
        assignment: Assignment,
    },
    /// To hear of every unhealthy target.
    HealthSnapshot,
    /// To drop labels from rows, from the windows on that it says.
    KeptLabels(KeptLabels),
}

/// The link to one parent replica.
pub struct Link {
    /// Who dials.
    pub identity: Identity,
    /// The replica's name in the topology file.
    pub parent: String,
    /// Its `host:port`.
    pub address: String,
    /// Opens connections.
    pub connector: Connector,
    /// Tells the time.
    pub clock: Clock,
    /// Spreads the attempts.
    pub random: Random,
    /// What is to be sent.
    pub outlet: Arc<Outlet>,
    /// What heartbeats say.
    pub status: watch::Receiver<NodeStatus>,
    /// The assignment that is followed.
    pub taken: watch::Receiver<(Generation, u64)>,
    /// Takes what the parent wants.
    pub events: mpsc::Sender<ParentEvent>,
    /// Counts.
    pub metrics: RelayMetrics,
    /// Answers what the parent asks; `None` if nothing can be asked here.
    pub answers: Option<Arc<dyn Answers>>,
}

/// One open session with the parent.
struct Session {
    parent: wire::Parent,
    control: wire::Sender<ChildControl>,
    heard: wire::Receiver<ParentControl>,
    live: (wire::Sender<wire::FrameUp>, wire::Receiver<wire::FrameDown>),
    reply: HelloReply,
}

impl Link {
    /// Keeps the link up until `cancel`, then sends what is fresh while the parent takes it.
    ///
    /// # Errors
    /// If the store fails, or a newer data directory has taken this node's place. Everything else is tried again.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), Error> {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1, self.random.clone());
        while !cancel.is_cancelled() {
            let started = Instant::now();
            let error = match self.session(&cancel).await {
                Ok(()) => return Ok(()),
                Err(error @ (Error::Superseded { .. } | Error::Store(_))) => return Err(error),
                Err(error) => error,
            };
            self.metrics.dial_failures.get_or_create(&peer(&self.parent)).inc();
            if let Error::Refused { reason, .. } = error {
                self.metrics.refused_by_parent(reason);
            }
            tracing::warn!(parent = self.parent, address = self.address, error = %chain(&error), "link to parent failed");
            if started.elapsed() > BACKOFF.1 {
                backoff.reset();
            }
            let asked = error.retry_after();
            let spread = Duration::from_millis(self.random.below(asked.as_millis() as u64 + 1));
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(backoff.wait().max(asked + spread)) => {}
            }
        }
        Ok(())
    }

    /// Puts the clock of `links` right by the first of their parents that says its time, before anything is stamped with it.
    pub async fn set_clock(links: &[Link]) {
        for link in links {
            if link.take_time().await {
                return;
            }
        }
    }

    /// Puts the clock right by the parent's; tells whether the parent said its time.
    ///
    /// A parent that does not answer soon must not hold up what is below it: the clock is then led towards it later.
    async fn take_time(&self) -> bool {
        let asked = timeout(CLOCK_LIMIT, self.ask_time()).await;
        let Ok(Ok(Some((sent, at)))) = asked else { return false };
        let before = self.clock.now();
        self.clock.set(sent, at);
        let (behind, ahead) = (self.clock.now().since(before), before.since(self.clock.now()));
        tracing::info!(parent = self.parent, ?behind, ?ahead, "clock set by the parent's");
        true
    }

    /// Asks for the parent's time; returns when it was asked for too. `None` if it does not say.
    async fn ask_time(&self) -> Result<Option<(Timestamp, Timestamp)>, Error> {
        let parent = wire::Parent::dial(&self.connector, &self.address, wire::DialOptions::default()).await?;
        let sent = self.clock.now();
        let (_control, mut heard) = parent.control(self.hello()).await?;
        match heard.next().await? {
            Some(ParentControl::HelloReply(reply)) => Ok(reply.at.map(|at| (sent, at))),
            _ => Ok(None),
        }
    }

    async fn session(&mut self, cancel: &CancellationToken) -> Result<(), Error> {
        let opened = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            opened = timeout(OPEN_LIMIT, self.open()) => opened,
        };
        let session = opened.map_err(|_| Error::Silent { what: "open calls", limit: OPEN_LIMIT })??;
        let Session { parent, control, mut heard, live, reply } = session;
        tracing::info!(parent = self.parent, address = self.address, version = reply.version, "link to parent is up");
        let has_lanes = reply.features.lanes;
        let after = if has_lanes { self.outlet.last_before(self.clock.now() - FRESH_AGE) } else { Sequence(0) };
        let has_backlog = self.outlet.next_for(&self.parent, Sequence(0)).is_some_and(|first| first <= after);
        // Reports of health are changes, and those that follow each other must not be applied in another order.
        if reply.wants_health_snapshot || has_backlog {
            self.tell(ParentEvent::HealthSnapshot).await;
        }
        let route = Route::new(self.parent.clone(), Arc::clone(&self.outlet), self.metrics.clone());
        let fresh = Lane::new(&route, Carries::Fresh { after }, live, has_lanes, reply.row_keys_known);
        let (opening, (to_answer, queries)) = (self.opening(), mpsc::channel(QUERIES_MAX));
        let answers = self.answers.clone().filter(|_| reply.features.queries);
        let mut answering = answers
            .map(|answers| Answering::new(self.parent.clone(), parent.clone(), answers, queries, self.metrics.clone()));
        let answered = async {
            match &mut answering {
                Some(answering) => answering.run(&opening).await,
                None => std::future::pending().await,
            }
        };
        let backlog = async {
            if has_backlog {
                route.quiet().await;
                let call = parent.backlog(opening.clone()).await?;
                let row_keys_known = route.row_keys_sent().max(reply.row_keys_known);
                let lane = Lane::new(&route, Carries::Old { through: after }, call, has_lanes, row_keys_known);
                lane.run(cancel).await?;
                tracing::info!(parent = route.parent, through = after.0, "backlog is delivered");
            }
            // The connection for old things goes with it, unless there are answers.
            drop(parent);
            std::future::pending::<Result<(), Error>>().await
        };
        let ended = tokio::select! {
            biased;
            ended = self.converse(&control, &mut heard, &to_answer) => ended,
            ended = fresh.run(cancel) => ended,
            ended = backlog => ended,
            never = answered => match never {},
        };
        if let Some(answering) = answering {
            answering.stop().await;
        }
        ended?;
        self.beat(&control).await
    }

    /// Dials, says hello, and opens the call for fresh frames.
    async fn open(&mut self) -> Result<Session, Error> {
        let parent = wire::Parent::dial(&self.connector, &self.address, wire::DialOptions::default()).await?;
        let (control, mut heard) = parent.control(self.hello()).await?;
        let reply = match heard.next().await? {
            Some(ParentControl::HelloReply(reply)) => reply,
            Some(ParentControl::Refused(refusal)) => return Err(Error::refused(&self.parent, refusal)),
            _ => return Err(Error::Ended { call: "control" }),
        };
        let known = self.outlet.last_sequence();
        if reply.applied.iter().any(|range| *range.end() > known) {
            tracing::error!(parent = self.parent, known = known.0, "parent has applied frames that are not known here");
            return Err(Error::Store(blocking(|| self.outlet.store().note_went_back())));
        }
        self.outlet.greet(&self.parent, &reply.applied, reply.applied_samples)?;
        let live = parent.live(self.opening()).await?;
        Ok(Session { parent, control, heard, live, reply })
    }

    /// Says how this monitor is, and hears what it is to do, until the call ends.
    async fn converse(
        &mut self,
        control: &wire::Sender<ChildControl>,
        heard: &mut wire::Receiver<ParentControl>,
        to_answer: &mpsc::Sender<(u64, Arc<Inquiry>)>,
    ) -> Result<(), Error> {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.taken.mark_changed();
        loop {
            tokio::select! {
                biased;
                said = heard.next() => self.heard(said?, to_answer).await?,
                Ok(()) = self.taken.changed() => {
                    let (generation, fingerprint) = *self.taken.borrow_and_update();
                    say(control, ChildControl::AssignmentTaken { generation, fingerprint }).await?;
                }
                _ = heartbeat.tick() => self.beat(control).await?,
            }
        }
    }

    async fn beat(&self, control: &wire::Sender<ChildControl>) -> Result<(), Error> {
        let status = self.status.borrow().clone();
        let (highest_sequence, at) = (self.outlet.last_sequence(), self.clock.now());
        let claim = self.outlet.claim(&self.parent);
        say(control, ChildControl::Heartbeat(Box::new(Heartbeat { status, highest_sequence, at, claim }))).await
    }

    async fn heard(
        &self,
        said: Option<ParentControl>,
        to_answer: &mpsc::Sender<(u64, Arc<Inquiry>)>,
    ) -> Result<(), Error> {
        match said {
            None => return Err(Error::Ended { call: "control" }),
            Some(ParentControl::Refused(refusal)) => return Err(Error::refused(&self.parent, refusal)),
            Some(ParentControl::Assignment(assignment)) => {
                self.tell(ParentEvent::Assignment { parent: self.parent.clone(), assignment }).await;
            }
            Some(ParentControl::ClockReading { sent, at }) => self.clock.follow(sent, at),
            Some(ParentControl::KeptLabels(labels)) => self.tell(ParentEvent::KeptLabels(labels)).await,
            Some(ParentControl::Query { id, inquiry }) => {
                // Without a word the parent takes it for hung.
                if to_answer.try_send((id, inquiry)).is_err() {
                    self.metrics.dropped_queries.get_or_create(&peer(&self.parent)).inc();
                }
            }
            Some(ParentControl::HelloReply(_) | ParentControl::Credit { .. }) => {}
        }
        Ok(())
    }

    /// Tells the role; one that is ending no longer listens.
    async fn tell(&self, event: ParentEvent) {
        let _ = self.events.send(event).await;
    }

    fn hello(&self) -> Hello {
        Hello {
            node: self.identity.node.clone(),
            role: self.identity.role,
            version: env!("CARGO_PKG_VERSION").into(),
            incarnation: self.outlet.store().incarnation(),
            region: self.identity.region.clone(),
            datacenter: self.identity.datacenter.clone(),
            highest_sequence: self.outlet.last_sequence(),
            row_keys: self.outlet.store().row_key_count(),
            settled_through: self.outlet.settled_through(&self.parent),
            features: self.features(),
        }
    }

    fn opening(&self) -> Opening {
        let incarnation = self.outlet.store().incarnation();
        Opening { node: self.identity.node.clone(), incarnation, features: self.features() }
    }

    fn features(&self) -> Features {
        Features { queries: self.answers.is_some(), ..Features::OURS }
    }
}
