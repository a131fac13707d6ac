//! What a process has used, what a directory takes, and how punctual a scraper was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::log::Response;

/// Ticks a second of the times in `/proc/PID/stat`, the same on every Linux that Rust knows.
///
/// Source: `man 2 times`, `man 5 proc`; `USER_HZ` is 100.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running process to be watched through `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its id.
    pub id: u32,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// User and system time of all its threads, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory now, in bytes.
    pub resident_bytes: u64,
    /// Most resident memory it ever had, in bytes.
    pub peak_bytes: u64,
}

impl Process {
    /// Reads what it has used.
    ///
    /// # Errors
    /// If there is no such process any more.
    pub fn read(self) -> Result<Reading> {
        let read = |file: &str| {
            let path = format!("/proc/{}/{file}", self.id);
            fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let cpu_seconds = cpu_seconds(&stat).context("read times")?;
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next())
                .and_then(|kib| kib.parse::<u64>().ok())
                .context("read memory")
        };
        Ok(Reading { cpu_seconds, resident_bytes: kib("VmRSS:")? << 10, peak_bytes: kib("VmHWM:")? << 10 })
    }
}

/// Takes fields 14 and 15 of `/proc/PID/stat`; the name, field 2, may hold spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// Returns how many bytes the files under `path` have on disk; files that go meanwhile count as nothing.
///
/// Neither room reserved beyond a file's end counts, as logs have, nor holes in it.
pub fn disk_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::symlink_metadata(path).map_or(0, |file| file.len().min(file.blocks() * 512));
    };
    entries.flatten().map(|entry| disk_bytes(&entry.path())).sum()
}

/// Values in order, to be asked for percentiles.
#[derive(Clone, Debug, Default)]
pub struct Percentiles(Vec<f64>);

impl Percentiles {
    /// Takes values in any order; NaN is not allowed among them.
    pub fn new(mut values: Vec<f64>) -> Percentiles {
        values.sort_by(f64::total_cmp);
        Percentiles(values)
    }

    /// Returns the least value that at least `share` of all do not exceed; NaN if there are none.
    pub fn at(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// Returns the mean; NaN if there are none.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// Returns how many values there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// How punctual a scraper was, by the log of the scraped.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Scrapes that should have been made.
    pub expected: u64,
    /// Those that were not.
    pub missed: u64,
    /// How far each was behind the most punctual scrape of its target, in seconds.
    pub lateness: Percentiles,
}

/// Tells from the log how well a scraper kept `interval` for `targets` targets between two moments.
///
/// A scraper places each target where it likes in the interval, and keeps it there: so a target's slots are the
/// multiples of `interval` past its own phase, which is that of its most punctual scrape. Slots that no scrape is
/// nearest to are missed; so are all slots of a target that was never scraped.
pub fn schedule_of(log: &[Response], targets: usize, interval: Duration, from_ms: i64, to_ms: i64) -> Schedule {
    let interval_ms = interval.as_millis() as i64;
    let mut times: BTreeMap<usize, Vec<i64>> = (0..targets).map(|target| (target, Vec::new())).collect();
    for response in log.iter().filter(|response| (from_ms..to_ms).contains(&response.requested_ms)) {
        times.entry(response.target).or_default().push(response.requested_ms);
    }
    let per_target = (to_ms - from_ms) / interval_ms;
    let mut schedule = Schedule { expected: 0, missed: 0, lateness: Percentiles::default() };
    let mut lateness = Vec::new();
    for times in times.values_mut() {
        times.sort_unstable();
        let expected =
            if times.is_empty() { per_target } else { slots_in(times, interval_ms, to_ms, from_ms, &mut lateness) };
        schedule.expected += expected as u64;
        schedule.missed += (expected - times.len() as i64).max(0) as u64;
    }
    schedule.lateness = Percentiles::new(lateness);
    schedule
}

/// Returns how many slots a target scraped at `times` has, and adds by how much each scrape was late.
fn slots_in(times: &[i64], interval_ms: i64, to_ms: i64, from_ms: i64, lateness: &mut Vec<f64>) -> i64 {
    let first = times[0];
    let slot_of = |time: i64| (time - first + interval_ms / 2).div_euclid(interval_ms);
    let drift = |time: i64| time - first - slot_of(time) * interval_ms;
    let earliest = times.iter().map(|time| drift(*time)).min().unwrap_or(0);
    lateness.extend(times.iter().map(|time| (drift(*time) - earliest) as f64 / 1e3));
    let phase = first + earliest;
    let count_before =
        |end: i64| (end - phase).div_euclid(interval_ms) + i64::from((end - phase).rem_euclid(interval_ms) > 0);
    count_before(to_ms) - count_before(from_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(times: &[(usize, i64)]) -> Vec<Response> {
        let response =
            |&(target, requested_ms): &(usize, i64)| Response { target, scrape: 0, requested_ms, samples: 1 };
        times.iter().map(response).collect()
    }

    #[test]
    fn a_schedule_knows_what_was_missed_and_late() {
        let check = |times: &[(usize, i64)], targets: usize, expected: (u64, u64), worst: f64| {
            let schedule = schedule_of(&log(times), targets, Duration::from_secs(1), 10_000, 14_000);
            assert_eq!((schedule.expected, schedule.missed), expected, "{times:?}");
            let got = schedule.lateness.at(1.0);
            assert!(got == worst || got.is_nan() && worst.is_nan(), "{times:?}: {got}");
        };
        check(&[(0, 10_200), (0, 11_200), (0, 12_200), (0, 13_200)], 1, (4, 0), 0.0);
        check(&[(0, 10_200), (0, 11_500), (0, 12_200), (0, 13_200)], 1, (4, 0), 0.3);
        check(&[(0, 10_500), (0, 11_200), (0, 12_200), (0, 13_200)], 1, (4, 0), 0.3);
        check(&[(0, 10_200), (0, 12_200), (0, 13_200)], 1, (4, 1), 0.0);
        check(&[(0, 9_200), (0, 12_200), (0, 13_200)], 1, (4, 2), 0.0);
        check(&[], 2, (8, 8), f64::NAN);
    }

    #[test]
    fn percentiles_are_values() {
        let values = Percentiles::new((1..=100).rev().map(f64::from).collect());
        assert_eq!((values.at(0.5), values.at(0.99), values.at(1.0), values.mean()), (50.0, 99.0, 100.0, 50.5));
        assert!(Percentiles::default().at(0.5).is_nan());
    }

    #[test]
    fn a_process_can_be_read() {
        let reading = Process { id: std::process::id() }.read().unwrap();
        assert!(reading.peak_bytes >= reading.resident_bytes && reading.resident_bytes > 0);
        assert_eq!(cpu_seconds("7 (a ) b) S 1 1 1 0 -1 4 1 0 0 0 250 50 0 0 20 0 1"), Some(3.0));
    }
}
