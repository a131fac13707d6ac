//! The parent's side of each open `Live` or `Backlog` call: gives room, reads, decodes, and hands on.

use std::time::Duration;

use firetower_daemon::chain;
use firetower_model::Incarnation;
use firetower_wire::{
    FrameDown, FrameHead, FramePart, FrameSession, FrameUp, Lane, Refusal, RefusalReason, RowKeys, SealedFrame,
    decode_frame, inflated_bytes,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::inbound::{Inbound, SessionId};
use crate::inbox::{FIRST_BYTES, Inbox, Room};
use crate::metrics::{RelayMetrics, peer};
use crate::session::{FIRST_LIMIT, OUT_MAX, hand, say, unproven};

/// How often a child that waits for room hears that it is not forgotten.
const COMFORT_EVERY: Duration = Duration::from_secs(2);
/// How long a child may take between two parts of a frame that has been given room; one that lets fresh frames pass says
/// so every three seconds.
const PART_LIMIT: Duration = Duration::from_secs(15);

/// What all calls of frames of one keeper share.
#[derive(Clone)]
pub(crate) struct Intake {
    pub(crate) inbox: Inbox,
    pub(crate) metrics: RelayMetrics,
    pub(crate) fresh: mpsc::Sender<Inbound>,
    pub(crate) old: mpsc::Sender<Inbound>,
}

impl Intake {
    /// Serves one `Live` or `Backlog` call until it ends.
    pub(crate) async fn serve(self, call: FrameSession, session: SessionId, cancel: CancellationToken) {
        let address = call.peer.address.clone();
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => Ok(()),
            ended = self.read(call, session) => ended,
        };
        if let Err(error) = ended {
            tracing::info!(peer = address, error = %chain(&error), "frame call ended");
        }
    }

    async fn read(self, mut call: FrameSession, session: SessionId) -> Result<(), Error> {
        let first = timeout(FIRST_LIMIT, call.receiver.next()).await;
        let first = first.map_err(|_| Error::Silent { what: "opening", limit: FIRST_LIMIT })??;
        let Some(FrameUp::Opening(opening)) = first else { return Err(Error::Ended { call: "frames" }) };
        if let Some(refusal) = unproven(&call.peer, &opening.node, &self.metrics) {
            return say(&call.sender, FrameDown::Refused(refusal)).await;
        }
        let (answer, answered) = oneshot::channel();
        let (child, incarnation) = (opening.node.clone(), opening.incarnation);
        hand(&self.fresh, Inbound::Opening { child, incarnation, answer }).await?;
        if let Some(refusal) = answered.await.map_err(|_| Error::Ended { call: "frames" })? {
            return say(&call.sender, FrameDown::Refused(refusal)).await;
        }
        let (out, to_send) = mpsc::channel(OUT_MAX);
        let keeper = match call.lane {
            Lane::Live => self.fresh,
            Lane::Backlog => self.old,
        };
        let (child, incarnation) = (opening.node, opening.incarnation);
        let stream = Stream {
            inbox: self.inbox,
            metrics: self.metrics,
            keeper,
            call,
            session,
            child,
            incarnation,
            out,
            to_send,
            has_credit: opening.features.lanes,
            granted: 0,
            taken: 0,
            partial: None,
        };
        stream.run().await
    }
}

/// A frame of which not all parts have come.
struct Partial {
    head: FrameHead,
    payload: Vec<u8>,
    room: Room,
}

/// One open call.
struct Stream {
    inbox: Inbox,
    metrics: RelayMetrics,
    keeper: mpsc::Sender<Inbound>,
    call: FrameSession,
    session: SessionId,
    child: String,
    incarnation: Incarnation,
    out: mpsc::Sender<FrameDown>,
    to_send: mpsc::Receiver<FrameDown>,
    has_credit: bool,
    /// Bytes that the child may have sent in all, and those that were taken.
    granted: u64,
    taken: u64,
    partial: Option<Partial>,
}

impl Stream {
    async fn run(mut self) -> Result<(), Error> {
        self.grant().await?;
        loop {
            let stalled_at = tokio::time::Instant::now() + PART_LIMIT;
            tokio::select! {
                biased;
                Some(message) = self.to_send.recv() => say(&self.call.sender, message).await?,
                said = self.call.receiver.next() => match said? {
                    None => return Ok(()),
                    Some(FrameUp::Opening(_)) => {}
                    Some(FrameUp::RowKeys(row_keys)) => self.take_row_keys(row_keys).await?,
                    Some(FrameUp::Frame(frame)) => self.take_frame(frame).await?,
                    Some(FrameUp::Part(part)) => self.take_part(part).await?,
                },
                () = sleep_until(stalled_at), if self.partial.is_some() => {
                    return Err(Error::Silent { what: "next part of a frame", limit: PART_LIMIT });
                }
            }
        }
    }

    /// Lets the child send what is left of the frame that has room, or the beginning of the next.
    async fn grant(&mut self) -> Result<(), Error> {
        if !self.has_credit {
            return Ok(());
        }
        let left =
            self.partial.as_ref().map_or(0, |partial| u64::from(partial.head.size) - partial.payload.len() as u64);
        let bytes = (self.taken + left.max(FIRST_BYTES)).saturating_sub(self.granted);
        self.granted += bytes;
        say(&self.call.sender, FrameDown::Credit { bytes, taken: self.taken }).await
    }

    /// Waits for room; meanwhile the child hears what it is to hear, and that it is not forgotten.
    async fn room(&mut self, size: u64, inflated: u64) -> Result<Room, Error> {
        let room = self.inbox.room(self.call.lane, size, inflated);
        let mut room = std::pin::pin!(room);
        let mut comfort = interval(COMFORT_EVERY);
        comfort.set_missed_tick_behavior(MissedTickBehavior::Delay);
        comfort.reset();
        loop {
            tokio::select! {
                biased;
                room = room.as_mut() => return Ok(room),
                Some(message) = self.to_send.recv() => say(&self.call.sender, message).await?,
                _ = comfort.tick() => {
                    self.metrics.room_waits.get_or_create(&peer(&self.child)).inc();
                    if self.has_credit {
                        say(&self.call.sender, FrameDown::Credit { bytes: 0, taken: self.taken }).await?;
                    }
                }
            }
        }
    }

    async fn take_row_keys(&mut self, row_keys: RowKeys) -> Result<(), Error> {
        let cost = row_keys.cost();
        let room = self.room(cost, 0).await?;
        self.taken += cost;
        let (child, incarnation, out) = (self.child.clone(), self.incarnation, self.out.clone());
        hand(&self.keeper, Inbound::RowKeys { child, incarnation, row_keys, room, out }).await?;
        self.grant().await
    }

    async fn take_frame(&mut self, frame: SealedFrame) -> Result<(), Error> {
        let room = self.room(frame.payload.len() as u64, inflated_bytes(&frame.payload) as u64).await?;
        self.pass_on(frame, room).await
    }

    async fn take_part(&mut self, part: FramePart) -> Result<(), Error> {
        let FramePart { head, content } = part;
        let mut partial = match (head, self.partial.take()) {
            (Some(head), None) => {
                let room = self.room(head.size.into(), inflated_bytes(&content) as u64).await?;
                Partial { head, payload: Vec::with_capacity(head.size as usize), room }
            }
            (None, Some(partial)) => partial,
            (Some(_), Some(_)) => return Err(Error::Unruly { rule: "begins a frame inside another" }),
            (None, None) => return Err(Error::Unruly { rule: "goes on with a frame that was not begun" }),
        };
        let size = partial.head.size as usize;
        if partial.payload.len() + content.len() > size {
            return Err(Error::Unruly { rule: "has more of a frame than was announced" });
        }
        self.taken += content.len() as u64;
        partial.payload.extend_from_slice(&content);
        if partial.payload.len() < size {
            self.partial = Some(partial);
            return self.grant().await;
        }
        self.grant().await?;
        let Partial { head, payload, room } = partial;
        let FrameHead { sequence, weight, kind, row_keys_needed, .. } = head;
        self.pass_on(SealedFrame { sequence, weight, kind, row_keys_needed, payload: payload.into() }, room).await
    }

    async fn pass_on(&mut self, sealed: SealedFrame, room: Room) -> Result<(), Error> {
        self.metrics.received_frames.get_or_create(&peer(&self.child)).inc();
        self.metrics.received_bytes.get_or_create(&peer(&self.child)).inc_by(sealed.payload.len() as u64);
        let row_keys_needed = sealed.row_keys_needed;
        let frame = match decode_frame(sealed.sequence, sealed.weight, sealed.kind, &sealed.payload) {
            Ok(frame) => frame,
            Err(error) => {
                self.metrics.malformed_frames.get_or_create(&peer(&self.child)).inc();
                let text = format!("frame {}: {}", sealed.sequence, chain(&error));
                say(&self.call.sender, FrameDown::Refused(Refusal::new(RefusalReason::Malformed, text))).await?;
                return Err(error.into());
            }
        };
        let (session, child, incarnation, out) = (self.session, self.child.clone(), self.incarnation, self.out.clone());
        hand(&self.keeper, Inbound::Frame { session, child, incarnation, frame, row_keys_needed, room, out }).await
    }
}
