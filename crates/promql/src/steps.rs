//! The moments at which an expression is evaluated.

use std::time::Duration;

use firetower_model::{Moments, Timestamp};

/// Evenly spaced moments, at least one; an instant is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    start_ms: i64,
    step_ms: i64,
    count: usize,
}

impl Steps {
    /// Makes the one moment `at`.
    pub fn instant(at: Timestamp) -> Steps {
        Steps { start_ms: at.as_millis(), step_ms: 0, count: 1 }
    }

    /// Makes the moments from `start` to at most `end`, `step` apart; `start` alone if `end` is before it.
    ///
    /// # Panics
    /// If `step` is under 1 ms.
    pub fn range(start: Timestamp, end: Timestamp, step: Duration) -> Steps {
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        assert!(step_ms > 0, "a step is at least 1 ms");
        Steps::between(start.as_millis(), end.as_millis(), step_ms)
    }

    pub(crate) fn between(start_ms: i64, end_ms: i64, step_ms: i64) -> Steps {
        let length = end_ms.saturating_sub(start_ms).max(0);
        Steps { start_ms, step_ms, count: usize::try_from(length / step_ms).unwrap_or(usize::MAX - 1) + 1 }
    }

    /// Makes those that were asked about.
    pub(crate) fn of(moments: Moments) -> Steps {
        let step_ms = i64::try_from(moments.step.as_millis()).unwrap_or(i64::MAX);
        Steps { start_ms: moments.start.as_millis(), step_ms, count: moments.count.max(1) as usize }
    }

    /// Returns them as they are asked about.
    pub(crate) fn moments(&self) -> Moments {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        Moments { start: self.at(0), step: Duration::from_millis(self.step_ms.unsigned_abs()), count }
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the moment number `index`, the first being 0.
    pub fn at(&self, index: usize) -> Timestamp {
        Timestamp::from_millis(self.millis(index))
    }

    pub(crate) fn millis(&self, index: usize) -> i64 {
        self.start_ms.saturating_add(self.step_ms.saturating_mul(index as i64))
    }

    pub(crate) fn first(&self) -> i64 {
        self.start_ms
    }

    pub(crate) fn last(&self) -> i64 {
        self.millis(self.count - 1)
    }

    /// Returns how far apart they are in milliseconds; 0 for an instant.
    pub(crate) fn step_ms(&self) -> i64 {
        self.step_ms
    }

    /// Returns as many moments, `by_ms` earlier.
    pub(crate) fn earlier(self, by_ms: i64) -> Steps {
        Steps { start_ms: self.start_ms.saturating_sub(by_ms), ..self }
    }
}
