//! Closing windows, and putting them out again when something came late.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use firetower_model::assignment::SlotIndex;
use firetower_model::{
    Body, Coverage, CrossSum, Epoch, TargetId, TimeRange, Timestamp, Watermark, Window, WindowRows, is_stale,
};
use firetower_store::Batch;

use crate::Error;
use crate::collector::Collector;
use crate::replay::{Loose, range_behind, replay};
use crate::track::PREDECESSOR_AGE_MAX;
use crate::window::{Durations, Slots, rows};

/// How long after its end a window is closed.
pub(super) const CLOSE_DELAY: Duration = Duration::from_secs(1);

/// Windows put out again at once, at most: scrapes wait meanwhile.
const AGAIN_MAX: usize = 4;

/// How long late scrapes of a closed window are gathered before its rows are put out again.
pub(super) const LATE_LINGER: Duration = Duration::from_secs(2);

impl Collector {
    /// Tells whether a window is due at `now`.
    pub(crate) fn is_close_due(&self, now: Timestamp) -> bool {
        self.closed_until < Window::containing(now - CLOSE_DELAY, self.place.window).start()
    }

    /// Closes the windows that are due at `now` and puts out again those that something late came to.
    ///
    /// Returns whether frames were written; they may be sent once the store is synced.
    pub(crate) fn close_due(&mut self, now: Timestamp) -> Result<bool, Error> {
        let due_until = Window::containing(now - CLOSE_DELAY, self.place.window).start();
        if self.shares.is_unset() {
            self.closed_until = self.closed_until.max(due_until);
            return Ok(false);
        }
        let mut is_written = false;
        while self.closed_until < due_until {
            let window = Window::containing(self.closed_until, self.place.window);
            if self.outlet.is_some() {
                self.close(window, now)?;
                is_written = true;
            }
            self.closed_until = window.end();
        }
        let ripe = self.late.iter().filter(|(_, since)| **since + LATE_LINGER <= now).map(|(start, _)| *start);
        for start in ripe.take(AGAIN_MAX).collect::<Vec<_>>() {
            self.late.remove(&start);
            self.put_out_again(Window::containing(start, self.place.window), now)?;
            is_written = true;
        }
        Ok(is_written)
    }

    fn close(&mut self, window: Window, now: Timestamp) -> Result<(), Error> {
        self.open_window(window);
        for at in 0..self.followed.len() {
            if self.followed[at].contributed_until < window.end() {
                self.contribute(at, window.start())?;
            }
        }
        let open = self.open.remove(&window.start()).expect("opened above");
        if open.needs_recompute {
            return self.put_out_again(window, now);
        }
        self.put_out(window, &open.sums, &open.slots, &open.durations, now)
    }

    fn put_out_again(&mut self, window: Window, now: Timestamp) -> Result<(), Error> {
        let share = Arc::clone(self.shares.of(window));
        let mut slots = Slots::new(Arc::new(SlotIndex::new(&share.assignment, window)));
        let mut durations = Durations::default();
        let mut sums = Vec::new();
        let loose = self.loose_behind(window)?;
        for (id, target) in share.targets() {
            let class = self.plans.class(&target.labels);
            let ids = (id, class, self.shares.since(window, id));
            let scope = (window, target.interval);
            let schedule = target.schedule();
            let Some(place) = share.place_of(id) else { continue };
            let mut newest = Timestamp::MIN;
            for (at, seconds) in replay(&self.store, &mut self.plans, ids, loose.get(&id), scope, &mut sums)? {
                durations.note(target.labels.get("job").unwrap_or(""), seconds);
                newest = schedule.last_at_or_before(at);
                slots.note(place, newest);
            }
            // One that came after its target had ended lies apart.
            for (metric, up) in loose.get(&id).into_iter().flatten() {
                if *metric == self.leading[0] && window.range().contains(up.at) {
                    let slot = schedule.last_at_or_before(up.at);
                    slots.note(place, slot);
                    newest = newest.max(slot);
                }
            }
            let last = schedule.last_at_or_before(window.end() - Duration::from_millis(1));
            if newest < last && self.is_belated(id, last, target.interval)? {
                slots.note(place, last);
            }
        }
        self.put_out(window, &sums, &slots, &durations, now)
    }

    /// Tells whether a slot was scraped after its window was over: its row has the time of the scrape.
    fn is_belated(&self, target: TargetId, slot: Timestamp, interval: Duration) -> Result<bool, Error> {
        let window = Window::containing(slot, self.place.window);
        let mut rows = self.store.rows(target, TimeRange { start: window.end(), end: slot + interval })?;
        let first = rows.next_row()?;
        Ok(first.is_some_and(|row| row.values.first().is_some_and(|up| !is_stale(*up))))
    }

    fn loose_behind(&self, window: Window) -> Result<HashMap<TargetId, Loose>, Error> {
        let mut by_target: HashMap<TargetId, Loose> = HashMap::new();
        for loose in self.store.loose(range_behind(window, self.place.default_interval)) {
            let loose = loose?;
            by_target.entry(loose.target).or_default().push((loose.metric, loose.sample));
        }
        Ok(by_target)
    }

    fn put_out(
        &mut self,
        window: Window,
        sums: &[CrossSum],
        slots: &Slots,
        durations: &Durations,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(outlet) = self.outlet.clone() else { return Ok(()) };
        let newest = self.newest;
        let record = self.record(window)?;
        let is_corrected = std::mem::take(&mut record.is_changed);
        record.revision = if is_corrected { record.revision.corrected() } else { record.revision.next() };
        let weight = std::mem::take(&mut record.pending_weight);
        record.framed_weight += weight;
        let record = *record;
        let bits = slots.bits();
        let coverage = Coverage::new(u64::from(bits.count()), bits.ones(), record.late);
        let body = Body::Rows(WindowRows {
            datacenter: self.place.datacenter.clone(),
            window,
            revision: record.revision,
            epoch: Epoch(0),
            coverage,
            slots: Some(bits.clone()),
            watermark: Watermark { newest, complete_through: window.end() },
            rows: rows(sums),
            durations: durations.serialize(),
            kept: self.plans.kept().version_at(window.start()),
        });
        self.last_window = (weight, coverage);
        let mut batch = Batch::default();
        self.store.put_window_record(&mut batch, window, &record);
        outlet.push(&mut batch, &body, weight, now)?;
        self.store.commit(batch)?;
        Ok(())
    }

    /// Forgets what can no longer matter; to be called now and then.
    pub(crate) fn forget(&mut self, now: Timestamp) -> Result<(), Error> {
        let cutoff = now - self.place.late_window - self.place.window;
        self.records.retain(|start, record| *start >= cutoff || record.is_open());
        self.appender.forget_before(now - self.place.raw_retention);
        let mut live = HashSet::new();
        for (at, followed) in self.followed.iter_mut().enumerate() {
            let age = PREDECESSOR_AGE_MAX.max(followed.target.interval) + 2 * self.place.window;
            followed.track.forget_before(now - age);
            if followed.removed_at.is_none_or(|removed_at| removed_at >= now - age) {
                live.insert((followed.class, followed.shape));
            }
            let is_past = followed.removed_at.is_some_and(|removed_at| removed_at < cutoff);
            if is_past && self.by_id.remove(&followed.id).is_some() {
                self.vacant.push(at);
            }
        }
        self.plans.forget(self.closed_until, &live);
        self.store.release_shapes();
        let mut batch = Batch::default();
        self.store.prune_windows(&mut batch, cutoff)?;
        if let Some(outlet) = &self.outlet {
            outlet.enforce(&mut batch, now);
        }
        self.store.commit(batch)?;
        Ok(())
    }
}
