//! What was read from and written to block devices.

use procfs::{Current, DiskStat, DiskStats};

use crate::collect::Error;
use crate::page::{Kind, Page};

/// The unit of `/proc/diskstats`, whatever the device's own sectors are.
const SECTOR_BYTES: u64 = 512;

/// Writes the counts of the host's block devices.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    write(page, &DiskStats::current()?.0);
    Ok(())
}

type Column = (&'static str, Kind, &'static str, fn(&DiskStat) -> Option<f64>);

const COLUMNS: [Column; 17] = [
    ("discard_time_seconds_total", Kind::Counter, "Seconds spent on discards.", |d| Some(seconds(d.time_discarding?))),
    ("discarded_sectors_total", Kind::Counter, "Sectors discarded.", |d| Some(d.sectors_discarded? as f64)),
    ("discards_completed_total", Kind::Counter, "Discards completed.", |d| Some(d.discards? as f64)),
    ("discards_merged_total", Kind::Counter, "Discards merged into others.", |d| Some(d.discards_merged? as f64)),
    ("flush_requests_time_seconds_total", Kind::Counter, "Seconds spent on flushes.", |d| {
        Some(seconds(d.time_flushing?))
    }),
    ("flush_requests_total", Kind::Counter, "Flushes completed.", |d| Some(d.flushes? as f64)),
    ("io_now", Kind::Gauge, "Requests in progress.", |d| Some(d.in_progress as f64)),
    ("io_time_seconds_total", Kind::Counter, "Seconds with requests in progress.", |d| {
        Some(seconds(d.time_in_progress))
    }),
    ("io_time_weighted_seconds_total", Kind::Counter, "Seconds, times requests in progress.", |d| {
        Some(seconds(d.weighted_time_in_progress))
    }),
    ("read_bytes_total", Kind::Counter, "Bytes read.", |d| Some((d.sectors_read * SECTOR_BYTES) as f64)),
    ("read_time_seconds_total", Kind::Counter, "Seconds spent on reads.", |d| Some(seconds(d.time_reading))),
    ("reads_completed_total", Kind::Counter, "Reads completed.", |d| Some(d.reads as f64)),
    ("reads_merged_total", Kind::Counter, "Reads merged into others.", |d| Some(d.merged as f64)),
    ("write_time_seconds_total", Kind::Counter, "Seconds spent on writes.", |d| Some(seconds(d.time_writing))),
    ("writes_completed_total", Kind::Counter, "Writes completed.", |d| Some(d.writes as f64)),
    ("writes_merged_total", Kind::Counter, "Writes merged into others.", |d| Some(d.writes_merged as f64)),
    ("written_bytes_total", Kind::Counter, "Bytes written.", |d| Some((d.sectors_written * SECTOR_BYTES) as f64)),
];

/// Writes `disks`, without those that stand for others.
pub(crate) fn write(page: &mut Page, disks: &[DiskStat]) {
    for (what, kind, help, value) in COLUMNS {
        let name = format!("node_disk_{what}");
        let mut family = page.family(&name, kind, help);
        for disk in disks.iter().filter(|disk| !is_skipped(&disk.name)) {
            if let Some(value) = value(disk) {
                family.line(&[("device", &disk.name)], value);
            }
        }
    }
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1_000.0
}

/// Returns whether `device` is a partition, or one of the memory and loop devices that every host has.
///
/// Source: the default of node_exporter's `--collector.diskstats.device-exclude`.
pub(crate) fn is_skipped(device: &str) -> bool {
    let stem = device.trim_end_matches(|character: char| character.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    if matches!(stem, "ram" | "loop" | "fd") {
        return true;
    }
    if let Some((drive, namespace)) = stem.strip_prefix("nvme").and_then(|rest| rest.strip_suffix('p')?.split_once('n'))
    {
        return is_number(drive) && is_number(namespace);
    }
    let letters = ["hd", "sd", "vd", "xvd"].iter().find_map(|prefix| stem.strip_prefix(prefix));
    letters.is_some_and(|letters| letters.len() == 1 && letters.as_bytes()[0].is_ascii_lowercase())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
