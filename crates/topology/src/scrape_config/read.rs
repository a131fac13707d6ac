//! `scrape_configs` out of a file.

use std::time::Duration;

use super::discoveries::{check_addresses, read_dns_sd, read_file_sd, read_groups, read_http_sd};
use super::http::read_http;
use super::keys::{DISCOVERIES, JOB, SERVER_KEYS, UNUSED};
use super::limits::Limits;
use super::protocols::{read_fallback, read_protocols};
use super::{Protocol, ScrapeConfig};
use crate::relabel::read_rules;
use crate::walk::{Fields, Walk};
use crate::yaml::Node;

/// Path of the page unless a job names its own.
const METRICS_PATH: &str = "/metrics";

/// What holds for a job that does not say it itself.
#[derive(Clone, Debug)]
pub(crate) struct ScrapeDefaults {
    pub(crate) interval: Duration,
    /// A job whose interval is shorter takes that.
    pub(crate) timeout: Duration,
    protocols: Vec<Protocol>,
    limits: Limits,
}

impl ScrapeDefaults {
    /// What holds where a file says nothing.
    pub(crate) fn new(interval: Duration, timeout: Duration) -> ScrapeDefaults {
        ScrapeDefaults { interval, timeout, protocols: Protocol::DEFAULT.into(), limits: Limits::default() }
    }

    /// Reads what a file says for all its jobs; what it does not say is as here.
    pub(crate) fn read(&self, walk: &mut Walk<'_>, fields: &Fields<'_>) -> ScrapeDefaults {
        check_unused(walk, fields);
        let (interval, timeout) = self.read_times(walk, fields);
        ScrapeDefaults {
            interval,
            timeout,
            protocols: read_protocols(walk, fields).unwrap_or_else(|| self.protocols.clone()),
            limits: Limits::read(walk, fields),
        }
    }

    /// Reads `scrape_interval` and `scrape_timeout`.
    fn read_times(&self, walk: &mut Walk<'_>, fields: &Fields<'_>) -> (Duration, Duration) {
        let interval = fields.duration(walk, "scrape_interval").unwrap_or(self.interval);
        let timeout = fields.duration(walk, "scrape_timeout");
        if timeout.is_some_and(|timeout| timeout > interval) {
            walk.complain(fields.place_of("scrape_timeout"), "scrape_timeout must not be longer than scrape_interval");
        }
        (interval, timeout.unwrap_or(self.timeout.min(interval)))
    }
}

/// Reads the jobs of one place; their names must differ.
pub(crate) fn read_scrape_configs(walk: &mut Walk<'_>, items: &[Node], defaults: &ScrapeDefaults) -> Vec<ScrapeConfig> {
    let mut configs: Vec<ScrapeConfig> = Vec::new();
    for item in items {
        let fields = Fields::of(walk, item, "a scrape_configs entry", &[JOB, UNUSED, SERVER_KEYS, DISCOVERIES]);
        let config = read_scrape_config(walk, &fields, defaults);
        let same = configs.iter().find(|other| other.job_name == config.job_name && !config.job_name.is_empty());
        if let Some(same) = same {
            let message = format!("the job_name {:?} is given twice, first at {}", config.job_name, same.place);
            walk.complain(fields.place_of("job_name"), message);
        }
        configs.push(config);
    }
    configs
}

fn read_scrape_config(walk: &mut Walk<'_>, fields: &Fields<'_>, defaults: &ScrapeDefaults) -> ScrapeConfig {
    check_unused(walk, fields);
    let (interval, timeout) = defaults.read_times(walk, fields);
    let limits = Limits::read(walk, fields).over(defaults.limits);
    let static_configs = fields.items(walk, "static_configs");
    let relabel_configs = fields.items(walk, "relabel_configs");
    let metric_relabel_configs = fields.items(walk, "metric_relabel_configs");
    if relabel_configs.is_empty() {
        check_addresses(walk, static_configs);
    }
    ScrapeConfig {
        job_name: fields.required(walk, "job_name"),
        interval,
        timeout,
        metrics_path: fields.text(walk, "metrics_path").unwrap_or_else(|| METRICS_PATH.into()),
        scheme: fields.word(walk, "scheme", &["http", "https"]).unwrap_or_else(|| "http".into()),
        params: read_params(walk, fields),
        honor_labels: fields.flag(walk, "honor_labels").unwrap_or(false),
        honor_timestamps: fields.flag(walk, "honor_timestamps").unwrap_or(true),
        track_timestamps_staleness: fields.flag(walk, "track_timestamps_staleness").unwrap_or(false),
        protocols: read_protocols(walk, fields).unwrap_or_else(|| defaults.protocols.clone()),
        fallback_protocol: read_fallback(walk, fields),
        is_compressed: fields.flag(walk, "enable_compression").unwrap_or(true),
        http: read_http(walk, fields),
        target_limit: limits.targets,
        label_limit: limits.labels,
        label_name_length_limit: limits.label_name_bytes,
        label_value_length_limit: limits.label_value_bytes,
        sample_limit: limits.samples,
        limits_growth: limits.limits_growth,
        body_size_limit: limits.body_bytes,
        static_groups: read_groups(walk, static_configs, "static"),
        file_sd: fields.items(walk, "file_sd_configs").iter().map(|item| read_file_sd(walk, item)).collect(),
        http_sd: fields.items(walk, "http_sd_configs").iter().map(|item| read_http_sd(walk, item)).collect(),
        dns_sd: fields.items(walk, "dns_sd_configs").iter().map(|item| read_dns_sd(walk, item)).collect(),
        relabel: read_rules(walk, relabel_configs),
        metric_relabel: read_rules(walk, metric_relabel_configs),
        place: fields.place,
    }
}

/// Checks the values of keys that do nothing here, so that a file that Prometheus would not take is not taken either.
fn check_unused(walk: &mut Walk<'_>, fields: &Fields<'_>) {
    for key in [
        "scrape_native_histograms",
        "scrape_classic_histograms",
        "always_scrape_classic_histograms",
        "convert_classic_histograms_to_nhcb",
        "extra_scrape_metrics",
    ] {
        fields.flag(walk, key);
    }
    for key in ["native_histogram_bucket_limit", "keep_dropped_targets"] {
        fields.count(walk, key);
    }
    fields.word(walk, "metric_name_validation_scheme", &["utf8", "legacy"]);
    fields.word(walk, "metric_name_escaping_scheme", &["allow-utf-8", "underscores", "dots", "values"]);
}

fn read_params(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Vec<(String, Vec<String>)> {
    let Some(node) = fields.get("params") else { return Vec::new() };
    let mut params: Vec<(String, Vec<String>)> =
        walk.entries(node).iter().map(|entry| (entry.key.clone(), walk.texts(&entry.value))).collect();
    params.sort();
    params
}
