//! Time as the tree speaks of it: milliseconds since the unix epoch, and the windows cut from them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment: milliseconds since the unix epoch, negative before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment that can be named.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest moment that can be named.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// Makes a moment of milliseconds since the unix epoch.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Returns milliseconds since the unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns seconds since the unix epoch, with the milliseconds as fraction.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e3
    }

    /// Returns how long after `earlier` this moment is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    /// Saturates at `MAX`.
    fn add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    /// Saturates at `MIN`.
    fn sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// A half-open range of time: `start` is inside, `end` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeRange {
    /// First moment inside.
    pub start: Timestamp,
    /// First moment after.
    pub end: Timestamp,
}

impl TimeRange {
    /// All of time.
    pub const ALL: TimeRange = TimeRange { start: Timestamp::MIN, end: Timestamp::MAX };

    /// Tells whether `at` is inside.
    pub fn contains(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

/// A half-open range of time that starts at a multiple of its length since the unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    start: Timestamp,
    length_ms: u32,
}

impl Window {
    /// Returns the window of `length` that contains `at`.
    ///
    /// # Panics
    /// If `length` is under 1 ms or over 49 days.
    pub fn containing(at: Timestamp, length: Duration) -> Window {
        let length_ms = u32::try_from(length.as_millis()).expect("a window is under 49 days");
        assert!(length_ms > 0, "a window is at least 1 ms");
        let start = Timestamp(at.0.saturating_sub(at.0.rem_euclid(i64::from(length_ms))));
        Window { start, length_ms }
    }

    /// Returns the first moment inside.
    pub fn start(self) -> Timestamp {
        self.start
    }

    /// Returns the first moment after.
    pub fn end(self) -> Timestamp {
        Timestamp(self.start.0.saturating_add(i64::from(self.length_ms)))
    }

    /// Returns how long it is.
    pub fn length(self) -> Duration {
        Duration::from_millis(u64::from(self.length_ms))
    }

    /// Returns the window that starts where this one ends.
    pub fn next(self) -> Window {
        Window { start: self.end(), ..self }
    }

    /// Returns the window that ends where this one starts.
    pub fn previous(self) -> Window {
        Window { start: self.start - self.length(), ..self }
    }

    /// Returns the same range, without its alignment.
    pub fn range(self) -> TimeRange {
        TimeRange { start: self.start, end: self.end() }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:?}, {:?})", self.start, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned_to_unix_time_also_before_it() {
        let check = |at: i64, start: i64| {
            let window = Window::containing(Timestamp(at), Duration::from_secs(15));
            assert_eq!((window.start().0, window.end().0), (start, start + 15_000), "at {at}");
            assert!(window.range().contains(Timestamp(at)));
            assert_eq!(window.next().previous(), window);
        };
        check(0, 0);
        check(14_999, 0);
        check(15_000, 15_000);
        check(-1, -15_000);
        check(1_700_000_000_123, 1_699_999_995_000);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Duration::from_secs(1), Timestamp::MIN);
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        let window = |at| Window::containing(at, Duration::from_secs(15));
        assert_eq!(window(Timestamp::MIN).start(), Timestamp::MIN);
        assert_eq!(window(Timestamp::MAX).end(), Timestamp::MAX);
    }
}
