//! Takes scrapes in, keeps them, and fills windows with them.

mod closing;
mod recovery;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use firetower_api::{LastScrape, TargetFound};
use firetower_health::{Check, Record};
use firetower_model::assignment::SlotIndex;
use firetower_model::labels::NAME;
use firetower_model::{
    Assignment, Body, Coverage, DropReason, KeptLabels, KeptReport, Kind, Labels, MetricId, NodeStatus, PageRow, STALE,
    ShapeId, Target, TargetId, Timestamp, Watermark, Window, is_stale,
};
use firetower_relay::{Audit, Outlet};
use firetower_scrape::{LEADING, SYNTHETIC, Scrape};
use firetower_store::{Appender, Batch, Store, WindowRecord};

use self::closing::CLOSE_DELAY;
use crate::Error;
use crate::answer::Owned;
use crate::census::Census;
use crate::plan::{Class, KEPT_NOTE, Plans, metrics_of};
use crate::share::{Share, Shares};
use crate::starts::RowStarts;
use crate::track::{Row, Track};
use crate::window::OpenWindow;

/// Under which note the newest time is kept that a row was stamped with.
const NEWEST_NOTE: &str = "clock/newest";

/// Returns the newest time that a row of `store` was stamped with; `None` in a new data directory.
pub(crate) fn newest_stamped(store: &Store) -> Result<Option<Timestamp>, Error> {
    let bytes = store.note(NEWEST_NOTE)?.and_then(|bytes| bytes.try_into().ok());
    Ok(bytes.map(|bytes| Timestamp::from_millis(i64::from_be_bytes(bytes))))
}

/// What a collector is made for.
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) datacenter: String,
    pub(crate) window: Duration,
    pub(crate) late_window: Duration,
    pub(crate) default_interval: Duration,
    pub(crate) raw_retention: Duration,
}

/// One target being followed.
struct Followed {
    target: Arc<Target>,
    id: TargetId,
    class: Class,
    shape: ShapeId,
    track: Track,
    health: Record,
    /// The last slot that was scraped.
    slot: Timestamp,
    /// Everything before this has been added to the windows.
    contributed_until: Timestamp,
    removed_at: Option<Timestamp>,
}

/// The state of a secondary: what is followed, what is open, what is still to be corrected.
pub(crate) struct Collector {
    place: Place,
    store: Store,
    appender: Appender,
    outlet: Option<Arc<Outlet>>,
    plans: Plans,
    shares: Shares,
    followed: Vec<Followed>,
    by_id: HashMap<TargetId, usize>,
    /// Places in `followed` of targets that are gone for good.
    vacant: Vec<usize>,
    /// The metrics that every scrape gives beside its page, and the shape of a target that has no page yet.
    leading: Arc<[MetricId]>,
    base_shape: ShapeId,
    open: BTreeMap<Timestamp, OpenWindow>,
    closed_until: Timestamp,
    records: BTreeMap<Timestamp, WindowRecord>,
    /// Closed windows to be put out again, and when the first reason for it came.
    late: BTreeMap<Timestamp, Timestamp>,
    census: Census,
    newest: Timestamp,
    /// Windows that start before this are made from raw samples: this process has not seen all of theirs.
    unseen_until: Timestamp,
    last_window: (u64, Coverage),
    audit: Audit,
}

impl Collector {
    /// Starts where the store left off, at `now`.
    pub(crate) fn open(
        place: Place,
        store: Store,
        outlet: Option<Arc<Outlet>>,
        plans: Plans,
        census: Census,
        now: Timestamp,
    ) -> Result<Collector, Error> {
        let mut leading = Vec::new();
        for name in SYNTHETIC {
            leading.push(store.intern_metric(&Labels::new([(NAME, name)]), Kind::Gauge)?);
        }
        let base_shape = store.intern_shape(&leading)?;
        let appender = store.appender()?;
        let closed_until = Window::containing(now - CLOSE_DELAY, place.window).start();
        let mut collector = Collector {
            appender,
            outlet,
            plans,
            shares: Shares::new(),
            followed: Vec::new(),
            by_id: HashMap::new(),
            vacant: Vec::new(),
            leading: leading.into(),
            base_shape,
            open: BTreeMap::new(),
            closed_until,
            records: BTreeMap::new(),
            late: BTreeMap::new(),
            census,
            newest: Timestamp::MIN,
            unseen_until: now,
            last_window: (0, Coverage::default()),
            audit: Audit::default(),
            place,
            store,
        };
        collector.recover(now)?;
        Ok(collector)
    }

    /// Returns the metrics that stand before those of a page.
    pub(crate) fn leading(&self) -> Arc<[MetricId]> {
        Arc::clone(&self.leading)
    }

    /// Follows the targets of `assignment`; those no longer in it end with staleness markers.
    ///
    /// Returns the index of each target, in its order.
    pub(crate) fn assign(
        &mut self,
        assignment: Assignment,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<Vec<u32>, Error> {
        let share = self.share_of(assignment)?;
        self.keep_share(share, now, batch)?;
        let share = Arc::clone(self.shares.newest());
        let followed = self.followed.iter().enumerate().filter(|(_, followed)| followed.removed_at.is_none());
        let gone = followed.filter(|(_, followed)| share.place_of(followed.id).is_none()).map(|(at, _)| at);
        for at in gone.collect::<Vec<_>>() {
            self.end_target(at, now, batch)?;
        }
        let places = share.targets().map(|(id, target)| Ok(self.follow(id, target, now)? as u32));
        let places = places.collect::<Result<_, Error>>()?;
        self.census.want_snapshot();
        Ok(places)
    }

    /// Returns the targets that are scraped.
    pub(crate) fn owned(&self) -> Owned {
        Arc::new(self.shares.newest().targets().map(|(id, _)| id).collect())
    }

    /// Remembers a share of before a start, for the windows that it held in.
    pub(crate) fn remember(&mut self, assignment: Assignment) -> Result<(), Error> {
        let share = self.share_of(assignment)?;
        self.shares.push(share);
        Ok(())
    }

    fn share_of(&self, assignment: Assignment) -> Result<Share, Error> {
        let ids = assignment.targets.iter().map(|target| self.store.intern_target(&target.labels));
        let ids = ids.collect::<Result<_, _>>()?;
        Ok(Share::new(assignment, ids))
    }

    /// Hears what a primary calls a share that is followed already, perhaps under its twin's number.
    pub(crate) fn hear_twin(&mut self, twin: &Assignment, now: Timestamp, batch: &mut Batch) -> Result<(), Error> {
        let window = Window::containing(now, self.place.window);
        let followed = self.followed.iter().enumerate().filter(|(_, followed)| followed.removed_at.is_none());
        let before: Vec<_> = followed.map(|(at, followed)| (at, self.shares.since(window, followed.id))).collect();
        let Some(share) = self.shares.hear_twin(twin) else { return Ok(()) };
        self.store.put_assignment(batch, share.generation, &firetower_wire::encode_assignment(share)?);
        let from = share.effective_from;
        self.correct_from(from, now, batch)?;
        // What was scraped in the time that is its own now is a predecessor of what comes.
        for (at, since) in before {
            let Followed { id, target, .. } = &self.followed[at];
            let (id, target) = (*id, Arc::clone(target));
            if self.shares.since(window, id) != since {
                self.followed[at].track = self.restore(id, &target, now)?.0;
            }
        }
        Ok(())
    }

    fn keep_share(&mut self, share: Share, now: Timestamp, batch: &mut Batch) -> Result<(), Error> {
        if self.shares.is_alike(&share.assignment) {
            return self.hear_twin(&share.assignment, now, batch);
        }
        let forgotten = self.shares.oldest();
        let changed_from = self.shares.push(share);
        if self.outlet.is_none() {
            return Ok(());
        }
        if let Some(generation) = forgotten {
            self.store.forget_assignment(batch, generation);
        }
        let newest = &self.shares.newest().assignment;
        self.store.put_assignment(batch, newest.generation, &firetower_wire::encode_assignment(newest)?);
        changed_from.map_or(Ok(()), |from| self.correct_from(from, now, batch))
    }

    /// Makes the windows from `from` on anew that have begun or are out: what is another's there is taken out of them.
    fn correct_from(&mut self, from: Timestamp, now: Timestamp, batch: &mut Batch) -> Result<(), Error> {
        // Most shares come when their first window has just begun.
        self.open.retain(|start, open| *start < from || !open.is_untouched());
        self.open.range_mut(from..).for_each(|(_, open)| open.needs_recompute = true);
        let mut window = Window::containing(from.max(now - self.place.late_window), self.place.window);
        while window.start() < self.closed_until {
            self.late.entry(window.start()).or_insert(now);
            let record = self.record(window)?;
            // What is to be put out again for another reason than samples outlives a crash too.
            record.is_changed = true;
            let record = *record;
            self.store.put_window_record(batch, window, &record);
            window = window.next();
        }
        Ok(())
    }

    fn follow(&mut self, id: TargetId, target: &Target, now: Timestamp) -> Result<usize, Error> {
        if let Some(at) = self.by_id.get(&id).copied() {
            self.followed[at].target = Arc::new(target.clone());
            if self.followed[at].removed_at.take().is_some() {
                // Another may have counted the steps since it left.
                self.followed[at].track = self.restore(id, target, now)?.0;
            }
            return Ok(at);
        }
        let class = self.plans.class(&target.labels);
        let (track, shape) = self.restore(id, target, now)?;
        let followed = Followed {
            target: Arc::new(target.clone()),
            id,
            class,
            shape,
            track,
            health: Record::UNCHECKED,
            slot: Timestamp::MIN,
            contributed_until: Timestamp::MIN,
            removed_at: None,
        };
        let at = match self.vacant.pop() {
            Some(at) => {
                self.followed[at] = followed;
                at
            }
            None => {
                self.followed.push(followed);
                self.followed.len() - 1
            }
        };
        self.by_id.insert(id, at);
        Ok(at)
    }

    fn end_target(&mut self, at: usize, now: Timestamp, batch: &mut Batch) -> Result<(), Error> {
        let followed = &mut self.followed[at];
        followed.removed_at = Some(now);
        let (id, shape) = (followed.id, followed.shape);
        let values = vec![STALE; metrics_of(&self.store, shape).len()];
        self.append(at, &PageRow { target: id, at: now, shape, values, timed: Vec::new() }, batch)
    }

    /// Takes one scrape in; returns the buffer of its values.
    pub(crate) fn take(&mut self, scrape: Scrape, batch: &mut Batch, now: Timestamp) -> Result<Vec<f64>, Error> {
        let at = scrape.index as usize;
        let Some(followed) = self.followed.get_mut(at) else { return Ok(Vec::new()) };
        if scrape.slot <= followed.slot {
            // The target has left and come back within a slot.
            return Ok(scrape.outcome.map(|read| read.values).unwrap_or_default());
        }
        followed.slot = scrape.slot;
        let seconds = scrape.duration.as_secs_f64();
        let failure = scrape.outcome.as_ref().err().map(|failure| failure.text.clone());
        let check = Check { at: scrape.at, took: scrape.duration, failure };
        let target = Arc::clone(&followed.target);
        if followed.removed_at.is_none() {
            self.census.note(&target, &mut followed.health, check);
        }
        if self.store.is_held() {
            return Ok(self.give_up(scrape, batch));
        }
        let row = match scrape.outcome {
            Ok(read) => {
                followed.shape = read.shape;
                PageRow {
                    target: followed.id,
                    at: scrape.at,
                    shape: read.shape,
                    values: read.values,
                    timed: read.timed,
                }
            }
            Err(_) => {
                let mut values = vec![STALE; metrics_of(&self.store, followed.shape).len()];
                values[..LEADING].copy_from_slice(&[0.0, seconds, 0.0, 0.0, 0.0]);
                PageRow { target: followed.id, at: scrape.at, shape: followed.shape, values, timed: scrape.ended }
            }
        };
        let id = followed.id;
        self.append(at, &row, batch)?;
        self.note_slot(id, &target, scrape.slot, seconds, now);
        Ok(row.values)
    }

    /// Counts the samples of a scrape for which there is no room on the disk; its slot is lost.
    fn give_up(&mut self, scrape: Scrape, batch: &mut Batch) -> Vec<f64> {
        let Ok(read) = scrape.outcome else { return Vec::new() };
        let values = read.values.iter().filter(|value| !is_stale(**value)).count() as u64;
        let samples = values + read.timed.len() as u64;
        self.store.count_given_up(samples);
        if let Some(outlet) = &self.outlet {
            outlet.collect(batch, samples);
            outlet.drop_samples(batch, DropReason::DiskFull, samples);
        }
        read.values
    }

    /// Keeps a row, and adds it to its window or marks the window as one to be made from raw samples.
    fn append(&mut self, at: usize, row: &PageRow, batch: &mut Batch) -> Result<(), Error> {
        let window = Window::containing(row.at, self.place.window);
        let is_next = self.appender.last(row.target).is_none_or(|last| last.at < row.at);
        let is_open = window.start() >= self.closed_until;
        if self.outlet.is_some() {
            if is_next && is_open {
                self.contribute_before(at, window)?;
            }
            if is_next {
                self.follow_row(at, row, window, is_open)?;
            }
            if !is_next || !is_open {
                self.mark_for_recompute(window, row.at);
            }
            if !is_next {
                self.follow_ended(at, row);
            }
        }
        let appended = self.appender.append(batch, row)?;
        self.newest = self.newest.max(row.at);
        let timed = row.timed.len() as u64;
        self.weigh(window, u64::from(appended.samples).saturating_sub(timed), batch)?;
        for (_, sample) in &row.timed {
            let window = Window::containing(sample.at, self.place.window);
            self.mark_for_recompute(window, row.at);
            self.weigh(window, 1, batch)?;
        }
        Ok(())
    }

    /// Adds the row's increases to its window.
    fn follow_row(&mut self, at: usize, row: &PageRow, window: Window, is_open: bool) -> Result<(), Error> {
        let plan = self.plans.plan(self.followed[at].class, row.shape, window.start())?;
        let metrics = metrics_of(&self.store, row.shape);
        let starts = self.plans.starts(row.shape, &metrics, &plan);
        let mut discarded = Vec::new();
        if is_open {
            self.open_window(window);
        }
        let last = self.appender.last(row.target).filter(|last| !last.values.is_empty());
        let last_metrics = last.as_ref().map(|last| metrics_of(&self.store, last.shape));
        let previous = last.as_ref().zip(last_metrics.as_ref()).map(|(last, metrics)| Row {
            at: last.at,
            shape: last.shape,
            values: &last.values,
            metrics,
        });
        let is_own = self.is_own(at, window);
        let sums = match self.open.get_mut(&window.start()) {
            Some(open) if is_open && is_own => &mut open.sums,
            _ => &mut discarded,
        };
        let row = Row { at: row.at, shape: row.shape, values: &row.values, metrics: &metrics };
        let starts = RowStarts { columns: &starts, window };
        self.followed[at].track.follow(previous, row, (&plan, starts), sums);
        Ok(())
    }

    /// Remembers a row that came after its target had ended: if the target is back, its next step goes on from there.
    fn follow_ended(&mut self, at: usize, row: &PageRow) {
        let end = self.appender.last(row.target).filter(|last| last.values.is_empty() && row.at < last.at);
        let Some(end) = end else { return };
        if self.shares.since(Window::containing(end.at, self.place.window), row.target) <= row.at {
            let metrics = metrics_of(&self.store, row.shape);
            let row = Row { at: row.at, shape: row.shape, values: &row.values, metrics: &metrics };
            self.followed[at].track.end_all(Some(row));
        }
    }

    /// Adds a target's standing values to the windows before `window` that are not closed and do not have them yet.
    fn contribute_before(&mut self, at: usize, window: Window) -> Result<(), Error> {
        let mut earlier =
            Window::containing(self.followed[at].contributed_until.max(self.closed_until), self.place.window);
        while earlier.start() < window.start() {
            self.open_window(earlier);
            self.contribute(at, earlier.start())?;
            earlier = earlier.next();
        }
        self.followed[at].contributed_until = self.followed[at].contributed_until.max(window.start());
        Ok(())
    }

    /// Tells whether a target is this secondary's in `window`: in one from which on it has moved it is another's.
    fn is_own(&self, at: usize, window: Window) -> bool {
        self.shares.of(window).place_of(self.followed[at].id).is_some()
    }

    fn contribute(&mut self, at: usize, start: Timestamp) -> Result<(), Error> {
        if !self.is_own(at, Window::containing(start, self.place.window)) {
            return Ok(());
        }
        let Some(open) = self.open.get_mut(&start) else { return Ok(()) };
        let followed = &mut self.followed[at];
        if followed.removed_at.is_some_and(|removed_at| removed_at <= start) {
            return Ok(());
        }
        let last = self.appender.last(followed.id).filter(|last| !last.values.is_empty());
        let plan = last.as_ref().map(|last| self.plans.plan(followed.class, last.shape, start)).transpose()?;
        let metrics = last.as_ref().map(|last| metrics_of(&self.store, last.shape));
        let row = last.as_ref().zip(metrics.as_ref()).zip(plan.as_ref()).map(|((last, metrics), plan)| {
            (Row { at: last.at, shape: last.shape, values: &last.values, metrics }, &plan[..])
        });
        let (plans, class) = (&mut self.plans, followed.class);
        let column_of = |metric| plans.column(class, metric, start);
        followed.track.contribute(row, open.window, followed.target.interval, &mut open.sums, column_of)?;
        followed.contributed_until = open.window.end();
        Ok(())
    }

    fn mark_for_recompute(&mut self, window: Window, since: Timestamp) {
        if self.outlet.is_none() {
            return;
        }
        if window.start() < self.closed_until {
            if window.end() + self.place.late_window > since {
                self.late.entry(window.start()).or_insert(since);
            }
        } else {
            self.open_window(window).needs_recompute = true;
        }
    }

    /// Counts samples towards the frame that will carry them.
    fn weigh(&mut self, window: Window, samples: u64, batch: &mut Batch) -> Result<(), Error> {
        let Some(outlet) = self.outlet.clone() else { return Ok(()) };
        if samples == 0 {
            return Ok(());
        }
        outlet.collect(batch, samples);
        if window.end() + self.place.late_window <= self.newest {
            outlet.drop_samples(batch, DropReason::LateUnmerged, samples);
            return Ok(());
        }
        self.record(window)?.pending_weight += samples;
        if window.start() >= self.closed_until {
            self.open_window(window);
        } else {
            self.late.entry(window.start()).or_insert(self.newest);
        }
        self.store.put_window_record(batch, window, &self.records[&window.start()]);
        Ok(())
    }

    /// Notes that a slot was scraped, and how long that took.
    fn note_slot(&mut self, id: TargetId, target: &Target, slot: Timestamp, seconds: f64, now: Timestamp) {
        let window = Window::containing(slot, self.place.window);
        if self.outlet.is_none() {
            return;
        }
        if window.start() < self.closed_until {
            if let Ok(record) = self.record(window) {
                record.late += 1;
            }
            self.late.entry(window.start()).or_insert(now);
            return;
        }
        let share = Arc::clone(self.shares.of(window));
        let open = self.open_window(window);
        open.durations.note(target.labels.get("job").unwrap_or(""), seconds);
        if let Some(place) = share.place_of(id) {
            open.slots.note(place, slot);
        }
    }

    fn open_window(&mut self, window: Window) -> &mut OpenWindow {
        let (shares, unseen_until) = (&self.shares, self.unseen_until);
        self.open.entry(window.start()).or_insert_with(|| {
            let index = SlotIndex::new(&shares.of(window).assignment, window);
            let mut open = OpenWindow::new(window, Arc::new(index));
            open.needs_recompute = window.start() <= unseen_until;
            open
        })
    }

    fn record(&mut self, window: Window) -> Result<&mut WindowRecord, Error> {
        if !self.records.contains_key(&window.start()) {
            let stored = self.store.window_record(window)?.unwrap_or_default();
            self.records.insert(window.start(), stored);
        }
        Ok(self.records.get_mut(&window.start()).expect("inserted above"))
    }

    /// Notes the newest time that a row was stamped with, so that the next life of the data directory goes on from there.
    pub(crate) fn note_newest(&self, batch: &mut Batch) {
        self.store.put_note(batch, NEWEST_NOTE, &self.newest.as_millis().to_be_bytes());
    }

    /// Puts a report of health into the outbox, if there is something to say.
    pub(crate) fn report_health(&mut self, now: Timestamp) -> Result<bool, Error> {
        let Some(outlet) = self.outlet.clone() else { return Ok(false) };
        let present = self.followed.iter().filter(|followed| followed.removed_at.is_none());
        let Some(report) = self.census.report(present.map(|f| (&*f.target, &f.health)), now) else { return Ok(false) };
        let mut batch = Batch::default();
        self.store.put_note(&mut batch, "health/version", &report.version.to_be_bytes());
        outlet.push(&mut batch, &Body::Health(report), 0, now)?;
        self.store.commit(batch)?;
        Ok(true)
    }

    /// Takes over all that a parent has decided about labels.
    pub(crate) fn adopt_kept(&mut self, said: &KeptLabels) {
        self.plans.kept_mut().adopt(said);
    }

    /// Puts into the outbox what the parents should hear about labels; returns whether there was anything.
    pub(crate) fn send_kept(&mut self, now: Timestamp) -> Result<bool, Error> {
        let news = self.plans.kept_mut().take_news();
        let Some(outlet) = self.outlet.clone().filter(|_| !news.is_empty()) else { return Ok(false) };
        let mut batch = Batch::default();
        self.store.put_note(&mut batch, KEPT_NOTE, &firetower_wire::encode_kept(self.plans.kept().labels())?);
        outlet.push(&mut batch, &Body::Kept(news), 0, now)?;
        self.store.commit(batch)?;
        Ok(true)
    }

    /// Returns what is to be said of the rows if that differs from when `changes` was returned.
    pub(crate) fn kept_report(&self, changes: u64) -> Option<(u64, KeptReport)> {
        let kept = self.plans.kept();
        (kept.changes() != changes).then(|| (kept.changes(), kept.report()))
    }

    /// Makes the next report of health list every unhealthy target.
    pub(crate) fn want_health_snapshot(&mut self) {
        self.census.want_snapshot();
    }

    /// Returns what is scraped, and what the last scrape of each found.
    pub(crate) fn targets(&self) -> Vec<TargetFound> {
        let present = self.followed.iter().filter(|followed| followed.removed_at.is_none());
        let last = |check: &Check| LastScrape { at: check.at, took: check.took, failure: check.failure.clone() };
        let found = |followed: &Followed| TargetFound {
            target: (*followed.target).clone(),
            last: followed.health.last.as_ref().map(last),
        };
        present.map(found).collect()
    }

    /// Fills in what this monitor says of itself.
    pub(crate) fn describe(&mut self, status: &mut NodeStatus) {
        status.targets = Default::default();
        for followed in self.followed.iter().filter(|followed| followed.removed_at.is_none()) {
            status.targets.add(followed.health.state);
        }
        let (weight, coverage) = self.last_window;
        status.coverage = coverage;
        status.samples_per_second = weight as f64 / self.place.window.as_secs_f64();
        status.watermark = Watermark { newest: self.newest, complete_through: self.closed_until };
        let open_weight: u64 = self.records.values().map(|record| record.pending_weight).sum();
        if let Some(outlet) = &self.outlet {
            status.accounts = outlet.accounts(open_weight);
            self.audit.look(&status.accounts, &[]);
            (status.outbox_frames, status.outbox_bytes) = outlet.queued();
        }
        status.active_series = self.store.raw_stats().active_series;
    }
}

#[cfg(test)]
mod tests;
