//! CPU time, by CPU and mode.

use procfs::{CpuTime, KernelStats};

use crate::collect::{Error, stat};
use crate::page::{Kind, Page};

/// Writes the CPU time of each CPU that is online.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    let text = stat::read()?;
    write(page, &cpu_names(&text), &stat::parse(&text)?);
    Ok(())
}

/// Returns the CPUs of `/proc/stat` in its order, by number: those that are offline are not in it.
pub(crate) fn cpu_names(stat: &str) -> Vec<&str> {
    stat.lines()
        .filter_map(|line| line.strip_prefix("cpu")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Writes `stats`, whose CPUs have `names`.
pub(crate) fn write(page: &mut Page, names: &[&str], stats: &KernelStats) {
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;

    let help = "Seconds that a CPU spent running guests; part of user and nice too.";
    let mut guests = page.family("node_cpu_guest_seconds_total", Kind::Counter, help);
    for (name, time) in names.iter().zip(&stats.cpu_time) {
        for (mode, ticks) in [("nice", time.guest_nice), ("user", time.guest)] {
            guests.line(&[("cpu", name), ("mode", mode)], seconds(ticks.unwrap_or(0)));
        }
    }

    let mut modes = page.family("node_cpu_seconds_total", Kind::Counter, "Seconds that a CPU spent in each mode.");
    for (name, time) in names.iter().zip(&stats.cpu_time) {
        for (mode, ticks) in by_mode(time) {
            modes.line(&[("cpu", name), ("mode", mode)], seconds(ticks));
        }
    }
}

fn by_mode(time: &CpuTime) -> [(&'static str, u64); 8] {
    [
        ("idle", time.idle),
        ("iowait", time.iowait.unwrap_or(0)),
        ("irq", time.irq.unwrap_or(0)),
        ("nice", time.nice),
        ("softirq", time.softirq.unwrap_or(0)),
        ("steal", time.steal.unwrap_or(0)),
        ("system", time.system),
        ("user", time.user),
    ]
}
