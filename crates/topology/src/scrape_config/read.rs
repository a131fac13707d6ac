//! `scrape_configs` out of a file.

use std::time::Duration;

use firetower_model::HttpAccess;

use super::{FileSd, Protocol, ScrapeConfig, TargetGroup, refusal};
use crate::relabel::read_rules;
use crate::walk::{Fields, Walk};
use crate::yaml::Node;

const KEYS: [&str; 14] = [
    "job_name",
    "scrape_interval",
    "scrape_timeout",
    "metrics_path",
    "scheme",
    "params",
    "honor_labels",
    "honor_timestamps",
    "sample_limit",
    "body_size_limit",
    "static_configs",
    "file_sd_configs",
    "relabel_configs",
    "metric_relabel_configs",
];

/// Path of the page unless a job names its own.
const METRICS_PATH: &str = "/metrics";
/// How often the files of `file_sd_configs` are looked at again, unless a job says so itself.
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// What holds for a job that does not say it itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScrapeDefaults {
    pub(crate) interval: Duration,
    /// A job whose interval is shorter takes that.
    pub(crate) timeout: Duration,
    pub(crate) sample_limit: u64,
    pub(crate) body_size_limit: u64,
}

/// Reads the jobs of one place; their names must differ.
pub(crate) fn read_scrape_configs(walk: &mut Walk<'_>, items: &[Node], defaults: ScrapeDefaults) -> Vec<ScrapeConfig> {
    let mut configs: Vec<ScrapeConfig> = Vec::new();
    for item in items {
        let fields = Fields::new(walk, item, "a scrape_configs entry", &KEYS, advice);
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

fn advice(key: &str) -> Option<String> {
    let own = match key {
        "targets" => "targets belong in an entry of static_configs",
        "interval" => "unknown key \"interval\" in a scrape_configs entry: did you mean \"scrape_interval\"?",
        "timeout" => "unknown key \"timeout\" in a scrape_configs entry: did you mean \"scrape_timeout\"?",
        _ => return refusal(key),
    };
    Some(own.into())
}

fn read_scrape_config(walk: &mut Walk<'_>, fields: &Fields<'_>, defaults: ScrapeDefaults) -> ScrapeConfig {
    let (interval, timeout) = read_interval_and_timeout(walk, fields, defaults.interval, defaults.timeout);
    let static_configs = fields.items(walk, "static_configs");
    let relabel_configs = fields.items(walk, "relabel_configs");
    let metric_relabel_configs = fields.items(walk, "metric_relabel_configs");
    ScrapeConfig {
        job_name: fields.required(walk, "job_name"),
        interval,
        timeout,
        metrics_path: fields.text(walk, "metrics_path").unwrap_or_else(|| METRICS_PATH.into()),
        scheme: read_scheme(walk, fields),
        params: read_params(walk, fields),
        honor_labels: fields.flag(walk, "honor_labels").unwrap_or(false),
        honor_timestamps: fields.flag(walk, "honor_timestamps").unwrap_or(true),
        track_timestamps_staleness: false,
        protocols: Protocol::DEFAULT.into(),
        fallback_protocol: None,
        is_compressed: true,
        http: HttpAccess::default(),
        target_limit: 0,
        label_limit: 0,
        label_name_length_limit: 0,
        label_value_length_limit: 0,
        sample_limit: fields.count(walk, "sample_limit").unwrap_or(defaults.sample_limit),
        body_size_limit: fields.size(walk, "body_size_limit").unwrap_or(defaults.body_size_limit),
        static_groups: read_groups(walk, static_configs, "static"),
        file_sd: fields.items(walk, "file_sd_configs").iter().map(|item| read_file_sd(walk, item)).collect(),
        http_sd: Vec::new(),
        dns_sd: Vec::new(),
        relabel: read_rules(walk, relabel_configs),
        metric_relabel: read_rules(walk, metric_relabel_configs),
        place: fields.place,
    }
}

/// Reads `scrape_interval` and `scrape_timeout` of a job or of the defaults.
pub(crate) fn read_interval_and_timeout(
    walk: &mut Walk<'_>,
    fields: &Fields<'_>,
    interval: Duration,
    timeout: Duration,
) -> (Duration, Duration) {
    let interval = fields.duration(walk, "scrape_interval").unwrap_or(interval);
    let own_timeout = fields.duration(walk, "scrape_timeout");
    if own_timeout.is_some_and(|timeout| timeout > interval) {
        walk.complain(fields.place_of("scrape_timeout"), "scrape_timeout must not be longer than scrape_interval");
    }
    (interval, own_timeout.unwrap_or(timeout.min(interval)))
}

fn read_scheme(walk: &mut Walk<'_>, fields: &Fields<'_>) -> String {
    let scheme = fields.text(walk, "scheme").unwrap_or_else(|| "http".into());
    if !matches!(scheme.as_str(), "http" | "https") {
        walk.complain(fields.place_of("scheme"), format!("{scheme:?} must be http or https"));
    }
    scheme
}

fn read_params(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Vec<(String, Vec<String>)> {
    let Some(node) = fields.get("params") else { return Vec::new() };
    let mut params: Vec<(String, Vec<String>)> =
        walk.entries(node).iter().map(|entry| (entry.key.clone(), walk.texts(&entry.value))).collect();
    params.sort();
    params
}

/// Reads groups of targets; the source of each is `source` with its number.
pub(crate) fn read_groups(walk: &mut Walk<'_>, items: &[Node], source: &str) -> Vec<TargetGroup> {
    let mut groups = Vec::with_capacity(items.len());
    for (number, item) in items.iter().enumerate() {
        let fields = Fields::new(walk, item, "a group of targets", &["targets", "labels"], |_| None);
        let addresses = fields.items(walk, "targets");
        groups.push(TargetGroup {
            source: format!("{source}:{number}"),
            targets: addresses.iter().filter_map(|node| walk.text_as(node, read_address)).collect(),
            labels: fields.labels(walk, "labels"),
        });
    }
    groups
}

fn read_address(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a target must not be empty".into()),
        _ if text.contains('/') => {
            Err(format!("{text:?} is not host:port: a path belongs in metrics_path, http or https in scheme"))
        }
        _ => Ok(text.to_owned()),
    }
}

fn read_file_sd(walk: &mut Walk<'_>, node: &Node) -> FileSd {
    let fields = Fields::new(walk, node, "a file_sd_configs entry", &["files", "refresh_interval"], |_| None);
    let files = fields.items(walk, "files");
    if files.is_empty() {
        walk.complain(fields.place, "a file_sd_configs entry needs at least one name under \"files\"");
    }
    FileSd {
        files: files.iter().filter_map(|node| walk.text_as(node, read_pattern)).collect(),
        refresh_interval: fields.duration(walk, "refresh_interval").unwrap_or(REFRESH_INTERVAL),
    }
}

fn read_pattern(text: &str) -> Result<String, String> {
    let (folder, name) = text.rsplit_once('/').unwrap_or(("", text));
    let is_read = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"].iter().any(|end| name.ends_with(end));
    if is_read && !folder.contains('*') && name.matches('*').count() <= 1 {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} must end in .json, .yml or .yaml and may hold one *, in its last part"))
}
