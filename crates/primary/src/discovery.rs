//! The list of targets, from the datacenter's jobs and what is found for them.

use std::collections::BTreeSet;

use firetower_model::{Target, TargetGroup};
use firetower_scrape::{DiscoveryMetrics, Found, Made};
use firetower_topology::{Datacenter, ScrapeConfig, read_listed_groups, read_target_groups, resolve_jobs};

/// The list of targets as it was found.
#[derive(Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) targets: Vec<Target>,
    /// Jobs of which it is not known what they have, and which therefore keep what they had.
    pub(crate) unknown: BTreeSet<String>,
}

/// Returns what makes targets of the jobs of `datacenter`.
pub(crate) fn making(
    datacenter: &Datacenter,
    metrics: DiscoveryMetrics,
) -> impl FnMut(&Vec<ScrapeConfig>, &Found) -> Made<Listed> + use<> {
    let (region, name) = (datacenter.region.clone(), datacenter.name.clone());
    move |configs, found| {
        let resolved = resolve_jobs(configs, &found.groups, &[("region", &region), ("datacenter", &name)]);
        metrics.over_limit.inc_by(resolved.over_limit.len() as u64);
        let list = Listed { targets: resolved.targets, unknown: found.unknown.clone() };
        Made { list: Some(list), complaints: resolved.complaints }
    }
}

/// Reads a file of targets.
pub(crate) fn read_file(name: &str, text: &str) -> Result<Vec<TargetGroup>, String> {
    read_target_groups(name, text).map_err(|complaints| sentences(&complaints))
}

/// Reads a server's list of targets.
pub(crate) fn read_list(url: &str, text: &str) -> Result<Vec<TargetGroup>, String> {
    read_listed_groups(url, text).map_err(|complaints| sentences(&complaints))
}

fn sentences(complaints: &[firetower_topology::Complaint]) -> String {
    complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
