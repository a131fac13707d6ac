//! From a topology file to a checked tree; from discovered addresses to targets; from targets to shares.
//!
//! Text in, checked data out: nothing here reads a disk, a clock or a socket. A file is read leniently into a tree in
//! which every value has its place, then walked; the walk reports every fault at once, and nothing downstream checks
//! again.
//!
//! ```
//! let text = "firetower: 1\ndefaults: { window: 15 }\nglobal: []\nregion: []\n";
//! let complaints = firetower_topology::read("fleet.yaml", text).unwrap_err();
//! let complaints: Vec<String> = complaints.iter().map(ToString::to_string).collect();
//! assert_eq!(complaints[1], "fleet.yaml:2:21: \"15\" needs a unit, such as 15s");
//! assert_eq!(complaints[3], "fleet.yaml:4:1: unknown key \"region\" in the topology: did you mean \"regions\"?");
//! ```

mod assign;
mod complaint;
mod consequences;
mod discovery;
mod external_labels;
mod keys;
mod metric;
mod quantity;
mod relabel;
mod restart;
mod scrape_config;
mod standalone;
mod topology;
mod walk;
mod yaml;

pub use assign::{assign, shares};
pub use complaint::Complaint;
pub use complaint::Place as FilePlace;
pub use consequences::{Consequences, DetectionTime, Load, consequences};
pub use discovery::{Resolved, ResolvedJobs, read_listed_groups, read_target_groups, resolve_jobs, resolve_targets};
pub use external_labels::expand_external_labels;
pub use firetower_model::{DnsKind, DnsSd, FileSd, HttpSd, TargetGroup};
pub use keys::key_reference;
pub use metric::{is_metric_shareable, metric_labels};
pub use quantity::{format_duration, parse_duration, parse_size};
pub use relabel::{Action, Rule, relabel};
pub use restart::needing_restart;
pub use scrape_config::{
    BODY_SIZE_LIMIT, LABEL_LIMIT, LABEL_NAME_LENGTH_LIMIT, LABEL_VALUE_LENGTH_LIMIT, Protocol, SAMPLE_LIMIT,
    ScrapeConfig, TARGET_LIMIT,
};
pub use standalone::{CheckedScrape, read_scrape_config};
pub use topology::{
    AuthFiles, Checked, Datacenter, Defaults, InboxLimits, Instance, Node, OutboxLimits, Place, Profile, QueryLimits,
    ReceiveLimits, Region, Retention, RowBudget, STORE_MEMORY, Service, TlsFiles, Topology, parse_store_memory, read,
};
