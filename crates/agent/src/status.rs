//! How full this host is, in four numbers.

use std::path::Path;

use procfs::{Current, CurrentSI};
use serde::Serialize;

use crate::collect::{Error, filesystem};

/// How full this host is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// CPU time in use, in percent of all CPUs, over the last interval; none until two readings were taken.
    pub cpu_usage: Option<f64>,
    /// Memory that is not available to new programs, in percent; none where it cannot be read.
    pub memory_usage: Option<f64>,
    /// The root filesystem's space that is not available to ordinary users, in percent; none where it cannot be read.
    pub disk_usage: Option<f64>,
    /// Seconds since the host was started.
    pub uptime: f64,
}

impl Status {
    /// Reads it; `cpu_usage` comes from readings apart in time, and so from outside.
    ///
    /// # Errors
    /// If the host does not tell how long it is up, since then it tells nothing.
    pub(crate) fn read(cpu_usage: Option<f64>) -> Result<Status, Error> {
        let uptime = procfs::Uptime::current()?.uptime;
        Ok(Status { cpu_usage, memory_usage: memory_usage(), disk_usage: disk_usage(Path::new("/")), uptime })
    }
}

fn memory_usage() -> Option<f64> {
    let memory = procfs::Meminfo::current().ok()?;
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    percent_used(available, memory.mem_total)
}

fn disk_usage(mount_point: &Path) -> Option<f64> {
    let space = filesystem::Space::read(mount_point).ok()?;
    percent_used(space.avail_bytes, space.size_bytes)
}

fn percent_used(available: u64, total: u64) -> Option<f64> {
    (total != 0).then(|| 100.0 * (1.0 - available.min(total) as f64 / total as f64))
}

/// CPU time since the host was started, in ticks, summed over its CPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CpuTicks {
    busy: u64,
    all: u64,
}

impl CpuTicks {
    /// Reads it.
    pub(crate) fn read() -> Result<CpuTicks, Error> {
        Ok(CpuTicks::of(&procfs::KernelStats::current()?.total))
    }

    /// Sums `time`; what a guest used is within `user` and `nice` already.
    fn of(time: &procfs::CpuTime) -> CpuTicks {
        let waiting = time.idle + time.iowait.unwrap_or(0);
        let busy = time.user
            + time.nice
            + time.system
            + time.irq.unwrap_or(0)
            + time.softirq.unwrap_or(0)
            + time.steal.unwrap_or(0);
        CpuTicks { busy, all: busy + waiting }
    }

    /// Returns the time in use since `earlier`, in percent; none if no time passed.
    ///
    /// The kernel lets `iowait` go back at times: a share outside of `[0, 100]` is brought back to its bound.
    pub(crate) fn usage_since(self, earlier: CpuTicks) -> Option<f64> {
        let all = self.all.checked_sub(earlier.all).filter(|&ticks| ticks != 0)?;
        let busy = self.busy.saturating_sub(earlier.busy);
        Some((100.0 * busy as f64 / all as f64).min(100.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_of_the_whole_and_none_of_nothing() {
        for (available, total, expected) in [(25, 100, Some(75.0)), (200, 100, Some(0.0)), (0, 0, None)] {
            assert_eq!(percent_used(available, total), expected);
        }
    }

    #[test]
    fn cpu_usage_is_the_share_of_busy_ticks_between_two_readings() {
        let earlier = CpuTicks { busy: 100, all: 1_000 };
        let cases = [
            ((150, 1_100), Some(50.0)),
            ((100, 1_000), None),
            ((90, 1_010), Some(0.0)),
            ((130, 1_010), Some(100.0)),
            ((100, 900), None),
        ];
        for ((busy, all), expected) in cases {
            assert_eq!(CpuTicks { busy, all }.usage_since(earlier), expected, "{busy} of {all}");
        }
    }

    #[test]
    fn this_host_is_neither_empty_nor_overfull() {
        let status = Status::read(None).unwrap();
        assert!(status.memory_usage.is_some_and(|percent| 0.0 < percent && percent <= 100.0), "{status:?}");
        assert!(status.disk_usage.is_some_and(|percent| (0.0..=100.0).contains(&percent)), "{status:?}");
        assert!(status.uptime > 0.0, "{status:?}");
    }
}
