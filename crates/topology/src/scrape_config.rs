//! `scrape_configs`: how the targets of one job are found, scraped and labelled.

mod discoveries;
mod http;
mod keys;
mod limits;
mod paths;
mod protocols;
mod read;

use std::time::Duration;

use firetower_model::{DnsSd, FileSd, HttpAccess, HttpSd, TargetGroup};

use crate::complaint::Place;
use crate::relabel::Rule;

pub use limits::{
    BODY_SIZE_LIMIT, LABEL_LIMIT, LABEL_NAME_LENGTH_LIMIT, LABEL_VALUE_LENGTH_LIMIT, SAMPLE_LIMIT, TARGET_LIMIT,
};

pub(crate) use discoveries::read_groups;
pub(crate) use keys::{RULE, SECTIONS, UNUSED};
pub(crate) use limits::LIMIT_KEYS;
pub(crate) use read::{ScrapeDefaults, read_scrape_configs};

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
    /// Whether a series with timestamps of its own ends when it is missing from a page.
    pub track_timestamps_staleness: bool,
    /// The formats to ask for, the best first.
    pub protocols: Vec<Protocol>,
    /// How a page is read whose type is missing or not known; such a page fails if there is none.
    pub fallback_protocol: Option<Protocol>,
    /// Whether pages may be compressed.
    pub is_compressed: bool,
    /// How its targets are asked.
    pub http: HttpAccess,
    /// Most targets after relabelling; above it, none is scraped. 0 for any number.
    pub target_limit: u64,
    /// Most labels of a series, after relabelling; 0 for any number.
    pub label_limit: u64,
    /// Most bytes of a label's name; 0 for any number.
    pub label_name_length_limit: u64,
    /// Most bytes of a label's value; 0 for any number.
    pub label_value_length_limit: u64,
    /// Most samples that a page may have after relabelling; 0 for any number.
    pub sample_limit: u64,
    /// Whether a target that is known with few samples may not suddenly bring many: nobody has written a `sample_limit`.
    pub limits_growth: bool,
    /// Most bytes that a page may have, unpacked; 0 for any number.
    pub body_size_limit: u64,
    /// Targets written in the file itself.
    pub static_groups: Vec<TargetGroup>,
    /// Files with targets.
    pub file_sd: Vec<FileSd>,
    /// Servers that list targets.
    pub http_sd: Vec<HttpSd>,
    /// Names whose records are targets.
    pub dns_sd: Vec<DnsSd>,
    /// Rules for the labels of targets.
    pub relabel: Vec<Rule>,
    /// Rules for the labels of series.
    pub metric_relabel: Vec<Rule>,
    /// Where it is in the file.
    pub place: Place,
}

/// A format of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OpenMetrics 1.0.0.
    OpenMetrics1,
    /// OpenMetrics 0.0.1, read as 1.0.0.
    OpenMetrics0,
    /// Prometheus text 1.0.0: names may be any UTF-8.
    Text1,
    /// Prometheus text 0.0.4.
    Text0,
}

impl Protocol {
    /// The formats asked for unless a job says otherwise, as Prometheus does without native histograms.
    pub const DEFAULT: [Protocol; 4] =
        [Protocol::OpenMetrics1, Protocol::OpenMetrics0, Protocol::Text1, Protocol::Text0];
}
