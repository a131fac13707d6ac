//! The list of targets, from the jobs of a Prometheus file: a secondary that runs alone has no primary to tell it.

use firetower_daemon::Clock;
use firetower_model::{Assignment, Generation, Target, TargetGroup};
use firetower_scrape::{DiscoveryMetrics, Found, Made};
use firetower_topology::{Complaint, ScrapeConfig, read_listed_groups, read_target_groups, resolve_jobs};

use crate::collect::Wish;

/// Returns what makes shares of jobs, each with a generation of its own; the same targets again make none.
pub(crate) fn making(clock: Clock, metrics: DiscoveryMetrics) -> impl FnMut(&Vec<ScrapeConfig>, &Found) -> Made<Wish> {
    let mut newest: (u64, Option<Vec<Target>>) = (0, None);
    move |configs, found| {
        let resolved = resolve_jobs(configs, &found.groups, &[]);
        metrics.over_limit.inc_by(resolved.over_limit.len() as u64);
        let mut list = None;
        if newest.1.as_ref() != Some(&resolved.targets) {
            newest = (newest.0 + 1, Some(resolved.targets.clone()));
            list = Some(Wish::Follow(Assignment::new(Generation(newest.0), clock.now(), resolved.targets)));
        }
        Made { list, complaints: resolved.complaints }
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

fn sentences(complaints: &[Complaint]) -> String {
    complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
