//! What a primary does with what its secondaries say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use firetower_model::{
    Body, Coverage, DropReason, Generation, HealthReport, KeptLabels, KeptReport, NodeStatus, Role, Target, Timestamp,
    Watermark, Window, WindowRows,
};
use firetower_query::Roll;
use firetower_relay::{Audit, Children, Error, Orders, Outlet, Parent, ParentEvent};
use firetower_store::{Batch, Store, WindowRecord};
use firetower_wire::{Hello, Refusal, RefusalReason};
use tokio::sync::{mpsc, watch};

use crate::answer::roll;
use crate::discovery::Listed;
use crate::kept::Kept;
use crate::merge::merge;
use crate::shares::Shares;

/// How long after its end a window waits for secondaries that have not reported.
const CLOSE_DELAY: Duration = Duration::from_secs(2);
/// How long after a start the secondaries may take to bring what they hold.
const START_DELAY: Duration = Duration::from_secs(3);
/// How long changes of a window that was put out are gathered before it is put out again.
const LATE_LINGER: Duration = Duration::from_secs(1);
/// Under which note it is kept until where windows have been closed.
const CLOSED_NOTE: &str = "closed_until";
/// How often status is renewed.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// How often it is decided about labels: what explodes is many labels within a moment.
const DECIDE_EVERY: Duration = Duration::from_secs(1);
/// How often the children are told again while their rows show that one does not know the decision.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often what is too old is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// What a primary is made for.
pub(crate) struct Place {
    pub(crate) region: String,
    pub(crate) datacenter: String,
    pub(crate) window: Duration,
    pub(crate) late_window: Duration,
}

/// What others want of it.
pub(crate) struct Mail {
    /// The list of targets, whenever it was read again.
    pub(crate) targets: mpsc::Receiver<Listed>,
    /// The names of the secondaries, whenever the topology was read again.
    pub(crate) secondaries: mpsc::Receiver<Vec<String>>,
    /// Of the global aggregators.
    pub(crate) wishes: mpsc::Receiver<ParentEvent>,
}

/// What it has decided for its secondaries.
pub(crate) struct Decided {
    pub(crate) shares: Shares,
    pub(crate) kept: Kept,
}

/// What a tower says to whoever asks.
pub(crate) struct Said {
    pub(crate) status: watch::Sender<NodeStatus>,
    /// Who has which targets.
    pub(crate) roll: watch::Sender<Roll>,
    pub(crate) rows: watch::Sender<KeptReport>,
}

/// The state of a primary.
pub(crate) struct Tower {
    pub(crate) place: Place,
    pub(crate) store: Store,
    pub(crate) outlet: Arc<Outlet>,
    pub(crate) shares: Shares,
    pub(crate) mail: Mail,
    pub(crate) said: Said,
    kept: Kept,
    pub(crate) started: Timestamp,
    closed_until: Timestamp,
    /// Children that have reported windows that are not closed.
    heard: BTreeMap<Timestamp, BTreeSet<String>>,
    records: BTreeMap<Timestamp, WindowRecord>,
    /// Windows that were put out and have changed, and since when.
    late: BTreeMap<Timestamp, Timestamp>,
    /// Windows past `late_window` that a child's backlog came to, and when it last did: more of them may come.
    revived: BTreeMap<Timestamp, Timestamp>,
    audit: Audit,
    newest: Timestamp,
    last_window: (u64, Coverage, Timestamp),
    status_due: Timestamp,
    prune_due: Timestamp,
    decide_due: Timestamp,
    tell_due: Timestamp,
    /// Whether a child's rows followed another decision than this one's.
    is_child_behind: bool,
}

impl Tower {
    /// Starts where the store left off, at `now`.
    pub(crate) fn open(
        place: Place,
        store: Store,
        outlet: Arc<Outlet>,
        Decided { shares, kept }: Decided,
        mail: Mail,
        said: Said,
        now: Timestamp,
    ) -> Result<Tower, Error> {
        let noted = store.note(CLOSED_NOTE)?.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
        let current = Window::containing(now, place.window).start();
        let oldest = Window::containing(now - place.late_window, place.window).start();
        let closed_until = noted.map_or(current, |noted| Timestamp::from_millis(noted).clamp(oldest, current));
        // When backlog came to those that are still here is not known any more.
        let old = store.partial_windows(now - place.late_window)?;
        let revived = old.into_iter().map(|start| (start, now)).collect();
        let mut tower = Tower {
            place,
            outlet,
            shares,
            mail,
            said,
            kept,
            started: now,
            closed_until,
            heard: BTreeMap::new(),
            records: BTreeMap::new(),
            late: BTreeMap::new(),
            revived,
            audit: Audit::default(),
            newest: Timestamp::MIN,
            last_window: (0, Coverage::default(), Timestamp::MIN),
            status_due: now,
            prune_due: now,
            decide_due: now,
            tell_due: now,
            is_child_behind: false,
            store,
        };
        tower.say_roll();
        for (window, record) in tower.store.open_windows()? {
            tower.records.insert(window.start(), record);
            if window.start() < closed_until {
                tower.late.insert(window.start(), now);
            }
        }
        Ok(tower)
    }

    fn record(&mut self, window: Window) -> Result<&mut WindowRecord, Error> {
        if !self.records.contains_key(&window.start()) {
            let stored = self.store.window_record(window)?.unwrap_or_default();
            self.records.insert(window.start(), stored);
        }
        Ok(self.records.get_mut(&window.start()).expect("inserted above"))
    }

    /// Follows a new list of targets, and tells the secondaries their shares.
    fn assign(&mut self, listed: Listed, children: &Children, now: Timestamp) -> Result<(), Error> {
        let targets = self.shares.with_unknown(listed);
        self.share_out(targets, children, now)
    }

    /// Shares the targets out among other secondaries than before; those that are none any more are left without.
    fn regroup(&mut self, secondaries: Vec<String>, children: &Children, now: Timestamp) -> Result<(), Error> {
        let targets = self.shares.targets();
        let gone = self.shares.regroup(secondaries);
        self.share_out(targets, children, now)?;
        for secondary in gone {
            tracing::info!(secondary, "secondary has left the topology");
            if let Some(none) = self.shares.history(&secondary).pop() {
                children.assign(&secondary, none);
            }
        }
        Ok(())
    }

    fn share_out(&mut self, targets: Vec<Target>, children: &Children, now: Timestamp) -> Result<(), Error> {
        let (count, mut batch) = (targets.len(), Batch::default());
        if !self.shares.update(&self.store, targets, now, &mut batch)? {
            return Ok(());
        }
        self.store.commit(batch)?;
        self.store.sync_or_wait()?;
        tracing::info!(generation = %self.shares.generation(), targets = count, "targets assigned");
        self.say_roll();
        for secondary in self.shares.secondaries() {
            if let Some(share) = self.shares.of(secondary) {
                children.assign(secondary, share.clone());
            }
        }
        Ok(())
    }

    fn say_roll(&self) {
        self.said.roll.send_replace(roll(&self.shares, &self.place.region, &self.place.datacenter));
    }

    /// Puts out every window that is complete or has waited long enough, and again those that have changed since.
    fn close_due(&mut self, now: Timestamp) -> Result<(), Error> {
        let mut is_written = false;
        loop {
            let window = Window::containing(self.closed_until, self.place.window);
            let is_old = window.end() <= self.started;
            let deadline = if is_old { self.started + START_DELAY } else { window.end() + CLOSE_DELAY };
            let is_heard = self.heard.get(&window.start()).is_some_and(|heard| self.is_everybody(heard));
            if now < window.end() || !is_heard && now < deadline {
                break;
            }
            self.heard.remove(&window.start());
            self.closed_until = window.end();
            self.put_out(window, now)?;
            is_written = true;
        }
        let ripe: Vec<Timestamp> =
            self.late.iter().filter(|(_, since)| **since + LATE_LINGER <= now).map(|(start, _)| *start).collect();
        for start in ripe {
            self.late.remove(&start);
            self.put_out(Window::containing(start, self.place.window), now)?;
            is_written = true;
        }
        if is_written {
            self.store.sync_or_wait()?;
            self.outlet.publish();
        }
        Ok(())
    }

    fn is_everybody(&self, heard: &BTreeSet<String>) -> bool {
        self.shares.secondaries().iter().all(|secondary| heard.contains(secondary))
    }

    fn put_out(&mut self, window: Window, now: Timestamp) -> Result<(), Error> {
        let children = self.store.partials(window)?;
        let expected = self.shares.expected(window);
        let output = |id| self.kept.output(id, window.start());
        let merged = merge(&self.place.datacenter, window, expected, &children, output)?;
        let closed_until = self.closed_until;
        let record = self.record(window)?;
        let weight = std::mem::take(&mut record.pending_weight);
        record.framed_weight += weight;
        record.is_changed = false;
        (record.revision, record.late) = (merged.revision, merged.coverage.late);
        let record = *record;
        if window.end() > self.last_window.2 {
            self.last_window = (weight, merged.coverage, window.end());
        }
        let mut batch = Batch::default();
        self.store.put_window_record(&mut batch, window, &record);
        self.store.put_note(&mut batch, CLOSED_NOTE, &closed_until.as_millis().to_be_bytes());
        self.store.put_rows(&mut batch, &merged)?;
        self.outlet.push(&mut batch, &Body::Rows(merged), weight, now)?;
        self.store.commit(batch)?;
        Ok(())
    }

    /// Passes on all that is known of the health of the datacenter's targets.
    fn send_health(&mut self, now: Timestamp) -> Result<(), Error> {
        let mut batch = Batch::default();
        for report in self.store.health_reports() {
            self.outlet.push(&mut batch, &Body::Health(report), 0, now)?;
        }
        self.store.commit(batch)?;
        self.store.sync_or_wait()?;
        self.outlet.publish();
        Ok(())
    }

    fn renew_status(&mut self, children: &Children, now: Timestamp) {
        if now < self.status_due {
            return;
        }
        self.status_due = now + STATUS_EVERY;
        let open_weight: u64 = self.records.values().map(|record| record.pending_weight).sum();
        let (weight, coverage, _) = self.last_window;
        self.said.status.send_modify(|status| {
            status.at = now;
            status.children = children.statuses(now);
            status.targets = self.store.health_counts();
            status.active_series = status.children.iter().map(|child| child.active_series).sum();
            status.samples_per_second = weight as f64 / self.place.window.as_secs_f64();
            status.coverage = coverage;
            status.watermark = Watermark { newest: self.newest, complete_through: self.closed_until };
            status.accounts = self.outlet.accounts(open_weight);
            status.received = children.received();
            self.audit.look(&status.accounts, &status.received);
            (status.outbox_frames, status.outbox_bytes) = self.outlet.queued();
        });
    }

    /// Decides about labels, and tells the children: from the window after the next, so that all have heard by then.
    fn decide(&mut self, children: &Children, now: Timestamp) -> Result<(), Error> {
        if now < self.decide_due {
            return Ok(());
        }
        self.decide_due = now + DECIDE_EVERY;
        let mut batch = Batch::default();
        let from = Window::containing(now, self.place.window).next().end();
        if self.kept.decide(&mut batch, from)? {
            self.store.commit(batch)?;
            self.store.sync_or_wait()?;
            self.is_child_behind = true;
            self.tell_due = now;
        }
        if self.is_child_behind && self.tell_due <= now {
            self.tell_due = now + TELL_EVERY;
            self.is_child_behind = false;
            children.tell_kept(self.kept.labels());
        }
        self.said.rows.send_if_modified(|said| {
            let report = self.kept.report();
            let is_new = *said != report;
            *said = report;
            is_new
        });
        Ok(())
    }

    fn prune(&mut self, now: Timestamp) -> Result<(), Error> {
        if now < self.prune_due {
            return Ok(());
        }
        self.prune_due = now + PRUNE_EVERY;
        let cutoff = now - self.place.late_window - self.place.window;
        self.records.retain(|start, record| *start >= cutoff || record.is_open());
        let mut batch = Batch::default();
        self.revived.retain(|_, at| now - self.place.late_window < *at);
        self.store.prune_partials(&mut batch, cutoff, &self.revived.keys().copied().collect())?;
        self.store.prune_windows(&mut batch, cutoff)?;
        self.outlet.enforce(&mut batch, now);
        self.store.commit(batch)?;
        Ok(())
    }
}

impl Parent for Tower {
    fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        let is_child = hello.role == Role::Secondary && self.shares.secondaries().contains(&hello.node);
        if is_child {
            return Ok(());
        }
        let text = format!(
            "{} {} is no secondary of datacenter {} in the topology of this primary",
            hello.role.as_str(),
            hello.node,
            self.place.datacenter
        );
        Err(Refusal::new(RefusalReason::WrongParent, text))
    }

    fn greet(&mut self, child: &str) -> Orders {
        let is_known = self.store.reporters().iter().any(|reporter| reporter.reporter == child);
        Orders {
            wants_health_snapshot: !is_known,
            assignments: self.shares.history(child),
            kept: Some(self.kept.labels().clone()),
        }
    }

    fn apply_rows(
        &mut self,
        batch: &mut Batch,
        child: &str,
        rows: WindowRows,
        weight: u64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let window = rows.window;
        self.is_child_behind |= rows.kept != self.kept.labels().version_at(window.start());
        // What is ahead of this clock says nothing of how far the datacenter has come.
        self.newest = self.newest.max(rows.watermark.newest.min(now));
        self.outlet.collect(batch, weight);
        // One that is older than the one kept changes nothing, but its samples are still to be accounted for.
        self.store.put_partial(batch, child, &rows)?;
        let is_closed = window.start() < self.closed_until;
        if window.start() < now - self.place.late_window {
            self.revived.insert(window.start(), now);
        }
        let record = self.record(window)?;
        record.pending_weight += weight;
        // A window that only carries values on weighs nothing, and is to be put out all the same if the process ends here.
        record.is_changed = true;
        let record = *record;
        self.store.put_window_record(batch, window, &record);
        if is_closed {
            self.late.entry(window.start()).or_insert(now);
        } else {
            self.heard.entry(window.start()).or_default().insert(child.to_owned());
        }
        Ok(())
    }

    fn apply_health(
        &mut self,
        batch: &mut Batch,
        _child: &str,
        report: HealthReport,
        now: Timestamp,
    ) -> Result<(), Error> {
        if self.store.put_health(batch, &report) {
            self.outlet.push(batch, &Body::Health(report), 0, now)?;
        }
        Ok(())
    }

    fn apply_unknown(&mut self, batch: &mut Batch, weight: u64) {
        self.outlet.collect(batch, weight);
        self.outlet.drop_samples(batch, DropReason::UnknownKind, weight);
    }

    fn apply_kept(&mut self, batch: &mut Batch, _child: &str, labels: KeptLabels) -> Result<(), Error> {
        self.kept.merge(batch, &labels)
    }

    fn taken(&mut self, child: &str, generation: Generation, fingerprint: u64) {
        let ours = self.shares.of(child).map(|share| (share.generation, share.fingerprint));
        if ours != Some((generation, fingerprint)) {
            tracing::debug!(child, %generation, "child follows another assignment");
        }
    }

    fn tick(&mut self, children: &Children, now: Timestamp) -> Result<(), Error> {
        while let Ok(secondaries) = self.mail.secondaries.try_recv() {
            if secondaries != self.shares.secondaries() {
                self.regroup(secondaries, children, now)?;
            }
        }
        while let Ok(listed) = self.mail.targets.try_recv() {
            self.assign(listed, children, now)?;
        }
        while let Ok(wish) = self.mail.wishes.try_recv() {
            if let ParentEvent::HealthSnapshot = wish {
                self.send_health(now)?;
            }
        }
        self.outlet.publish();
        self.decide(children, now)?;
        self.close_due(now)?;
        self.prune(now)?;
        self.renew_status(children, now);
        Ok(())
    }
}
