//! The kernel's own counts: boot, context switches, forks, interrupts, processes.

use std::fs;

use procfs::KernelStats;
use procfs::prelude::FromReadSI;

use crate::collect::Error;
use crate::page::{Kind, Page};

const PATH: &str = "/proc/stat";

/// Writes what `/proc/stat` counts besides CPU time.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    let text = read()?;
    write(page, interrupts(&text), &parse(&text)?);
    Ok(())
}

/// Reads `/proc/stat`, as one consistent text.
pub(crate) fn read() -> Result<String, Error> {
    fs::read_to_string(PATH).map_err(|source| Error::Read { path: PATH, source })
}

/// Parses the text of `/proc/stat`.
pub(crate) fn parse(text: &str) -> Result<KernelStats, Error> {
    Ok(KernelStats::from_read(text.as_bytes(), procfs::current_system_info())?)
}

/// Returns how many interrupts were served, which `procfs` leaves out.
pub(crate) fn interrupts(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("intr ")?.split(' ').next()?.parse().ok())
}

/// Writes `stats` and the number of interrupts.
pub(crate) fn write(page: &mut Page, interrupts: Option<u64>, stats: &KernelStats) {
    page.single("node_boot_time_seconds", Kind::Gauge, "When the host was started, in unix time.", stats.btime);
    page.single("node_context_switches_total", Kind::Counter, "Context switches.", stats.ctxt);
    page.single("node_forks_total", Kind::Counter, "Processes and threads that were started.", stats.processes);
    if let Some(interrupts) = interrupts {
        page.single("node_intr_total", Kind::Counter, "Interrupts that were served.", interrupts);
    }
    if let Some(blocked) = stats.procs_blocked {
        page.single("node_procs_blocked", Kind::Gauge, "Processes that wait for a device.", blocked);
    }
    if let Some(running) = stats.procs_running {
        page.single("node_procs_running", Kind::Gauge, "Processes that run or could run.", running);
    }
}
