//! The list of targets, from the topology's jobs and the files they name.

use std::path::Path;

use firetower_daemon::chain;
use firetower_model::Target;
use firetower_topology::{Datacenter, read_target_groups, resolve_targets};

/// Targets, and what could not be made one.
pub(crate) struct Discovered {
    /// Of all jobs.
    pub(crate) targets: Vec<Target>,
    /// A sentence for each file and address that was left out.
    pub(crate) complaints: Vec<String>,
}

/// Returns the targets of `datacenter`; files that its jobs name are looked for under `base`.
pub(crate) fn discover(datacenter: &Datacenter, base: &Path) -> Discovered {
    let implied = [("region", datacenter.region.as_str()), ("datacenter", datacenter.name.as_str())];
    let mut discovered = Discovered { targets: Vec::new(), complaints: Vec::new() };
    for config in &datacenter.scrape_configs {
        let mut groups = config.static_groups.clone();
        for patterns in &config.file_sd {
            let (files, errors) = firetower_scrape::read_files(base, &patterns.files);
            if files.is_empty() {
                tracing::warn!(job = config.job_name, files = patterns.files.join(" "), "no target file found");
            }
            discovered.complaints.extend(errors.iter().map(|error| chain(error).to_string()));
            for file in files {
                match read_target_groups(&file.path.display().to_string(), &file.text) {
                    Ok(found) => groups.extend(found),
                    Err(complaints) => discovered.complaints.extend(complaints.iter().map(ToString::to_string)),
                }
            }
        }
        let resolved = resolve_targets(config, &groups, &implied);
        let named = |complaint| format!("job {}: {complaint}", config.job_name);
        discovered.complaints.extend(resolved.complaints.into_iter().map(named));
        discovered.targets.extend(resolved.targets);
    }
    discovered
}
