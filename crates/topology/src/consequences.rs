//! What follows from a topology: how soon a failure is seen, how much each secondary carries.

use std::fmt;
use std::time::Duration;

use crate::quantity::{format_duration, format_size};
use crate::topology::{Profile, Topology};

/// Series that a target is taken to have.
const SERIES_PER_TARGET: u64 = 1_000;
/// Bytes that a raw sample is taken to need on disk, in tenths.
const BYTES_PER_SAMPLE_TENTHS: u64 = 15;
/// Targets that a secondary is made for.
const TARGETS_MAX: usize = 5_000;

/// What follows from a topology; `Display` writes it as tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Consequences {
    /// One for each profile, the fastest first.
    pub detection: Vec<DetectionTime>,
    /// One for each datacenter, in file order.
    pub loads: Vec<Load>,
}

/// How soon a failure is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectionTime {
    /// The settings.
    pub profile: Profile,
    /// Longest time from a failure to the verdict.
    pub worst: Duration,
    /// Whether the topology uses this profile.
    pub is_chosen: bool,
}

/// How much the secondaries of a datacenter carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Name of the datacenter.
    pub datacenter: String,
    /// Targets of the datacenter.
    pub targets: usize,
    /// Its secondaries.
    pub secondaries: usize,
    /// Targets of a secondary when all of them run, rounded up.
    pub targets_each: usize,
    /// Targets of a secondary when one of them is lost, rounded up; `None` if there is no other.
    pub targets_each_one_lost: Option<usize>,
    /// Raw samples on the disk of a secondary when all of them run, in bytes; at most `retention.bytes`.
    pub disk_bytes: u64,
}

/// Works out what follows from `topology`, with the number of targets of each datacenter in file order.
///
/// # Panics
/// If there are not as many numbers as datacenters.
pub fn consequences(topology: &Topology, targets_per_datacenter: &[usize]) -> Consequences {
    assert_eq!(topology.datacenters().count(), targets_per_datacenter.len(), "a number for each datacenter");
    let is_chosen = |profile| topology.defaults.detection == profile;
    let detection = Profile::ALL.map(|profile| DetectionTime {
        profile,
        worst: worst_detection(profile),
        is_chosen: is_chosen(profile),
    });
    let samples_per_series = topology.retention.raw.as_millis() / topology.defaults.scrape_interval.as_millis().max(1);
    let bytes_per_target = samples_per_series as u64 * SERIES_PER_TARGET * BYTES_PER_SAMPLE_TENTHS / 10;
    let bytes_max = if topology.retention.bytes == 0 { u64::MAX } else { topology.retention.bytes };
    let loads = topology.datacenters().zip(targets_per_datacenter).map(|(datacenter, &targets)| {
        let secondaries = datacenter.secondaries.len();
        let targets_each = targets.div_ceil(secondaries);
        Load {
            datacenter: datacenter.name.clone(),
            targets,
            secondaries,
            targets_each,
            targets_each_one_lost: (secondaries > 1).then(|| targets.div_ceil(secondaries - 1)),
            disk_bytes: bytes_per_target.saturating_mul(targets_each as u64).min(bytes_max),
        }
    });
    Consequences { detection: detection.into(), loads: loads.collect() }
}

/// Returns the longest time from a failure to the verdict.
fn worst_detection(profile: Profile) -> Duration {
    let seconds = match profile {
        // It fails just after a check: 3 s to the first miss, 3 s to the second, whose timeout takes 2 s.
        Profile::Fast => 3 + 3 + 2,
        Profile::Standard => 6,
        // It falls silent just after a heartbeat, and the silence is full just after a look.
        Profile::Relaxed => 60 + 10,
    };
    Duration::from_secs(seconds)
}

impl fmt::Display for Consequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["detection", "worst case", ""].map(str::to_owned).to_vec()];
        for time in &self.detection {
            let mark = if time.is_chosen { "in use" } else { "" };
            rows.push(vec![time.profile.to_string(), format_duration(time.worst), mark.into()]);
        }
        write_table(f, &rows)?;
        writeln!(f)?;
        let heads = ["datacenter", "targets", "secondaries", "targets each", "with one lost", "disk each"];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        rows.extend(self.loads.iter().map(load_row));
        write_table(f, &rows)?;
        let bytes = BYTES_PER_SAMPLE_TENTHS as f64 / 10.0;
        writeln!(f, "\ndisk: raw samples only, taking {SERIES_PER_TARGET} series per target and {bytes} B per sample")?;
        let over = |load: &&Load| load.targets_each_one_lost.unwrap_or(load.targets_each) > TARGETS_MAX;
        for load in self.loads.iter().filter(over) {
            writeln!(f, "{}: more than {TARGETS_MAX} targets on a secondary once one is lost", load.datacenter)?;
        }
        Ok(())
    }
}

fn load_row(load: &Load) -> Vec<String> {
    vec![
        load.datacenter.clone(),
        load.targets.to_string(),
        load.secondaries.to_string(),
        load.targets_each.to_string(),
        load.targets_each_one_lost.map_or("nobody left".into(), |targets| targets.to_string()),
        format_size(load.disk_bytes),
    ]
}

/// Writes rows with columns as wide as their widest cell: the first to the left, the others to the right.
fn write_table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    for row in rows {
        let cells: Vec<String> = (0..)
            .zip(row)
            .map(|(column, cell)| match column {
                0 => format!("{cell:<0$}", width(column)),
                _ => format!("{cell:>0$}", width(column)),
            })
            .collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    #[test]
    fn what_follows_is_written_as_tables() {
        let demo = include_str!("../../../topology/demo.yaml");
        let topology = read("demo.yaml", demo).unwrap().topology;
        let expected = "\
detection  worst case
fast               8s  in use
standard           6s
relaxed         1m10s

datacenter  targets  secondaries  targets each  with one lost  disk each
dub               5            2             3              5   74.2 MiB
ams           20000            2         10000          20000  241.4 GiB
nyc               0            2             0              0        0 B

disk: raw samples only, taking 1000 series per target and 1.5 B per sample
ams: more than 5000 targets on a secondary once one is lost
";
        assert_eq!(consequences(&topology, &[5, 20_000, 0]).to_string(), expected);
    }
}
