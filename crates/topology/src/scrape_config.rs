//! `scrape_configs`: how the targets of one job are found, scraped and labelled.

mod advice;
mod read;

use std::time::Duration;

use crate::complaint::Place;
use crate::relabel::Rule;

pub(crate) use advice::refusal;
pub(crate) use read::{ScrapeDefaults, read_groups, read_interval_and_timeout, read_scrape_configs};

/// One entry of `scrape_configs`, checked; every value that the file leaves out is filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeConfig {
    /// Its name, unique in its datacenter; the default of the label `job`.
    pub job_name: String,
    /// Time between two scrapes of a target.
    pub interval: Duration,
    /// How long a scrape may take; at most `interval`.
    pub timeout: Duration,
    /// Path of the page; `/metrics` unless given.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Parameters of the URL with all their values, sorted by name.
    pub params: Vec<(String, Vec<String>)>,
    /// Whether a page's own label wins over its target's.
    pub honor_labels: bool,
    /// Whether a page's own timestamps count.
    pub honor_timestamps: bool,
    /// Most samples that a page may have after relabelling; 0 for any number.
    pub sample_limit: u64,
    /// Most bytes that a page may have, unpacked; 0 for any number.
    pub body_size_limit: u64,
    /// Targets written in the file itself.
    pub static_groups: Vec<TargetGroup>,
    /// Files with targets.
    pub file_sd: Vec<FileSd>,
    /// Rules for the labels of targets.
    pub relabel: Vec<Rule>,
    /// Rules for the labels of series.
    pub metric_relabel: Vec<Rule>,
    /// Where it is in the file.
    pub place: Place,
}

/// Targets that share labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Where it comes from: `static:0`, or the file and its place in there, such as `targets/dub.json:0`.
    pub source: String,
    /// Their addresses, `host:port`.
    pub targets: Vec<String>,
    /// Their labels, sorted by name.
    pub labels: Vec<(String, String)>,
}

/// Files that list targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSd {
    /// Paths as written, relative to the topology file; the last part may hold one `*`.
    pub files: Vec<String>,
    /// How long until the files are looked at again.
    pub refresh_interval: Duration,
}
