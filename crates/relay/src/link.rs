//! Taking frames to one parent replica.

use std::sync::Arc;
use std::time::Duration;

use firetower_daemon::{Backoff, Clock, Connector, Random, chain};
use firetower_model::{Assignment, Generation, KeptLabels, NodeStatus, Role, RowId, Sequence};
use firetower_wire as wire;
use firetower_wire::{
    ChildControl, FrameDown, FrameUp, Heartbeat, Hello, Opening, ParentControl, RefusalReason, RowKeys, SealedFrame,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::metrics::{RelayMetrics, peer};
use crate::outlet::{Outlet, sealed};

/// Frames sent and not yet acknowledged, at most.
const IN_FLIGHT_MAX: usize = 32;
/// Row keys in one message.
const ROW_KEYS_BATCH: usize = 4_096;
/// How often a parent may ask for row keys again before it acknowledges a frame.
const REWINDS_MAX: u32 = 8;
/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a parent may take to its answer to a hello.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// How long a parent may take to acknowledge anything of what is in flight.
const ACKNOWLEDGE_LIMIT: Duration = Duration::from_secs(10);
/// Waits before dialling again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

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
}

/// One open session with the parent.
struct Session {
    control: wire::Sender<ChildControl>,
    frames: wire::Sender<FrameUp>,
    row_keys_sent: u32,
    /// The last sequence of the tombstone sent.
    buried_through: Sequence,
    last_sent: Sequence,
    in_flight: Vec<Sequence>,
    last_progress: Instant,
    rewinds: u32,
}

impl Link {
    /// Keeps the link up until `cancel`, then sends what is left while the parent takes it.
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
            tracing::warn!(parent = self.parent, address = self.address, error = %chain(&error), "link to parent failed");
            if started.elapsed() > BACKOFF.1 {
                backoff.reset();
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(backoff.wait()) => {}
            }
        }
        Ok(())
    }

    async fn session(&mut self, cancel: &CancellationToken) -> Result<(), Error> {
        let dialled = wire::Parent::dial(&self.connector, &self.address, wire::DialOptions::default());
        let parent = tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            parent = dialled => parent?,
        };
        let (control, mut heard) = parent.control(self.hello()).await?;
        let first = timeout(HELLO_LIMIT, heard.next()).await;
        let first = first.map_err(|_| Error::Silent { what: "answer to hello", limit: HELLO_LIMIT })??;
        let reply = match first {
            Some(ParentControl::HelloReply(reply)) => reply,
            Some(ParentControl::Refused(refusal)) => return Err(self.refused(refusal)),
            _ => return Err(Error::Ended { call: "control" }),
        };
        tracing::info!(parent = self.parent, address = self.address, version = reply.version, "link to parent is up");
        self.outlet.greet(&self.parent, &reply.applied, reply.applied_samples)?;
        if reply.wants_health_snapshot {
            self.tell(ParentEvent::HealthSnapshot).await;
        }
        let opening = Opening { node: self.identity.node.clone(), incarnation: self.outlet.store().incarnation() };
        let (frames, acknowledgements) = parent.live(opening).await?;
        let session = Session {
            control,
            frames,
            row_keys_sent: reply.row_keys_known,
            buried_through: Sequence(0),
            last_sent: Sequence(0),
            in_flight: Vec::new(),
            last_progress: Instant::now(),
            rewinds: 0,
        };
        self.converse(session, heard, acknowledgements, cancel).await
    }

    async fn converse(
        &mut self,
        mut session: Session,
        mut heard: wire::Receiver<ParentControl>,
        mut acknowledgements: wire::Receiver<FrameDown>,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let mut published = self.outlet.published();
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.taken.mark_changed();
        loop {
            self.send_frames(&mut session).await?;
            if cancel.is_cancelled() && session.in_flight.is_empty() {
                self.beat(&session).await?;
                return Ok(());
            }
            tokio::select! {
                biased;
                () = cancel.cancelled(), if session.in_flight.is_empty() => {}
                said = acknowledgements.next() => self.acknowledged(&mut session, said?)?,
                said = heard.next() => self.heard(said?).await?,
                Ok(()) = self.taken.changed() => {
                    let (generation, fingerprint) = *self.taken.borrow_and_update();
                    session.control.send(ChildControl::AssignmentTaken { generation, fingerprint }).await?;
                }
                Ok(()) = published.changed() => {}
                _ = heartbeat.tick() => self.beat(&session).await?,
            }
        }
    }

    async fn beat(&mut self, session: &Session) -> Result<(), Error> {
        if !session.in_flight.is_empty() && session.last_progress.elapsed() > ACKNOWLEDGE_LIMIT {
            return Err(Error::Silent { what: "acknowledgement", limit: ACKNOWLEDGE_LIMIT });
        }
        let status = self.status.borrow().clone();
        let (highest_sequence, at) = (self.outlet.last_sequence(), self.clock.now());
        let claim = self.outlet.claim(&self.parent);
        let heartbeat = Heartbeat { status, highest_sequence, at, claim };
        session.control.send(ChildControl::Heartbeat(Box::new(heartbeat))).await?;
        Ok(())
    }

    async fn send_frames(&self, session: &mut Session) -> Result<(), Error> {
        while session.in_flight.len() < IN_FLIGHT_MAX {
            let frame = match self.tombstone(session)? {
                Some(frame) => frame,
                None => {
                    let Some(next) = self.outlet.next_for(&self.parent, session.last_sent) else { return Ok(()) };
                    session.last_sent = next;
                    let Some(frame) = self.outlet.offer(&self.parent, next)? else { continue };
                    frame
                }
            };
            self.send_row_keys(session, frame.row_keys_needed).await?;
            if session.in_flight.is_empty() {
                session.last_progress = Instant::now();
            }
            session.in_flight.push(frame.sequence);
            self.metrics.sent_frames.get_or_create(&peer(&self.parent)).inc();
            self.metrics.sent_bytes.get_or_create(&peer(&self.parent)).inc_by(frame.payload.len() as u64);
            session.frames.send(FrameUp::Frame(frame)).await?;
        }
        Ok(())
    }

    /// Returns the tombstone if there is more to it than was sent, and nothing that it stands for is on its way: so
    /// what comes through is never taken for dropped.
    fn tombstone(&self, session: &mut Session) -> Result<Option<SealedFrame>, Error> {
        let Some(tombstone) = self.outlet.tombstone_for(&self.parent) else { return Ok(None) };
        let is_clear = session.in_flight.iter().all(|sequence| *sequence > tombstone.to);
        if tombstone.to <= session.buried_through || !is_clear {
            return Ok(None);
        }
        session.buried_through = tombstone.to;
        Ok(Some(sealed(tombstone)?))
    }

    async fn send_row_keys(&self, session: &mut Session, needed: u32) -> Result<(), Error> {
        while session.row_keys_sent < needed {
            let first = RowId(session.row_keys_sent);
            let keys = self.outlet.store().row_keys_from(first, ROW_KEYS_BATCH);
            session.row_keys_sent += keys.len() as u32;
            session.frames.send(FrameUp::RowKeys(RowKeys { first, keys })).await?;
        }
        Ok(())
    }

    fn acknowledged(&self, session: &mut Session, said: Option<FrameDown>) -> Result<(), Error> {
        match said {
            None => return Err(Error::Ended { call: "live" }),
            Some(FrameDown::Refused(refusal)) => return Err(self.refused(refusal)),
            Some(FrameDown::Credit { .. }) => {}
            Some(FrameDown::NeedRowKeys { from }) => {
                session.rewinds += 1;
                if session.rewinds > REWINDS_MAX {
                    return Err(Error::Rewinds { parent: self.parent.clone(), asked: session.rewinds });
                }
                session.row_keys_sent = session.row_keys_sent.min(from.0);
                (session.last_sent, session.buried_through) = (Sequence(0), Sequence(0));
                session.in_flight.clear();
            }
            Some(FrameDown::Acknowledged(ranges)) => {
                self.outlet.acknowledge(&self.parent, &ranges)?;
                session.in_flight.retain(|sequence| !ranges.iter().any(|range| range.contains(sequence)));
                (session.last_progress, session.rewinds) = (Instant::now(), 0);
            }
        }
        Ok(())
    }

    async fn heard(&self, said: Option<ParentControl>) -> Result<(), Error> {
        match said {
            None => return Err(Error::Ended { call: "control" }),
            Some(ParentControl::Refused(refusal)) => return Err(self.refused(refusal)),
            Some(ParentControl::Assignment(assignment)) => {
                self.tell(ParentEvent::Assignment { parent: self.parent.clone(), assignment }).await;
            }
            Some(ParentControl::KeptLabels(labels)) => self.tell(ParentEvent::KeptLabels(labels)).await,
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
        }
    }

    fn refused(&self, refusal: wire::Refusal) -> Error {
        let (parent, text) = (self.parent.clone(), refusal.text);
        match refusal.reason {
            RefusalReason::Superseded => Error::Superseded { parent, text },
            reason => Error::Refused { parent, reason: reason.as_str(), text },
        }
    }
}
