//! What is scraped, and when.

use std::time::Duration;

use crate::labels::Labels;
use crate::time::{TimeRange, Timestamp};

/// What the URLs of a job's targets begin with while they are more than its `target_limit`: none of them is scraped, and
/// each says so.
pub const OVER_LIMIT: &str = "over-target-limit+";

/// Something that is scraped, after discovery and relabelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Name of the `scrape_configs` entry it comes from; how its pages are read is looked up there.
    pub job_name: String,
    /// The labels that its series get: `job`, `instance`, `region`, `datacenter` and what relabelling left.
    pub labels: Labels,
    /// `scheme://host:port/path?params`, behind [`OVER_LIMIT`] if it is not to be scraped.
    pub url: String,
    /// Time between two scrapes.
    pub interval: Duration,
    /// How long a scrape may take; at most `interval`.
    pub timeout: Duration,
}

impl Target {
    /// Returns a hash of labels and URL, the same in every process and release.
    ///
    /// It places the target in its interval and among the secondaries.
    pub fn hash(&self) -> u64 {
        let seed = xxhash_rust::xxh3::xxh3_64(self.url.as_bytes());
        xxhash_rust::xxh3::xxh3_64_with_seed(self.labels.as_bytes(), seed)
    }

    /// Returns when it is due.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(self.hash(), self.interval)
    }

    /// Returns `host:port` of its URL: the key of the node behind it.
    pub fn node_key(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split(['/', '?']).next().unwrap_or(rest)
    }
}

/// Slots lie on a grid of this share of the interval, ...
const GRID_SHARE: i64 = 40;
/// ... and never of more than this.
const GRID_MOST_MS: i64 = 250;

/// The slots of a target: every moment at `offset` past a multiple of `interval` since the unix epoch.
///
/// The offset follows from the target's hash, so that thousands of targets spread over the interval, every
/// process agrees on the slots of a window, and a restart changes none. It is a multiple of a fortieth of the interval,
/// or of 250 ms: to wake up for each target alone would cost as much as a short page.
///
/// Source: Prometheus `scrape/target.go`, `offset`; the grid is our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval_ms: i64,
    offset_ms: i64,
}

impl Schedule {
    /// Places a target by its hash.
    ///
    /// # Panics
    /// If `interval` is under 1 ms or over `i64::MAX` ms.
    pub fn new(hash: u64, interval: Duration) -> Schedule {
        let interval_ms = i64::try_from(interval.as_millis()).expect("an interval fits");
        assert!(interval_ms > 0, "an interval is at least 1 ms");
        let grid_ms = (interval_ms / GRID_SHARE).clamp(1, GRID_MOST_MS);
        let offset_ms = (hash % interval_ms as u64) as i64;
        Schedule { interval_ms, offset_ms: offset_ms - offset_ms % grid_ms }
    }

    /// Returns the first slot at or after `at`.
    pub fn first_at_or_after(self, at: Timestamp) -> Timestamp {
        let wait = (self.offset_ms - at.as_millis()).rem_euclid(self.interval_ms);
        Timestamp::from_millis(at.as_millis() + wait)
    }

    /// Returns the last slot at or before `at`.
    pub fn last_at_or_before(self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis() - (at.as_millis() - self.offset_ms).rem_euclid(self.interval_ms))
    }

    /// Returns the slots inside `range`, in order.
    pub fn slots(self, range: TimeRange) -> impl Iterator<Item = Timestamp> {
        let first = self.first_at_or_after(range.start);
        std::iter::successors(Some(first), move |slot| {
            Some(Timestamp::from_millis(slot.as_millis() + self.interval_ms))
        })
        .take_while(move |slot| *slot < range.end)
    }

    /// Returns how many slots are inside `range`.
    pub fn count(self, range: TimeRange) -> u64 {
        let first = self.first_at_or_after(range.start);
        if first >= range.end {
            return 0;
        }
        let span_ms = range.end.as_millis() - 1 - first.as_millis();
        (span_ms / self.interval_ms) as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(at: i64) -> Timestamp {
        Timestamp::from_millis(at)
    }

    #[test]
    fn slots_of_a_window_are_the_same_however_they_are_asked() {
        let schedule = Schedule::new(13_000, Duration::from_secs(10));
        let range = TimeRange { start: ms(0), end: ms(15_000) };
        assert_eq!(schedule.slots(range).collect::<Vec<_>>(), [ms(3_000), ms(13_000)]);
        assert_eq!(schedule.count(range), 2);
        let edge = TimeRange { start: ms(3_001), end: ms(13_000) };
        assert_eq!((schedule.slots(edge).count(), schedule.count(edge)), (0, 0));
        assert_eq!(schedule.first_at_or_after(ms(-7_000)), ms(-7_000));
        let last = |at| schedule.last_at_or_before(ms(at));
        assert_eq!([last(3_000), last(12_999), last(2_999)], [ms(3_000), ms(3_000), ms(-7_000)]);
    }

    #[test]
    fn slots_lie_on_a_grid_that_is_finer_the_shorter_the_interval() {
        let first = |hash, interval_ms| {
            Schedule::new(hash, Duration::from_millis(interval_ms)).first_at_or_after(ms(0)).as_millis()
        };
        assert_eq!([first(3_333, 10_000), first(3_333, 60_000), first(3_999, 4_000)], [3_250, 3_250, 3_900]);
        assert_eq!([first(777, 1_000), first(777, 15), first(u64::MAX, 1)], [775, 12, 0]);
    }

    #[test]
    fn five_thousand_targets_spread_over_the_interval() {
        let mut per_second = [0u32; 15];
        for port in 0..5_000 {
            let target = Target {
                job_name: "node".into(),
                labels: Labels::new([("instance", format!("10.0.0.1:{port}"))]),
                url: format!("http://10.0.0.1:{port}/metrics"),
                interval: Duration::from_secs(15),
                timeout: Duration::from_secs(10),
            };
            let slot = target.schedule().first_at_or_after(ms(0));
            per_second[(slot.as_millis() / 1000) as usize] += 1;
        }
        assert!(per_second.iter().all(|n| (250..420).contains(n)), "{per_second:?}");
    }

    #[test]
    fn a_node_key_is_the_host_and_port() {
        let mut target = Target {
            job_name: String::new(),
            labels: Labels::empty(),
            url: "http://[::1]:9100/metrics?a=b".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        assert_eq!(target.node_key(), "[::1]:9100");
        target.url = "https://h:1?x=/".into();
        assert_eq!(target.node_key(), "h:1");
    }
}
