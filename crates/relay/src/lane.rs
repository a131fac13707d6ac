//! One stream of frames to one parent replica.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firetower_model::{RowId, Sequence};
use firetower_wire as wire;
use firetower_wire::{Bytes, FrameDown, FrameHead, FramePart, FrameUp, RowKeys, SealedFrame};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::metrics::{RelayMetrics, peer};
use crate::outlet::{Outlet, sealed};
use crate::pace::Pace;

/// Frames sent and not yet acknowledged, at most.
const IN_FLIGHT_MAX: usize = 32;
/// Row keys in one message, at most, and what they may cost.
const ROW_KEYS_BATCH: usize = 4_096;
const ROW_KEYS_COST_MAX: u64 = 16 << 10;
/// How often a parent may ask for row keys again before it acknowledges a frame.
const REWINDS_MAX: u32 = 8;
/// How long a parent may take to say anything on a stream on which something is due from it.
const PROGRESS_LIMIT: Duration = Duration::from_secs(8);

/// How often a parent hears that the rest of a frame is still to come.
const YIELD_SIGN_EVERY: Duration = Duration::from_secs(3);

/// Where a link's frames go, and what its lanes know of each other.
pub(crate) struct Route {
    /// The replica's name in the topology file.
    pub(crate) parent: String,
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) metrics: RelayMetrics,
    /// Sequences that are on their way, on whichever lane.
    flying: Mutex<BTreeSet<Sequence>>,
    /// Whether the fresh lane has something to send, or on its way: the old one waits until it has not.
    is_busy: watch::Sender<bool>,
    /// How many row keys the fresh lane has sent.
    row_keys_sent: AtomicU32,
}

impl Route {
    pub(crate) fn new(parent: String, outlet: Arc<Outlet>, metrics: RelayMetrics) -> Route {
        let (flying, is_busy) = (Mutex::default(), watch::Sender::new(true));
        Route { parent, outlet, metrics, flying, is_busy, row_keys_sent: AtomicU32::new(0) }
    }

    /// Waits until the fresh lane has nothing to send, nor on its way.
    pub(crate) async fn quiet(&self) {
        // The sender is here, so there is always more to wait for.
        let _ = self.is_busy.subscribe().wait_for(|is_busy| !is_busy).await;
    }

    /// Returns how many row keys the fresh lane has sent.
    pub(crate) fn row_keys_sent(&self) -> u32 {
        self.row_keys_sent.load(Ordering::Relaxed)
    }

    /// Notes that a frame is on its way, before it is.
    fn depart(&self, sequence: Sequence) {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence);
    }

    fn arrive(&self, ranges: &[RangeInclusive<Sequence>]) {
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        for range in ranges {
            flying.extract_if(range.clone(), |_| true).for_each(drop);
        }
    }

    fn is_flying(&self, through: Sequence) -> bool {
        let flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        flying.first().is_some_and(|first| *first <= through)
    }
}

/// Which frames a lane carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// Those after this sequence, as they come, and the tombstone.
    Fresh {
        /// The last of the old ones.
        after: Sequence,
    },
    /// Those up to this sequence, while the fresh lane is quiet, and then no more.
    Old {
        /// The last of them.
        through: Sequence,
    },
}

/// One stream of frames to one parent replica.
pub(crate) struct Lane<'a> {
    route: &'a Route,
    carries: Carries,
    sender: wire::Sender<FrameUp>,
    receiver: wire::Receiver<FrameDown>,
    /// How many bytes may be sent in all; `None` with a parent that knows neither parts nor credit.
    granted: Option<u64>,
    sent: u64,
    pace: Pace,
    row_keys_sent: u32,
    /// The last sequence of the tombstone sent.
    buried_through: Sequence,
    last_sent: Sequence,
    /// What is being sent, and what of its payload is left.
    outgoing: Option<(Option<FrameHead>, Sequence, Bytes)>,
    /// The frame that waits for the row keys that it needs.
    waiting: Option<SealedFrame>,
    in_flight: Vec<Sequence>,
    last_progress: Instant,
    rewinds: u32,
}

/// Why nothing more is sent for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// There is nothing to send.
    Empty,
    /// The far side has to say something first.
    Held,
    /// The queue of the call is full.
    Full,
    /// Something fresh is on its way.
    Yielding,
}

impl<'a> Lane<'a> {
    /// Makes a lane of an open call; `row_keys_known` is how many of them the parent has.
    pub(crate) fn new(
        route: &'a Route,
        carries: Carries,
        (sender, receiver): (wire::Sender<FrameUp>, wire::Receiver<FrameDown>),
        has_lanes: bool,
        row_keys_known: u32,
    ) -> Lane<'a> {
        let now = Instant::now();
        Lane {
            route,
            carries,
            sender,
            receiver,
            granted: has_lanes.then_some(0),
            sent: 0,
            pace: Pace::new(now),
            row_keys_sent: row_keys_known,
            buried_through: Sequence(0),
            last_sent: Sequence(0),
            outgoing: None,
            waiting: None,
            in_flight: Vec::new(),
            last_progress: now,
            rewinds: 0,
        }
    }

    /// Sends frames until there are no more old ones or, on a fresh lane, until `cancel` and then what is left.
    ///
    /// # Errors
    /// If the store fails, or the stream.
    pub(crate) async fn run(mut self, cancel: &CancellationToken) -> Result<(), Error> {
        let mut published = self.route.outlet.published();
        let mut is_busy = self.route.is_busy.subscribe();
        loop {
            let pause = self.send_all().await?;
            let is_done = pause == Pause::Empty && self.in_flight.is_empty();
            match self.carries {
                Carries::Fresh { .. } => {
                    let is_quiet = pause == Pause::Empty && self.pace.in_flight() == 0;
                    self.route.is_busy.send_if_modified(|busy| std::mem::replace(busy, !is_quiet) == is_quiet);
                    if is_done && cancel.is_cancelled() {
                        return Ok(());
                    }
                }
                Carries::Old { .. } if is_done || cancel.is_cancelled() => return Ok(()),
                Carries::Old { .. } => {}
            }
            tokio::select! {
                biased;
                said = self.receiver.next() => self.heard(said?)?,
                () = self.sender.room(), if pause == Pause::Full => {}
                () = cancel.cancelled(), if !cancel.is_cancelled() => {}
                Ok(()) = published.changed(), if pause == Pause::Empty => {}
                Ok(()) = is_busy.changed(), if pause == Pause::Yielding => {}
                () = sleep(YIELD_SIGN_EVERY), if pause == Pause::Yielding && self.outgoing.is_some() => {
                    // The parent keeps room for the rest of the frame.
                    self.sender.send(FrameUp::Part(FramePart { head: None, content: Bytes::new() })).await?;
                }
                () = sleep_until(self.last_progress + PROGRESS_LIMIT), if self.is_waiting() => {
                    return Err(Error::Silent { what: "acknowledgement", limit: PROGRESS_LIMIT });
                }
            }
        }
    }

    /// Tells whether something is due from the parent: its first credit, or word of what is on its way.
    fn is_waiting(&self) -> bool {
        self.granted == Some(0) || self.pace.in_flight() > 0 || !self.in_flight.is_empty()
    }

    /// Sends what may be sent.
    async fn send_all(&mut self) -> Result<Pause, Error> {
        loop {
            if !self.sender.has_room() {
                return Ok(Pause::Full);
            }
            if matches!(self.carries, Carries::Old { .. }) && *self.route.is_busy.borrow() {
                return Ok(Pause::Yielding);
            }
            if self.granted.is_some_and(|granted| granted <= self.sent || !self.pace.is_open()) {
                // Whether there is anything to send decides whether others have to wait for it.
                return Ok(if self.has_more() { Pause::Held } else { Pause::Empty });
            }
            if self.outgoing.is_some() {
                self.send_part().await?;
                continue;
            }
            let Some(frame) = self.next_frame()? else { return Ok(Pause::Empty) };
            if self.row_keys_sent < frame.row_keys_needed {
                self.send_row_keys(frame.row_keys_needed).await?;
                self.waiting = Some(frame);
                continue;
            }
            if self.in_flight.len() >= IN_FLIGHT_MAX {
                self.waiting = Some(frame);
                return Ok(Pause::Held);
            }
            self.begin(frame).await?;
        }
    }

    fn has_more(&self) -> bool {
        self.outgoing.is_some() || self.waiting.is_some() || self.next_sequence().is_some()
    }

    fn next_sequence(&self) -> Option<Sequence> {
        let (after, through) = match self.carries {
            Carries::Fresh { after } => (self.last_sent.max(after), Sequence(u64::MAX)),
            Carries::Old { through } => (self.last_sent, through),
        };
        self.route.outlet.next_for(&self.route.parent, after).filter(|next| *next <= through)
    }

    /// Returns the frame to send next; the tombstone comes first. One at a time is read.
    fn next_frame(&mut self) -> Result<Option<SealedFrame>, Error> {
        if let Some(frame) = self.waiting.take() {
            return Ok(Some(frame));
        }
        if let Some(frame) = self.tombstone()? {
            return Ok(Some(frame));
        }
        while let Some(next) = self.next_sequence() {
            self.last_sent = next;
            if let Some(frame) = self.route.outlet.offer(&self.route.parent, next)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Returns the tombstone if there is more to it than was sent, and nothing that it stands for is on its way: so
    /// what comes through is never taken for dropped.
    fn tombstone(&mut self) -> Result<Option<SealedFrame>, Error> {
        if matches!(self.carries, Carries::Old { .. }) {
            return Ok(None);
        }
        let Some(tombstone) = self.route.outlet.tombstone_for(&self.route.parent) else { return Ok(None) };
        if tombstone.to <= self.buried_through || self.route.is_flying(tombstone.to) {
            return Ok(None);
        }
        self.buried_through = tombstone.to;
        Ok(Some(sealed(tombstone)?))
    }

    async fn begin(&mut self, frame: SealedFrame) -> Result<(), Error> {
        self.mark_progress();
        self.route.depart(frame.sequence);
        let to = peer(&self.route.parent);
        self.route.metrics.sent_frames.get_or_create(&to).inc();
        if matches!(self.carries, Carries::Old { .. }) {
            self.route.metrics.backlog_frames.get_or_create(&to).inc();
        }
        self.route.metrics.sent_bytes.get_or_create(&to).inc_by(frame.payload.len() as u64);
        if self.granted.is_none() {
            self.in_flight.push(frame.sequence);
            self.sender.send(FrameUp::Frame(frame)).await?;
            return Ok(());
        }
        let SealedFrame { sequence, weight, kind, row_keys_needed, payload } = frame;
        let head = FrameHead { sequence, weight, kind, row_keys_needed, size: payload.len() as u32 };
        self.outgoing = Some((Some(head), sequence, payload));
        self.send_part().await
    }

    async fn send_part(&mut self) -> Result<(), Error> {
        let Some((head, sequence, mut payload)) = self.outgoing.take() else { return Ok(()) };
        let content = payload.split_to(payload.len().min(self.pace.part_bytes()));
        self.count(content.len() as u64);
        if payload.is_empty() {
            self.in_flight.push(sequence);
        } else {
            self.outgoing = Some((None, sequence, payload));
        }
        self.sender.send(FrameUp::Part(FramePart { head, content })).await?;
        Ok(())
    }

    async fn send_row_keys(&mut self, needed: u32) -> Result<(), Error> {
        let first = RowId(self.row_keys_sent);
        let count = ROW_KEYS_BATCH.min((needed - self.row_keys_sent) as usize);
        let mut keys = self.route.outlet.store().row_keys_from(first, count);
        if self.granted.is_some() {
            let mut cost = 0;
            let fitting = keys.iter().take_while(|key| {
                let is_fitting = cost < ROW_KEYS_COST_MAX;
                cost += RowKeys::cost_of(key);
                is_fitting
            });
            let fitting = fitting.count();
            keys.truncate(fitting);
        }
        self.row_keys_sent += keys.len() as u32;
        self.route.row_keys_sent.fetch_max(self.row_keys_sent, Ordering::Relaxed);
        let row_keys = RowKeys { first, keys };
        if self.granted.is_some() {
            self.count(row_keys.cost());
        }
        self.sender.send(FrameUp::RowKeys(row_keys)).await?;
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.mark_progress();
        self.sent += bytes;
        self.pace.send(bytes, Instant::now());
    }

    /// Something is due from now on, where nothing was before.
    fn mark_progress(&mut self) {
        if !self.is_waiting() {
            self.last_progress = Instant::now();
        }
    }

    fn heard(&mut self, said: Option<FrameDown>) -> Result<(), Error> {
        self.last_progress = Instant::now();
        match said {
            None => return Err(Error::Ended { call: "frames" }),
            Some(FrameDown::Refused(refusal)) => return Err(Error::refused(&self.route.parent, refusal)),
            Some(FrameDown::Credit { bytes, taken }) => {
                if let Some(granted) = &mut self.granted {
                    *granted = granted.saturating_add(bytes);
                    self.pace.take(taken, self.last_progress);
                }
            }
            Some(FrameDown::NeedRowKeys { from }) => {
                self.rewinds += 1;
                if self.rewinds > REWINDS_MAX {
                    return Err(Error::Rewinds { parent: self.route.parent.clone(), asked: self.rewinds });
                }
                self.row_keys_sent = self.row_keys_sent.min(from.0);
                (self.last_sent, self.buried_through) = (Sequence(0), Sequence(0));
                self.in_flight.clear();
            }
            Some(FrameDown::Acknowledged(ranges)) => {
                self.route.outlet.acknowledge(&self.route.parent, &ranges)?;
                self.route.arrive(&ranges);
                self.in_flight.retain(|sequence| !ranges.iter().any(|range| range.contains(sequence)));
                self.rewinds = 0;
            }
        }
        Ok(())
    }
}
