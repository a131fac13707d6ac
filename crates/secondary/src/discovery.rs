//! The list of targets, from the jobs of a Prometheus file: a secondary that runs alone has no primary to tell it.

use std::path::Path;

use firetower_daemon::chain;
use firetower_model::Target;
use firetower_topology::{ScrapeConfig, read_target_groups, resolve_targets};

/// Targets, and what could not be made one.
pub(crate) struct Discovered {
    /// Of all jobs.
    pub(crate) targets: Vec<Target>,
    /// A sentence for each file and address that was left out.
    pub(crate) complaints: Vec<String>,
}

/// Returns the targets of `configs`; files that they name are looked for under `base`.
pub(crate) fn discover(configs: &[ScrapeConfig], base: &Path) -> Discovered {
    let mut discovered = Discovered { targets: Vec::new(), complaints: Vec::new() };
    for config in configs {
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
        let resolved = resolve_targets(config, &groups, &[]);
        let named = |complaint| format!("job {}: {complaint}", config.job_name);
        discovered.complaints.extend(resolved.complaints.into_iter().map(named));
        discovered.targets.extend(resolved.targets);
    }
    discovered
}
