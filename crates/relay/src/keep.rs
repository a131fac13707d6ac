//! The parent's side: applies the children's frames, each exactly once, and acknowledges them when they are durable.

mod held;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use firetower_daemon::{Clock, blocking};
use firetower_model::{
    Assignment, Body, Frame, Generation, HealthReport, Incarnation, KeptLabels, NodeStatus, Received, RowId, Sequence,
    Timestamp, WindowRows,
};
use firetower_store::{Applied, Batch, Hello as Greeting, Receiver, Store};
use firetower_wire::{
    Accepted, Features, FrameDown, Hello, HelloReply, ParentControl, Refusal, RefusalReason, RowKeys,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::callers::Callers;
use crate::error::Error;
use crate::inbound::{Inbound, SessionId};
use crate::inbox::{Inbox, Room};
use crate::intake::Intake;
use crate::keep::held::Held;
use crate::link::Identity;
use crate::metrics::{RelayMetrics, peer};
use crate::session::serve_control;

/// Messages from all sessions that wait for the keeper; more make the sessions, and so the children, wait.
const INBOUND_MAX: usize = 256;
/// Messages applied in one batch, and made durable by one sync; and how many of them may be of old frames.
const BATCH_MAX: usize = 64;
const OLD_BATCH_MAX: usize = 16;
/// When a child is to come again for which there is no room.
const NO_ROOM_RETRY: Duration = Duration::from_secs(5);
/// How often the parent is asked whether something is due.
const TICK: Duration = Duration::from_millis(50);
/// By how much a window may end later than it is by this clock, and still be its time.
pub const FUTURE_TOLERANCE: Duration = Duration::from_secs(5);
/// How far ahead a window may begin and still be taken, to wait for its time; a clock that is further ahead is broken, and
/// its child keeps the frame.
const FUTURE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long after its last word a child counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(6);

/// What a child that was let in is to do.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// Whether to list every unhealthy target.
    pub wants_health_snapshot: bool,
    /// Which targets to pull, the newest assignment last.
    pub assignments: Vec<Assignment>,
    /// All that is decided about labels.
    pub kept: Option<KeptLabels>,
}

/// What a role does with what its children say. Everything it writes goes into the batch it is handed.
pub trait Parent: Send + 'static {
    /// Tells whether this node may be a child here.
    ///
    /// # Errors
    /// What to tell it if not.
    fn admit(&self, hello: &Hello) -> Result<(), Refusal>;

    /// Returns what a child that was let in is to do.
    fn greet(&mut self, child: &str) -> Orders;

    /// Applies rows, with ids of this store, of a frame that carries `weight` raw samples and was not applied before.
    ///
    /// # Errors
    /// If the store fails.
    fn apply_rows(
        &mut self,
        batch: &mut Batch,
        child: &str,
        rows: WindowRows,
        weight: u64,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Applies a report of health.
    ///
    /// # Errors
    /// If the store fails.
    fn apply_health(
        &mut self,
        batch: &mut Batch,
        child: &str,
        report: HealthReport,
        now: Timestamp,
    ) -> Result<(), Error>;

    /// Counts `weight` raw samples in a frame that this release cannot apply.
    fn apply_unknown(&mut self, batch: &mut Batch, weight: u64);

    /// Hears which labels a child proposes to drop, and which it has heard are dropped.
    ///
    /// # Errors
    /// If the store fails.
    fn apply_kept(&mut self, batch: &mut Batch, child: &str, labels: KeptLabels) -> Result<(), Error>;

    /// Hears that a child follows an assignment.
    fn taken(&mut self, child: &str, generation: Generation, fingerprint: u64);

    /// Does what is due; called after each batch and some times a second.
    ///
    /// # Errors
    /// If the store fails.
    fn tick(&mut self, children: &Children, now: Timestamp) -> Result<(), Error>;
}

/// The children that are, or were, here.
#[derive(Default)]
pub struct Children {
    here: BTreeMap<String, Child>,
    received: BTreeMap<String, Received>,
}

struct Child {
    session: SessionId,
    status: Option<NodeStatus>,
    heard_at: Timestamp,
    /// By how much its clock was ahead of this one when it was heard last.
    ahead_ms: Option<i64>,
    is_open: bool,
    out: mpsc::Sender<ParentControl>,
}

impl Children {
    /// Tells whether `child` is connected and was heard lately.
    pub fn is_connected(&self, child: &str, now: Timestamp) -> bool {
        self.here.get(child).is_some_and(|child| child.is_open && now.since(child.heard_at) < SILENCE_MAX)
    }

    /// Returns what each child last said of itself, in order of their names.
    pub fn statuses(&self, now: Timestamp) -> Vec<NodeStatus> {
        let status = |(name, child): (&String, &Child)| {
            let mut status = child.status.clone()?;
            (status.is_connected, status.clock_ahead_ms) = (self.is_connected(name, now), child.ahead_ms);
            Some(status)
        };
        self.here.iter().filter_map(status).collect()
    }

    /// Returns what was received from each child that was ever here, in order of their names.
    pub fn received(&self) -> Vec<Received> {
        self.received.values().cloned().collect()
    }

    /// Tells a child to follow `assignment`; one that is not connected, or does not read, hears it at its next hello.
    pub fn assign(&self, child: &str, assignment: Assignment) {
        if let Some(child) = self.here.get(child).filter(|child| child.is_open) {
            let _ = child.out.try_send(ParentControl::Assignment(assignment));
        }
    }

    /// Tells all children that are connected which labels are dropped; one that does not read hears it at its next hello.
    pub fn tell_kept(&self, labels: &KeptLabels) {
        for child in self.here.values().filter(|child| child.is_open) {
            let _ = child.out.try_send(ParentControl::KeptLabels(labels.clone()));
        }
    }

    /// Returns how many children are here beside `child`.
    fn others(&self, child: &str) -> usize {
        self.here.iter().filter(|(name, here)| here.is_open && *name != child).count()
    }

    fn of_session(&mut self, session: SessionId) -> Option<(&String, &mut Child)> {
        self.here.iter_mut().find(|(_, child)| child.session == session)
    }

    fn note_received(&mut self, child: &str, applied: &Applied) {
        let received = Received {
            child: child.to_owned(),
            applied: applied.weight,
            applied_before: applied.weight_before,
            delivered: applied.claim.map(|claim| claim.delivered),
            incarnation_lost: applied.lost_weight,
        };
        self.received.insert(child.to_owned(), received);
    }
}

/// What a parent keeps its children's frames with.
pub struct Keeping {
    /// Who it is.
    pub identity: Identity,
    /// Where it keeps them.
    pub store: Store,
    /// How many bytes of frames it may hold in memory that are received, read or applied.
    pub inbox_bytes: u64,
    /// Tells the time.
    pub clock: Clock,
    /// Counts.
    pub metrics: RelayMetrics,
    /// Hears which children can be asked.
    pub callers: Callers,
}

/// Serves the calls that come from `accepted` until `cancel`, for `parent`.
///
/// # Errors
/// If the store fails: then nothing more can be promised to be kept.
pub async fn keep<P: Parent>(
    keeping: Keeping,
    parent: P,
    mut accepted: mpsc::Receiver<Accepted>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let Keeping { identity, store, inbox_bytes, clock, metrics, callers } = keeping;
    let receiver = Receiver::open(&store)?;
    let mut children = Children::default();
    receiver.children().for_each(|(child, applied)| children.note_received(child, applied));
    let inbox = Inbox::new(inbox_bytes, metrics.inbox_bytes.clone());
    let children_max = inbox.children_max();
    let (to_keeper, mut inbound) = mpsc::channel(INBOUND_MAX);
    let (to_keeper_later, mut old) = mpsc::channel(OLD_BATCH_MAX);
    let intake = Intake { inbox, metrics: metrics.clone(), fresh: to_keeper.clone(), old: to_keeper_later };
    let (replies, held) = (Vec::new(), Held::default());
    let mut keeper =
        Keeper { identity, store, receiver, parent, children, children_max, clock, metrics, replies, held };
    let mut sessions = JoinSet::new();
    let mut next_session = 0;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut messages, mut old_messages) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(call) = accepted.recv() => {
                next_session += 1;
                let (session, cancel) = (SessionId(next_session), cancel.clone());
                match call {
                    Accepted::Control(call) => {
                        let (keeper, callers, metrics) = (to_keeper.clone(), callers.clone(), intake.metrics.clone());
                        sessions.spawn(serve_control(call, session, keeper, callers, metrics, cancel));
                    }
                    Accepted::Frames(call) => {
                        sessions.spawn(intake.clone().serve(call, session, cancel));
                    }
                    Accepted::Answers(call) => {
                        sessions.spawn(callers.clone().serve(call, cancel));
                    }
                }
            }
            Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
            _ = inbound.recv_many(&mut messages, BATCH_MAX - OLD_BATCH_MAX) => {
                // Old ones come behind fresh ones, but they come.
                messages.extend(std::iter::from_fn(|| old.try_recv().ok()).take(OLD_BATCH_MAX));
                keeper.receive(&mut messages)?;
            }
            _ = old.recv_many(&mut old_messages, OLD_BATCH_MAX), if !keeper.store.is_held() => {
                keeper.receive(&mut old_messages)?;
            }
            _ = ticks.tick() => keeper.receive(&mut Vec::new())?,
        }
    }
    drop((to_keeper, intake));
    let drain = async { while sessions.join_next().await.is_some() {} };
    let fresh_end = async { while inbound.recv().await.is_some() {} };
    let old_end = async { while old.recv().await.is_some() {} };
    tokio::join!(drain, fresh_end, old_end);
    keeper.tick()
}

struct Keeper<P> {
    identity: Identity,
    store: Store,
    receiver: Receiver,
    parent: P,
    children: Children,
    children_max: usize,
    clock: Clock,
    metrics: RelayMetrics,
    /// What is said once all that was applied so far is durable.
    replies: Vec<Reply>,
    held: Held,
}

/// What is said once a batch is durable.
enum Reply {
    Hello { answer: oneshot::Sender<ParentControl>, message: ParentControl },
    Frame { out: mpsc::Sender<FrameDown>, message: FrameDown },
}

impl<P: Parent> Keeper<P> {
    /// Applies messages in one batch, makes it durable, and only then answers.
    fn take(&mut self, messages: &mut Vec<Inbound>) -> Result<(), Error> {
        let mut batch = Batch::default();
        let (mut replies, mut rooms) = (Vec::new(), Vec::new());
        let mut needs_sync = false;
        for message in messages.drain(..) {
            needs_sync |= self.apply(message, &mut batch, &mut replies, &mut rooms)?;
        }
        self.replies.append(&mut replies);
        blocking(|| {
            self.store.commit(batch)?;
            if needs_sync { self.store.sync_or_wait() } else { Ok(()) }
        })?;
        drop(rooms);
        self.metrics.batches.inc_by(u64::from(needs_sync));
        self.reply()?;
        self.tick()
    }

    /// Says what waited for being durable, unless that has to wait for room on the disk.
    fn reply(&mut self) -> Result<(), Error> {
        if self.store.is_waiting() {
            return Ok(());
        }
        for reply in self.replies.drain(..) {
            match reply {
                Reply::Hello { answer, message } => drop(answer.send(message)),
                // A full queue belongs to a child that does not read: it asks again after it has come back.
                Reply::Frame { out, message } => drop(out.try_send(message)),
            }
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Error> {
        if !self.replies.is_empty() && !self.store.is_waiting() {
            blocking(|| self.store.sync())?;
            self.reply()?;
        }
        let now = self.clock.now();
        blocking(|| self.parent.tick(&self.children, now))
    }

    /// Applies one message; returns whether it must be durable before it is answered.
    ///
    /// The room that it has had goes to `rooms`: what it has become lies in the batch.
    fn apply(
        &mut self,
        message: Inbound,
        batch: &mut Batch,
        replies: &mut Vec<Reply>,
        rooms: &mut Vec<Room>,
    ) -> Result<bool, Error> {
        let now = self.clock.now();
        match message {
            Inbound::Hello { session, hello, answer, out } => {
                let message = self.greet(session, hello, out, batch, now);
                let is_taken = matches!(message, ParentControl::HelloReply(_));
                replies.push(Reply::Hello { answer, message });
                return Ok(is_taken);
            }
            Inbound::Heartbeat { session, status, highest, at, claim } => {
                let incarnation = status.incarnation;
                let Some(name) = self.note_heartbeat(session, *status, at) else { return Ok(false) };
                self.receiver.announce(batch, &name, incarnation, highest);
                if let Some(claim) = claim {
                    self.receiver.claim(batch, &name, incarnation, claim);
                }
                self.note_received(&name);
            }
            Inbound::Taken { session, generation, fingerprint } => self.note_taken(session, generation, fingerprint),
            Inbound::Gone { session } => self.note_gone(session),
            Inbound::Opening { child, incarnation, answer } => self.answer_opening(&child, incarnation, answer),
            Inbound::RowKeys { child, incarnation, row_keys, room, out } => {
                rooms.push(room);
                if let Some(message) = self.learn(&child, incarnation, &row_keys, batch)? {
                    replies.push(Reply::Frame { out, message });
                }
                return Ok(true);
            }
            Inbound::Frame { session, child, incarnation, frame, row_keys_needed, room, out } => {
                rooms.push(room);
                let message = if self.is_outlived(&child, session) {
                    let text = format!("{child} has said hello again since this stream was opened");
                    FrameDown::Refused(Refusal::new(RefusalReason::Busy, text))
                } else {
                    self.apply_frame(&child, incarnation, frame, row_keys_needed, batch)?
                };
                replies.push(Reply::Frame { out, message });
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes what a child says of itself; returns its name, if it is here.
    fn note_heartbeat(&mut self, session: SessionId, status: NodeStatus, at: Timestamp) -> Option<String> {
        let now = self.clock.now();
        let (name, child) = self.children.of_session(session)?;
        child.heard_at = now;
        child.ahead_ms = Some(at.as_millis().saturating_sub(now.as_millis()));
        // One that does not read does not follow either.
        let _ = child.out.try_send(ParentControl::ClockReading { sent: at, at: now });
        child.status = Some(status);
        Some(name.clone())
    }

    fn note_taken(&mut self, session: SessionId, generation: Generation, fingerprint: u64) {
        if let Some((name, _)) = self.children.of_session(session) {
            self.parent.taken(name, generation, fingerprint);
        }
    }

    fn note_gone(&mut self, session: SessionId) {
        if let Some((name, child)) = self.children.of_session(session) {
            child.is_open = false;
            tracing::info!(child = name, "child has gone");
        }
    }

    fn answer_opening(&self, child: &str, incarnation: Incarnation, answer: oneshot::Sender<Option<Refusal>>) {
        let refusal = self.stranger(child, incarnation);
        if refusal.is_some() {
            self.metrics.refused_streams.inc();
        }
        // Whoever asked is gone only if its connection is.
        let _ = answer.send(refusal);
    }

    /// Tells whether a stream is older than the child's last hello: the answer to that said what has been applied, so
    /// nothing that was sent before may be applied any more.
    fn is_outlived(&self, child: &str, stream: SessionId) -> bool {
        self.children.here.get(child).is_some_and(|child| stream < child.session)
    }

    fn note_received(&mut self, child: &str) {
        if let Some(applied) = self.receiver.applied(child) {
            self.children.note_received(child, applied);
        }
    }

    fn greet(
        &mut self,
        session: SessionId,
        hello: Hello,
        out: mpsc::Sender<ParentControl>,
        batch: &mut Batch,
        now: Timestamp,
    ) -> ParentControl {
        if let Err(refusal) = self.parent.admit(&hello) {
            tracing::warn!(child = hello.node, text = refusal.text, "child refused");
            self.metrics.refused_child(refusal.reason);
            return ParentControl::Refused(refusal);
        }
        if self.children.others(&hello.node) >= self.children_max {
            self.metrics.refused_children.inc();
            self.metrics.refused_child(RefusalReason::Busy);
            let text = format!("there is room for {} children; inbox.bytes makes more", self.children_max);
            tracing::warn!(child = hello.node, text, "child refused");
            let refusal = Refusal::new(RefusalReason::Busy, text);
            return ParentControl::Refused(Refusal { retry_after: NO_ROOM_RETRY, ..refusal });
        }
        let (highest, settled) = (hello.highest_sequence, hello.settled_through);
        match self.receiver.hello(batch, &hello.node, hello.incarnation, highest, settled) {
            Greeting::Superseded => {
                let text = format!("{} has incarnation {}, a newer one has been here", hello.node, hello.incarnation);
                tracing::warn!(child = hello.node, text, "child refused");
                self.metrics.refused_child(RefusalReason::Superseded);
                return ParentControl::Refused(Refusal::new(RefusalReason::Superseded, text));
            }
            Greeting::Newer { lost_frames, lost_weight } if lost_frames > 0 || lost_weight > 0 => {
                let (child, samples) = (hello.node.as_str(), lost_weight);
                tracing::warn!(child, frames = lost_frames, samples, "child has lost its data directory");
            }
            Greeting::Same | Greeting::Newer { .. } => {}
        }
        tracing::info!(child = hello.node, version = hello.version, incarnation = %hello.incarnation, "child is here");
        let Orders { wants_health_snapshot, assignments, kept } = self.parent.greet(&hello.node);
        let orders = assignments.into_iter().map(ParentControl::Assignment).chain(kept.map(ParentControl::KeptLabels));
        // The queue is empty: there is room.
        orders.for_each(|order| drop(out.try_send(order)));
        let status = self.children.here.remove(&hello.node).and_then(|child| child.status);
        let child = Child { session, status, heard_at: now, ahead_ms: None, is_open: true, out };
        self.children.here.insert(hello.node.clone(), child);
        self.note_received(&hello.node);
        ParentControl::HelloReply(HelloReply {
            node: self.identity.node.clone(),
            role: self.identity.role,
            version: env!("CARGO_PKG_VERSION").into(),
            incarnation: self.store.incarnation(),
            row_keys_known: self.store.known_row_keys(&hello.node, hello.incarnation),
            applied: self.applied_ranges(&hello.node),
            wants_health_snapshot,
            applied_samples: self.receiver.applied(&hello.node).map(|applied| applied.weight),
            features: Features::OURS,
            at: Some(self.clock.now()),
        })
    }

    fn applied_ranges(&self, child: &str) -> Vec<RangeInclusive<Sequence>> {
        let ranges = self.receiver.ranges(child).into_iter().flat_map(|ranges| ranges.iter());
        ranges.map(|(from, to)| Sequence(from)..=Sequence(to)).collect()
    }

    /// Returns what to tell a node that has not said hello, or has with another data directory.
    fn stranger(&self, child: &str, incarnation: Incarnation) -> Option<Refusal> {
        let is_current = self.receiver.applied(child).is_some_and(|applied| applied.incarnation == incarnation);
        let text = || format!("{child} has not said hello with incarnation {incarnation}");
        (!is_current).then(|| Refusal::new(RefusalReason::Busy, text()))
    }

    /// Learns what a child's row ids stand for; returns what to say about it, if anything.
    fn learn(
        &mut self,
        child: &str,
        incarnation: Incarnation,
        row_keys: &RowKeys,
        batch: &mut Batch,
    ) -> Result<Option<FrameDown>, Error> {
        if let Some(refusal) = self.stranger(child, incarnation) {
            return Ok(Some(FrameDown::Refused(refusal)));
        }
        match self.store.learn_row_keys(batch, child, incarnation, row_keys.first, &row_keys.keys) {
            Ok(known) if known < row_keys.first.0 => Ok(Some(FrameDown::NeedRowKeys { from: RowId(known) })),
            Ok(_) => Ok(None),
            // One child's keys must not end what all others need.
            Err(error @ firetower_store::Error::Full { .. }) => {
                self.metrics.refused_row_keys.get_or_create(&peer(child)).inc_by(row_keys.keys.len() as u64);
                let text = format!("the row keys of {child} are too many: {error}");
                tracing::error!(child, %error, "row keys refused");
                Ok(Some(FrameDown::Refused(Refusal::new(RefusalReason::Malformed, text))))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Applies a frame that is new, and returns what to say about it.
    fn apply_frame(
        &mut self,
        child: &str,
        incarnation: Incarnation,
        frame: Frame,
        row_keys_needed: u32,
        batch: &mut Batch,
    ) -> Result<FrameDown, Error> {
        if let Some(refusal) = self.stranger(child, incarnation) {
            return Ok(FrameDown::Refused(refusal));
        }
        let mut acknowledged = frame.sequence..=frame.sequence;
        // A tombstone grows: its first sequence says nothing of the others.
        let is_tombstone = matches!(frame.body, Body::Tombstone(_));
        if !is_tombstone && self.receiver.is_applied(child, incarnation, frame.sequence) {
            self.metrics.repeated_frames.get_or_create(&peer(child)).inc();
            return Ok(FrameDown::Acknowledged(vec![acknowledged]));
        }
        let known = self.store.known_row_keys(child, incarnation);
        if known < row_keys_needed {
            return Ok(FrameDown::NeedRowKeys { from: RowId(known) });
        }
        match frame.body {
            Body::Rows(mut rows) => {
                let now = self.clock.now();
                if rows.window.start() > now + FUTURE_MAX {
                    self.metrics.refused_windows.get_or_create(&peer(child)).inc();
                    let text = format!("window {:?} is over a day ahead: is the clock of {child} right?", rows.window);
                    tracing::error!(child, window = ?rows.window, "window over a day ahead refused");
                    return Ok(FrameDown::Refused(Refusal::new(RefusalReason::Busy, text)));
                }
                if rows.window.end() > now + FUTURE_TOLERANCE {
                    self.metrics.early_windows.get_or_create(&peer(child)).inc();
                }
                if !rows.rows.is_empty() {
                    let ids = rows.rows.iter().map(|(id, _)| *id);
                    let Some(own) = self.store.translate_row_ids(child, incarnation, ids) else {
                        return Ok(FrameDown::NeedRowKeys { from: RowId(known) });
                    };
                    rows.rows.iter_mut().zip(own).for_each(|((id, _), own)| *id = own);
                    rows.rows.sort_by_key(|(id, _)| *id);
                }
                self.parent.apply_rows(batch, child, rows, frame.weight, self.clock.now())?;
            }
            Body::Health(report) => self.parent.apply_health(batch, child, report, self.clock.now())?,
            Body::Tombstone(tombstone) => {
                let missing = self.receiver.mark_tombstone(batch, child, incarnation, tombstone.from, tombstone.to);
                tracing::warn!(child, missing, reason = tombstone.reason.as_str(), "child had to drop frames");
                acknowledged = tombstone.from..=tombstone.to;
            }
            Body::Kept(labels) => self.parent.apply_kept(batch, child, labels)?,
            Body::Unknown => {
                self.metrics.unknown_frames.get_or_create(&peer(child)).inc();
                self.parent.apply_unknown(batch, frame.weight);
            }
        }
        self.metrics.applied_samples.get_or_create(&peer(child)).inc_by(frame.weight);
        self.receiver.mark(batch, child, incarnation, frame.sequence, frame.weight);
        self.note_received(child);
        Ok(FrameDown::Acknowledged(vec![acknowledged]))
    }
}
