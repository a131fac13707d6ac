//! A plain Prometheus configuration file, for a secondary that runs alone.

mod keys;

use std::path::Path;
use std::time::Duration;

use crate::complaint::Complaint;
use crate::scrape_config::{ScrapeConfig, ScrapeDefaults, UNUSED, read_scrape_configs};
use crate::walk::{Fields, Walk};
use crate::yaml::{self, Node};

pub(crate) use keys::SECTIONS;
use keys::{FILE, GLOBAL, INCLUDED};

/// Time between two scrapes where the file says nothing, as in Prometheus.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(60);
/// How long a scrape may take where the file says nothing, as in Prometheus.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// A Prometheus configuration file without faults, as far as it is about scraping.
#[derive(Clone, Debug)]
pub struct CheckedScrape {
    /// Labels for what leaves the secondary, sorted by name; variables are not written out yet.
    pub external_labels: Vec<(String, String)>,
    /// The jobs in file order.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Further files with jobs, as written, relative to the file; the last part may hold `*`.
    pub scrape_config_files: Vec<String>,
    /// What is in the file and is ignored, in file order.
    pub warnings: Vec<Complaint>,
    /// What holds for jobs of further files too.
    defaults: ScrapeDefaults,
}

/// Reads a Prometheus configuration file: its `global` and `scrape_configs`; its other sections are ignored with a
/// warning. `file_name` is only for the complaints.
///
/// # Errors
/// Every fault found, each with its line and column, in file order.
pub fn read_scrape_config(file_name: &str, text: &str) -> Result<CheckedScrape, Vec<Complaint>> {
    let mut walk = Walk::new(file_name);
    let mut checked = CheckedScrape {
        external_labels: Vec::new(),
        scrape_configs: Vec::new(),
        scrape_config_files: Vec::new(),
        warnings: Vec::new(),
        defaults: ScrapeDefaults::new(SCRAPE_INTERVAL, SCRAPE_TIMEOUT),
    };
    match yaml::parse(text) {
        Ok(tree) => checked.take(&mut walk, &tree),
        Err(fault) => walk.complain(fault.place, fault.message),
    }
    checked.warnings = walk.finish()?;
    Ok(checked)
}

impl CheckedScrape {
    /// Takes in a file that `scrape_config_files` names: its jobs, and what is to be minded about it. `file_name` is
    /// only for the complaints; relative paths in it start at `folder`.
    ///
    /// # Errors
    /// Every fault found, each with its line and column, in file order; nothing is taken in then.
    pub fn include(&mut self, file_name: &str, folder: &Path, text: &str) -> Result<(), Vec<Complaint>> {
        let mut walk = Walk::new(file_name);
        let mut configs = match yaml::parse(text) {
            Ok(tree) => {
                let fields = Fields::of(&mut walk, &tree, "a file of scrape_config_files", &[INCLUDED]);
                let items = fields.items(&mut walk, "scrape_configs");
                read_scrape_configs(&mut walk, items, &self.defaults)
            }
            Err(fault) => {
                walk.complain(fault.place, fault.message);
                Vec::new()
            }
        };
        for config in &mut configs {
            if self.scrape_configs.iter().any(|other| other.job_name == config.job_name) {
                let message = format!("the job_name {:?} is given in another file too", config.job_name);
                walk.complain(config.place, message);
            }
            config.move_paths(folder);
        }
        self.warnings.extend(walk.finish()?);
        self.scrape_configs.append(&mut configs);
        Ok(())
    }

    fn take(&mut self, walk: &mut Walk<'_>, tree: &Node) {
        let fields = Fields::of(walk, tree, "the configuration", &[FILE]);
        if let Some(node) = fields.get("global") {
            let global = Fields::of(walk, node, "global", &[GLOBAL, UNUSED]);
            self.defaults = self.defaults.read(walk, &global);
            self.external_labels = global.labels(walk, "external_labels");
        }
        let items = fields.items(walk, "scrape_configs");
        self.scrape_configs = read_scrape_configs(walk, items, &self.defaults);
        let files = fields.items(walk, "scrape_config_files");
        self.scrape_config_files = files.iter().filter_map(|node| walk.text_as(node, read_pattern)).collect();
    }
}

fn read_pattern(text: &str) -> Result<String, String> {
    let folder = text.rsplit_once('/').map_or("", |(folder, _)| folder);
    match text {
        "" => Err("the name of a file must not be empty".into()),
        _ if folder.contains('*') => Err(format!("{text:?} may hold * in its last part only")),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape_config::{BODY_SIZE_LIMIT, SAMPLE_LIMIT};

    #[test]
    fn defaults_are_those_of_prometheus() {
        let read = |text| read_scrape_config("prometheus.yml", text).unwrap();
        let job = |text| read(text).scrape_configs.remove(0);
        let config = job("scrape_configs: [{job_name: j}]");
        assert_eq!((config.interval.as_secs(), config.timeout.as_secs()), (60, 10));
        assert_eq!((config.metrics_path.as_str(), config.scheme.as_str()), ("/metrics", "http"));
        assert_eq!((config.honor_labels, config.honor_timestamps), (false, true));
        assert_eq!((config.sample_limit, config.body_size_limit), (SAMPLE_LIMIT, BODY_SIZE_LIMIT));
        let config = job("global: {scrape_interval: 5s, body_size_limit: 10MB}\nscrape_configs: [{job_name: j}]");
        assert_eq!((config.interval.as_secs(), config.timeout.as_secs(), config.body_size_limit), (5, 5, 10 << 20));
        assert_eq!(read("").scrape_configs, []);
    }

    #[test]
    fn further_files_bring_jobs_under_the_same_global() {
        let text =
            "global: {scrape_interval: 5s}\nscrape_configs: [{job_name: a}]\nscrape_config_files: [jobs/*.yml]\n";
        let mut checked = read_scrape_config("prometheus.yml", text).unwrap();
        assert_eq!(checked.scrape_config_files, ["jobs/*.yml"]);
        let more = "scrape_configs: [{job_name: b, bearer_token_file: token, scrape_failure_log_file: f, \
                    file_sd_configs: [{files: [t/*.json]}], http_sd_configs: [{url: 'http://a', tls_config: {ca_file: /ca}}]}]";
        checked.include("jobs/b.yml", Path::new("jobs"), more).unwrap();
        let [_, config] = &checked.scrape_configs[..] else { panic!("two jobs") };
        assert_eq!((config.job_name.as_str(), config.interval.as_secs()), ("b", 5));
        assert_eq!(config.file_sd[0].files, ["jobs/t/*.json"]);
        assert_eq!(config.secret_files(), [Path::new("jobs/token"), Path::new("/ca")]);
        assert_eq!(checked.warnings[0].file, "jobs/b.yml");

        let cases = [
            ("scrape_configs: [{job_name: b}]", "c.yml:1:18: the job_name \"b\" is given in another file too"),
            ("global: {}", "c.yml:1:1: unknown key \"global\" in a file of scrape_config_files"),
        ];
        for (text, expected) in cases {
            let complaints = checked.include("c.yml", Path::new(""), text).unwrap_err();
            assert_eq!(complaints.iter().map(Complaint::to_string).collect::<Vec<_>>(), [expected]);
        }
        assert_eq!(checked.scrape_configs.len(), 2);
    }

    #[test]
    fn what_is_not_about_scraping_is_ignored_with_a_warning() {
        let text =
            "global: {evaluation_interval: 15s, external_labels: {b: 2, a: 1}}\nrule_files: [a.yml]\nalerting: {}\n";
        let checked = read_scrape_config("prometheus.yml", text).unwrap();
        let warnings: Vec<String> = checked.warnings.iter().map(Complaint::to_string).collect();
        let expected = [
            "prometheus.yml:1:10: evaluation_interval does nothing here: rules are not evaluated yet",
            "prometheus.yml:2:1: rule_files does nothing here: rules are not evaluated yet",
            "prometheus.yml:3:1: alerting does nothing here: alerts are not sent yet",
        ];
        assert_eq!(warnings, expected);
        assert_eq!(checked.external_labels, [("a".into(), "1".into()), ("b".into(), "2".into())]);
    }

    #[test]
    fn faults_have_their_places() {
        let cases = [
            (
                "global:\n  scrape_intervall: 1s\n",
                "p.yml:2:3: unknown key \"scrape_intervall\" in global: did you mean \"scrape_interval\"?",
            ),
            (
                "scrape_configs:\n- job_name: j\n  scrape_timeout: 2m\n",
                "p.yml:3:19: scrape_timeout must not be longer than scrape_interval",
            ),
            ("scrape_configs: [", "p.yml:1:17: unclosed bracket '['"),
        ];
        for (text, expected) in cases {
            let complaints = read_scrape_config("p.yml", text).unwrap_err();
            assert_eq!(complaints.iter().map(Complaint::to_string).collect::<Vec<_>>(), [expected]);
        }
    }
}
