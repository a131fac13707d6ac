//! The topology and its targets, from their files.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use firetower_model::Target;
use firetower_topology::{
    Checked, CheckedScrape, Complaint, Datacenter, Place, ScrapeConfig, TargetGroup, Topology, expand_external_labels,
    read, read_scrape_config, read_target_groups, resolve_targets,
};

/// What a folder's files of targets make of a datacenter.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Its targets, sorted.
    pub targets: Vec<Target>,
    /// Faults of the files.
    pub complaints: Vec<Complaint>,
    /// What does not do what it seems to.
    pub warnings: Vec<String>,
    /// Files with secrets and certificates that are not there.
    pub missing: Vec<String>,
}

/// Reads and checks the topology; warnings go to the log.
///
/// # Errors
/// If it cannot be read, or all its faults, one to a line.
pub(crate) fn topology(path: &Path) -> anyhow::Result<Topology> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let name = path.display().to_string();
    let Checked { mut topology, warnings } = read(&name, &text).map_err(|complaints| refused(&name, &complaints))?;
    warnings.iter().for_each(|warning| tracing::warn!(%warning, "topology"));
    for variable in expand_external_labels(&mut topology.external_labels, |name| env::var(name).ok()) {
        tracing::warn!(variable, "empty environment variable in external_labels");
    }
    Ok(topology)
}

/// Reads and checks the jobs of a Prometheus configuration file and of those that it names; warnings go to the log.
///
/// # Errors
/// If one of them cannot be read, or all the faults of one, one to a line.
pub(crate) fn scrape_configs(path: &Path) -> anyhow::Result<Vec<ScrapeConfig>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let name = path.display().to_string();
    let mut checked = read_scrape_config(&name, &text).map_err(|complaints| refused(&name, &complaints))?;
    include(&mut checked, path.parent().unwrap_or(Path::new("")))?;
    checked.warnings.iter().for_each(|warning| tracing::warn!(%warning, "scrape configuration"));
    Ok(checked.scrape_configs)
}

/// Takes in the files that `scrape_config_files` names, in order of their names; patterns start at `folder`.
fn include(checked: &mut CheckedScrape, folder: &Path) -> anyhow::Result<()> {
    for pattern in checked.scrape_config_files.clone() {
        let inside = glob::Pattern::escape(&folder.display().to_string());
        let pattern = Path::new(&inside).join(pattern).display().to_string();
        for path in glob::glob(&pattern).with_context(|| format!("look for {pattern}"))? {
            let path = path.with_context(|| format!("look for {pattern}"))?;
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let name = path.display().to_string();
            let paths_start = path.parent().unwrap_or(Path::new(""));
            // Paths of all jobs start at the folder of the first file, where they are relative.
            let paths_start = paths_start.strip_prefix(folder).unwrap_or(paths_start);
            checked.include(&name, paths_start, &text).map_err(|complaints| refused(&name, &complaints))?;
        }
    }
    Ok(())
}

fn refused(name: &str, complaints: &[Complaint]) -> anyhow::Error {
    let lines: Vec<String> = complaints.iter().map(|complaint| format!("\n{complaint}")).collect();
    anyhow!("check {name}{}", lines.concat())
}

/// Finds the targets of a datacenter, in its files relative to `folder` (that of the topology file).
pub(crate) fn targets(datacenter: &Datacenter, folder: &Path) -> Found {
    let mut found = Found::default();
    let implied = [("region", datacenter.region.as_str()), ("datacenter", datacenter.name.as_str())];
    for config in &datacenter.scrape_configs {
        let groups = groups(config, folder, &mut found);
        let resolved = resolve_targets(config, &groups, &implied);
        found.warnings.extend(unseen(config, resolved.targets.len()));
        found.missing.extend(missing_files(config, folder));
        found.targets.extend(resolved.targets);
        found.warnings.extend(resolved.complaints);
    }
    found.targets.sort();
    found
}

/// Says what cannot be seen of a job's targets from here.
fn unseen(config: &ScrapeConfig, count: usize) -> Option<String> {
    let (job, limit) = (&config.job_name, config.target_limit);
    if limit > 0 && count as u64 > limit {
        return Some(format!(
            "job {job}: its {count} targets are more than its target_limit of {limit}: none is scraped"
        ));
    }
    let is_asked = !config.http_sd.is_empty() || !config.dns_sd.is_empty();
    is_asked.then(|| format!("job {job}: targets of http_sd_configs and dns_sd_configs are not counted here"))
}

/// Says which files with secrets and certificates are not there.
fn missing_files(config: &ScrapeConfig, folder: &Path) -> Vec<String> {
    let files = config.secret_files();
    let missing = files.iter().map(|file| folder.join(file)).filter(|path| !path.is_file());
    missing.map(|path| format!("job {}: no file is called {}", config.job_name, path.display())).collect()
}

fn groups(config: &ScrapeConfig, folder: &Path, found: &mut Found) -> Vec<TargetGroup> {
    let mut groups = config.static_groups.clone();
    for pattern in config.file_sd.iter().flat_map(|entry| &entry.files) {
        let pattern = folder.join(pattern).display().to_string();
        let paths: Vec<_> = glob::glob(&pattern).map(|paths| paths.flatten().collect()).unwrap_or_default();
        if paths.is_empty() {
            found.warnings.push(format!("job {}: no file is called {pattern}", config.job_name));
        }
        for path in paths {
            let name = path.display().to_string();
            match fs::read_to_string(&path).map(|text| read_target_groups(&name, &text)) {
                Ok(Ok(more)) => groups.extend(more),
                Ok(Err(complaints)) => found.complaints.extend(complaints),
                Err(error) => found.warnings.push(format!("job {}: read {name}: {error}", config.job_name)),
            }
        }
    }
    groups
}

/// Finds which monitor of the topology this process is: the one `named`, else the one called as its container is.
///
/// # Errors
/// If there is no such monitor.
pub(crate) fn place<'a>(
    topology: &'a Topology,
    named: Option<&str>,
    container: Option<&str>,
) -> anyhow::Result<Place<'a>> {
    if let Some(name) = named {
        return topology.find(name).with_context(|| format!("no monitor of the topology is called {name:?}"));
    }
    let by_container = container.and_then(|name| topology.find(name));
    by_container
        .context("say which monitor this is: --node NAME, or FIRETOWER_NODE, or a CONTAINER_NAME of the topology")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Topology {
        topology(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology/demo.yaml"))).unwrap()
    }

    #[test]
    fn a_process_finds_itself() {
        let topology = demo();
        let check = |named: Option<&str>, container: Option<&str>, expected: Result<&str, &str>| {
            let found = place(&topology, named, container).map(|place| place.node().name.as_str());
            let found = found.map_err(|error| error.to_string());
            match (&found, expected) {
                (Ok(name), Ok(expected)) => assert_eq!(*name, expected),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                _ => panic!("{named:?} {container:?}: {found:?}"),
            }
        };
        check(Some("dub-p0"), Some("ams-p0"), Ok("dub-p0"));
        check(None, Some("ams-p0"), Ok("ams-p0"));
        check(Some("nobody"), Some("ams-p0"), Err("no monitor of the topology is called \"nobody\""));
        check(None, Some("web-7"), Err("say which monitor this is"));
        check(None, None, Err("say which monitor this is"));
    }

    #[test]
    fn further_files_are_taken_in() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("jobs")).unwrap();
        write("prometheus.yml", "scrape_configs: [{job_name: a}]\nscrape_config_files: [jobs/*.yml, none.yml]\n");
        write("jobs/c.yml", "scrape_configs: [{job_name: c, bearer_token_file: token}]");
        write("jobs/b.yml", "scrape_configs: [{job_name: b, file_sd_configs: [{files: [b.json]}]}]");
        let path = folder.path().join("prometheus.yml");
        let configs = scrape_configs(&path).unwrap();
        let names: Vec<&str> = configs.iter().map(|config| config.job_name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(configs[1].file_sd[0].files, ["jobs/b.json"]);
        assert_eq!(configs[2].secret_files(), [Path::new("jobs/token")]);
        write("jobs/d.yml", "scrape_configs: [{job_name: a}]");
        let error = scrape_configs(&path).unwrap_err().to_string();
        assert!(error.ends_with("d.yml:1:18: the job_name \"a\" is given in another file too"), "{error}");
    }

    #[test]
    fn the_demos_targets_are_found() {
        let topology = demo();
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology"));
        let mut counts = Vec::new();
        for datacenter in topology.datacenters() {
            let found = targets(datacenter, folder);
            assert_eq!((found.complaints.len(), &found.warnings), (0, &Vec::new()));
            counts.push(found.targets.len());
        }
        assert_eq!(counts, [5, 5, 5]);
    }
}
