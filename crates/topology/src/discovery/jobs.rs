//! From all jobs and what was found for them to all targets.

use std::collections::BTreeMap;

use firetower_model::{JobSources, Target, TargetGroup};

use super::resolve_targets;
use crate::scrape_config::ScrapeConfig;

/// What became of the addresses of all jobs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResolvedJobs {
    /// The targets, job by job.
    pub targets: Vec<Target>,
    /// Names of the jobs that have more targets than their `target_limit`.
    pub over_limit: Vec<String>,
    /// One sentence for each address that is no target and why.
    pub complaints: Vec<String>,
}

/// Makes targets of what is written in the jobs themselves and of what was found for them, by their names.
///
/// `implied` are the labels that every target gets whatever the rules say.
pub fn resolve_jobs(
    configs: &[ScrapeConfig],
    found: &BTreeMap<String, Vec<TargetGroup>>,
    implied: &[(&str, &str)],
) -> ResolvedJobs {
    let mut all = ResolvedJobs::default();
    for config in configs {
        let mut groups = config.static_groups.clone();
        groups.extend(found.get(&config.job_name).into_iter().flatten().cloned());
        let resolved = resolve_targets(config, &groups, implied);
        if resolved.is_over_limit {
            all.over_limit.push(config.job_name.clone());
            let (job, count, limit) = (&config.job_name, resolved.targets.len(), config.target_limit);
            all.complaints
                .push(format!("job {job}: {count} targets exceed its target_limit of {limit}: none is scraped"));
        }
        all.complaints.extend(resolved.complaints);
        all.targets.extend(resolved.targets);
    }
    all
}

impl ScrapeConfig {
    /// Returns where its targets are listed besides in itself.
    pub fn sources(&self) -> JobSources {
        JobSources {
            job_name: self.job_name.clone(),
            files: self.file_sd.clone(),
            servers: self.http_sd.clone(),
            names: self.dns_sd.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_scrape_config;

    #[test]
    fn jobs_are_resolved_each_with_what_was_found_for_it() {
        let text = "scrape_configs:\n- {job_name: a, static_configs: [{targets: ['a:1']}]}\n- {job_name: b}\n";
        let mut configs = read_scrape_config("p.yml", text).unwrap().scrape_configs;
        configs[1].target_limit = 1;
        let group = |targets: &[&str]| TargetGroup {
            source: "t.json:0".into(),
            targets: targets.iter().map(|target| target.to_string()).collect(),
            labels: Vec::new(),
        };
        let found = BTreeMap::from([
            ("a".to_owned(), vec![group(&["a:2"]), group(&["a/b"])]),
            ("b".to_owned(), vec![group(&["b:1", "b:2"])]),
            ("gone".to_owned(), vec![group(&["c:1"])]),
        ]);
        let resolved = resolve_jobs(&configs, &found, &[]);
        let keys: Vec<&str> = resolved.targets.iter().map(Target::node_key).collect();
        assert_eq!((keys, resolved.over_limit), (vec!["a:1", "a:2", "b:1", "b:2"], vec!["b".to_owned()]));
        let expected = [
            "job a: target a/b of t.json:0: \"a/b\" is not host:port",
            "job b: 2 targets exceed its target_limit of 1: none is scraped",
        ];
        assert_eq!(resolved.complaints, expected);
    }
}
