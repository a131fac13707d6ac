//! A plain Prometheus configuration file, for a secondary that runs alone.

use std::time::Duration;

use crate::complaint::Complaint;
use crate::scrape_config::{ScrapeConfig, ScrapeDefaults, read_interval_and_timeout, read_scrape_configs, refusal};
use crate::walk::{Fields, Walk};
use crate::yaml::{self, Node};

const KEYS: [&str; 11] = [
    "global",
    "scrape_configs",
    "rule_files",
    "alerting",
    "remote_write",
    "remote_read",
    "storage",
    "tracing",
    "otlp",
    "runtime",
    "scrape_config_files",
];

const GLOBAL_KEYS: [&str; 8] = [
    "scrape_interval",
    "scrape_timeout",
    "evaluation_interval",
    "external_labels",
    "sample_limit",
    "body_size_limit",
    "rule_query_offset",
    "query_log_file",
];

/// What Prometheus takes where its file says nothing.
const DEFAULTS: ScrapeDefaults = ScrapeDefaults {
    interval: Duration::from_secs(60),
    timeout: Duration::from_secs(10),
    sample_limit: 0,
    body_size_limit: 0,
};

/// A Prometheus configuration file without faults, as far as it is about scraping.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedScrape {
    /// Labels for what leaves the secondary, sorted by name.
    pub external_labels: Vec<(String, String)>,
    /// The jobs in file order.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// What is in the file and is ignored, in file order.
    pub warnings: Vec<Complaint>,
}

/// Reads a Prometheus configuration file: its `global` and `scrape_configs`; its other sections are ignored with a
/// warning. `file_name` is only for the complaints.
///
/// # Errors
/// Every fault found, each with its line and column, in file order.
pub fn read_scrape_config(file_name: &str, text: &str) -> Result<CheckedScrape, Vec<Complaint>> {
    let mut walk = Walk::new(file_name);
    let mut checked = CheckedScrape { external_labels: Vec::new(), scrape_configs: Vec::new(), warnings: Vec::new() };
    match yaml::parse(text) {
        Ok(tree) => read_file(&mut walk, &tree, &mut checked),
        Err(fault) => walk.complain(fault.place, fault.message),
    }
    checked.warnings = walk.finish()?;
    Ok(checked)
}

fn read_file(walk: &mut Walk<'_>, tree: &Node, checked: &mut CheckedScrape) {
    let fields = Fields::new(walk, tree, "the configuration", &KEYS, |_| None);
    let mut defaults = DEFAULTS;
    if let Some(node) = fields.get("global") {
        let global = Fields::new(walk, node, "global", &GLOBAL_KEYS, refusal);
        (defaults.interval, defaults.timeout) =
            read_interval_and_timeout(walk, &global, DEFAULTS.interval, DEFAULTS.timeout);
        defaults.sample_limit = global.count(walk, "sample_limit").unwrap_or(DEFAULTS.sample_limit);
        defaults.body_size_limit = global.size(walk, "body_size_limit").unwrap_or(DEFAULTS.body_size_limit);
        checked.external_labels = global.labels(walk, "external_labels");
    }
    let items = fields.items(walk, "scrape_configs");
    checked.scrape_configs = read_scrape_configs(walk, items, defaults);
    for entry in KEYS[2..].iter().filter_map(|key| fields.entry(key)) {
        walk.warn(entry.key_place, format!("{} is ignored: this secondary only scrapes and stores", entry.key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_prometheus() {
        let read = |text| read_scrape_config("prometheus.yml", text).unwrap();
        let job = |text| read(text).scrape_configs.remove(0);
        let config = job("scrape_configs: [{job_name: j}]");
        assert_eq!((config.interval.as_secs(), config.timeout.as_secs()), (60, 10));
        assert_eq!((config.metrics_path.as_str(), config.scheme.as_str()), ("/metrics", "http"));
        assert_eq!((config.honor_labels, config.honor_timestamps), (false, true));
        assert_eq!((config.sample_limit, config.body_size_limit), (0, 0));
        let config = job("global: {scrape_interval: 5s, body_size_limit: 10MB}\nscrape_configs: [{job_name: j}]");
        assert_eq!((config.interval.as_secs(), config.timeout.as_secs(), config.body_size_limit), (5, 5, 10 << 20));
        assert_eq!(read("").scrape_configs, []);
    }

    #[test]
    fn what_is_not_about_scraping_is_ignored_with_a_warning() {
        let text =
            "global: {evaluation_interval: 15s, external_labels: {b: 2, a: 1}}\nrule_files: [a.yml]\nalerting: {}\n";
        let checked = read_scrape_config("prometheus.yml", text).unwrap();
        let warnings: Vec<String> = checked.warnings.iter().map(Complaint::to_string).collect();
        let expected = [
            "prometheus.yml:2:1: rule_files is ignored: this secondary only scrapes and stores",
            "prometheus.yml:3:1: alerting is ignored: this secondary only scrapes and stores",
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
