//! Taking up what an earlier life of the data directory left.

use std::time::Duration;

use firetower_model::{ShapeId, Target, TargetId, TimeRange, Timestamp, Window};

use crate::Error;
use crate::collector::Collector;
use crate::collector::closing::LATE_LINGER;
use crate::replay::{HeldRow, range_behind};
use crate::track::Track;

impl Collector {
    /// Finds the windows that an earlier life of this directory left unfinished.
    pub(super) fn recover(&mut self, now: Timestamp) -> Result<(), Error> {
        for (window, record) in self.store.open_windows()? {
            self.records.insert(window.start(), record);
            if window.start() < self.closed_until {
                self.late.insert(window.start(), now - LATE_LINGER);
            } else {
                self.open_window(window).needs_recompute = true;
            }
        }
        Ok(())
    }

    /// Recovers from raw samples what is remembered of a target beside its last row.
    pub(super) fn restore(&mut self, id: TargetId, target: &Target, now: Timestamp) -> Result<(Track, ShapeId), Error> {
        let mut track = Track::default();
        let Some(last) = self.appender.last(id) else { return Ok((track, self.base_shape)) };
        let (last_at, last_shape) = (last.at, last.shape);
        self.newest = self.newest.max(last_at);
        let window = Window::containing(now, self.place.window);
        let start = range_behind(window, target.interval).start.max(self.shares.since(window, id));
        let mut rows = self.store.rows(id, TimeRange { start, end: Timestamp::MAX })?;
        let mut previous: Option<HeldRow> = None;
        let mut carried = Vec::new();
        while let Some(row) = rows.next_row()? {
            let row = HeldRow::new(&self.store, &row, previous.as_ref());
            track.remember(previous.as_ref().map(HeldRow::as_row), row.as_row());
            carried.push(row.at);
            previous = Some(row);
        }
        // One that left and came back at once has a row behind this one that ends it.
        if last_at > previous.as_ref().map_or(Timestamp::MIN, |previous| previous.at) {
            track.end_all(previous.as_ref().map(HeldRow::as_row));
        }
        drop(rows);
        // Not only those of the last row: an earlier start may have ended before it put them out.
        carried.push(last_at);
        carried.into_iter().for_each(|at| self.recover_carried(at, target.interval, now));
        Ok((track, last_shape))
    }

    /// Queues the windows into which values of `at` are carried, and that were never put out.
    fn recover_carried(&mut self, at: Timestamp, interval: Duration, now: Timestamp) {
        let mut window = Window::containing(at, self.place.window);
        while window.start() < self.closed_until && window.start() - interval <= at {
            let is_out = self.record(window).is_ok_and(|record| record.revision.0 > 0);
            if !is_out {
                self.late.entry(window.start()).or_insert(now - LATE_LINGER);
            }
            window = window.next();
        }
    }
}
