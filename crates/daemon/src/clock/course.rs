//! By how much a clock differs from the monotonic one that it is made of, and how that changes.

use std::collections::VecDeque;
use std::time::Duration;

/// By how many millionths a clock runs faster or slower at most: ten minutes are made up for in 33 hours, and a second in
/// some five minutes. A scrape interval of 15 s is at most 75 ms longer or shorter meanwhile.
pub(super) const SLEW_PPM_MAX: i64 = 5_000;
/// How long an offset takes to be made up for where that needs no more than the most.
const SLEW_TIME: Duration = Duration::from_secs(60);
/// How many readings are remembered.
const READINGS_MAX: usize = 8;
/// What readings in whole milliseconds cannot tell from nothing.
const NOISE_NS: i64 = 2_000_000;
const NS_PER_MS: i64 = 1_000_000;

/// By how much a clock differs from the monotonic one: a line that bends with each reading.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Where the line begins, in time since the start, ...
    from: Duration,
    /// ... and ends: from there on nothing changes.
    until: Duration,
    added_ns: i64,
    slew_ppm: i64,
    readings: VecDeque<Reading>,
}

/// What another clock said.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// How long it took to come, and so how wrong it may be.
    delay: Duration,
    /// What would have to be added for both clocks to show the same.
    wanted_ns: i64,
}

impl Course {
    /// Returns how many nanoseconds are added to the monotonic clock when it shows `elapsed`.
    pub(super) fn added_at(&self, elapsed: Duration) -> i64 {
        let slewed = elapsed.clamp(self.from, self.until.max(self.from)) - self.from;
        self.added_ns + slewed.as_nanos() as i64 / 1_000 * self.slew_ppm / 1_000
    }

    /// Adds so much at once.
    pub(super) fn jump(&mut self, millis: i64) {
        self.added_ns = self.added_ns.saturating_add(millis.saturating_mul(NS_PER_MS));
    }

    /// Takes in that the other clock is ahead by `offset_ms`, as far as a reading that took `delay` can tell.
    pub(super) fn follow(&mut self, elapsed: Duration, delay: Duration, offset_ms: i64) {
        let added = self.added_at(elapsed);
        if self.readings.len() == READINGS_MAX {
            self.readings.pop_front();
        }
        self.readings
            .push_back(Reading { delay, wanted_ns: added.saturating_add(offset_ms.saturating_mul(NS_PER_MS)) });
        let Some(best) = self.best() else { return };
        let wrong = best.wanted_ns.saturating_sub(added);
        let is_noise = wrong.saturating_abs() <= NOISE_NS + best.delay.as_nanos() as i64 / 2;
        (self.from, self.until, self.added_ns, self.slew_ppm) = (elapsed, elapsed, added, 0);
        if !is_noise {
            let gentle = wrong / (SLEW_TIME.as_nanos() as i64 / 1_000_000);
            let least = SLEW_PPM_MAX / 10 * wrong.signum();
            let ppm = if gentle.abs() < least.abs() { least } else { gentle };
            self.slew_ppm = ppm.clamp(-SLEW_PPM_MAX, SLEW_PPM_MAX);
            self.until = elapsed + Duration::from_micros((wrong.unsigned_abs() / self.slew_ppm.unsigned_abs()) * 1_000);
        }
    }

    /// Returns how far the other clock is ahead now.
    pub(super) fn offset_ms(&self, elapsed: Duration) -> Option<i64> {
        let best = self.best()?;
        Some((best.wanted_ns - self.added_at(elapsed)) / NS_PER_MS)
    }

    /// Returns the reading that took least, of those that took the same the latest.
    fn best(&self) -> Option<Reading> {
        self.readings.iter().rev().min_by_key(|reading| reading.delay).copied()
    }
}
