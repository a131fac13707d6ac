//! The time of day, as one process sees it.

use std::time::{SystemTime, UNIX_EPOCH};

use firetower_model::Timestamp;
use tokio::time::Instant;

/// The time of day: read once at the start, and carried on by the monotonic clock from there.
///
/// It never goes back. Where the runtime's time is paused or simulated, so is this one.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Timestamp,
    started: Instant,
}

impl Clock {
    /// Returns a clock that starts at the system's time of day.
    pub fn system() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock::starting_at(Timestamp::from_millis(since_epoch.as_millis() as i64))
    }

    /// Returns a clock that shows `origin` now.
    pub fn starting_at(origin: Timestamp) -> Clock {
        Clock { origin, started: Instant::now() }
    }

    /// Returns the time of day.
    pub fn now(&self) -> Timestamp {
        self.origin + self.started.elapsed()
    }

    /// Waits until the time of day is `at`; returns at once if it is already.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep_until(self.started + at.since(self.origin)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sleeps_until_a_moment_and_not_at_all_for_a_past_one() {
        let clock = Clock::starting_at(Timestamp::from_millis(1_000));
        clock.sleep_until(Timestamp::from_millis(500)).await;
        assert_eq!(clock.now(), Timestamp::from_millis(1_000));
        clock.sleep_until(Timestamp::from_millis(4_500)).await;
        assert_eq!(clock.now(), Timestamp::from_millis(4_500));
    }
}
