//! The time of day, as one process sees it.

mod course;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use firetower_model::Timestamp;
use tokio::time::Instant;

use self::course::Course;

/// The time of day: read once at the start, carried on by the monotonic clock from there, and led towards the clock of
/// those above by running a little faster or slower.
///
/// It never goes back, and jumps at most before anything was stamped with it. What becomes of the system's clock after
/// the start is of no matter. Clones share it. Where the runtime's time is paused or simulated, so is this one.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Timestamp,
    started: Instant,
    course: Arc<Mutex<Course>>,
}

impl Clock {
    /// Returns a clock that starts at the system's time of day.
    pub fn system() -> Clock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock::starting_at(Timestamp::from_millis(since_epoch.as_millis() as i64))
    }

    /// Returns a clock that shows `origin` now.
    pub fn starting_at(origin: Timestamp) -> Clock {
        Clock { origin, started: Instant::now(), course: Arc::default() }
    }

    /// Returns the time of day.
    pub fn now(&self) -> Timestamp {
        let elapsed = self.started.elapsed();
        self.at(elapsed, &self.course())
    }

    /// Waits until the time of day is `at`; returns at once if it is already.
    ///
    /// # Cancel safety
    /// Nothing is lost if it is dropped.
    pub async fn sleep_until(&self, at: Timestamp) {
        loop {
            let elapsed = self.started.elapsed();
            let (now, added) = {
                let course = self.course();
                (self.at(elapsed, &course), course.added_at(elapsed))
            };
            if now >= at {
                return;
            }
            // Right where the clock keeps its pace; where it slows down meanwhile, there is a little more to wait.
            let wanted = i128::from(at.as_millis() - self.origin.as_millis()) * 1_000_000 - i128::from(added);
            let from_start = Duration::from_nanos(u64::try_from(wanted).unwrap_or(0));
            tokio::time::sleep_until(self.started + from_start.max(elapsed + Duration::from_micros(100))).await;
        }
    }

    /// Puts the clock right at once by a reading of another: `theirs` was read between `sent` and now, both of this one.
    ///
    /// Only to be called before anything was stamped with this one.
    pub fn set(&self, sent: Timestamp, theirs: Timestamp) {
        let now = self.now();
        self.course().jump(offset_ms(sent, now, theirs));
    }

    /// Goes on from `least`, if the time is earlier. Only to be called before anything was stamped.
    pub fn not_before(&self, least: Timestamp) {
        let behind = least.since(self.now());
        self.course().jump(behind.as_millis() as i64);
    }

    /// Takes a reading of the clock that this one is to follow: `theirs` was read between `sent` and now, both of this one.
    ///
    /// From then on this clock runs faster or slower, by at most [`Clock::SLEW_PPM_MAX`], until both show the same. Of the
    /// last readings the one that took least is believed.
    ///
    /// Source: RFC 5905 (NTP), sections 8 and 10; the slew is that of `adjtime`.
    pub fn follow(&self, sent: Timestamp, theirs: Timestamp) {
        let elapsed = self.started.elapsed();
        let mut course = self.course();
        let now = self.at(elapsed, &course);
        course.follow(elapsed, now.since(sent), offset_ms(sent, now, theirs));
    }

    /// Returns how many milliseconds the clock that this one follows is ahead of it, negative if it is behind; `None`
    /// while it follows none.
    pub fn offset_ms(&self) -> Option<i64> {
        self.course().offset_ms(self.started.elapsed())
    }

    /// By how many millionths this clock runs faster or slower at most.
    pub const SLEW_PPM_MAX: i64 = course::SLEW_PPM_MAX;

    fn at(&self, elapsed: Duration, course: &Course) -> Timestamp {
        let nanos = elapsed.as_nanos() as i64 + course.added_at(elapsed);
        Timestamp::from_millis(self.origin.as_millis() + nanos.div_euclid(1_000_000))
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns by how much `theirs` is ahead of the middle between `sent` and `now`.
fn offset_ms(sent: Timestamp, now: Timestamp, theirs: Timestamp) -> i64 {
    let middle = sent.as_millis() + now.since(sent).as_millis() as i64 / 2;
    theirs.as_millis().saturating_sub(middle)
}

#[cfg(test)]
mod tests;
