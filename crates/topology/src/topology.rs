//! The topology: what the tree is made of.

mod access;
mod nodes;
mod read;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::complaint::Complaint;
use crate::quantity::parse_size;
use crate::scrape_config::ScrapeConfig;

pub use read::read;

/// A topology without faults, and what to mind about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What the file says.
    pub topology: Topology,
    /// What is in the file and does not do what it seems to, in file order.
    pub warnings: Vec<Complaint>,
}

/// The whole tree, checked: nothing downstream checks again.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// What holds unless a job says otherwise.
    pub defaults: Defaults,
    /// Labels for what leaves the tree, sorted by name.
    pub external_labels: Vec<(String, String)>,
    /// Where the monitors' certificates lie; `None` if connections are plain.
    pub tls: Option<TlsFiles>,
    /// Where the tokens lie of those who may ask over HTTP; `None` if anybody may.
    pub auth: Option<AuthFiles>,
    /// The global aggregators.
    pub globals: Vec<Node>,
    /// The regions in file order.
    pub regions: Vec<Region>,
    /// How many rows may go up.
    pub rows: RowBudget,
    /// Names of the metrics whose rows keep `instance`.
    pub promote: Vec<String>,
    /// How long data is kept.
    pub retention: Retention,
    /// Memory that each monitor's store may use, beside what it holds for each series, in bytes.
    pub store_memory: u64,
    /// How much each monitor keeps for parents that are away.
    pub outbox: OutboxLimits,
    /// How much each monitor holds of what its children send.
    pub inbox: InboxLimits,
    /// What each secondary takes of what is written to it.
    pub receive: ReceiveLimits,
    /// How much queries may need at each monitor.
    pub queries: QueryLimits,
    /// What runs on the nodes.
    pub services: Vec<Service>,
}

/// Where certificates lie, from the topology's folder on; `{node}` stands for the name of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that sign all certificates of the tree.
    pub ca_file: String,
    /// A node's certificate, and those between it and its authority.
    pub cert_file: String,
    /// A node's key.
    pub key_file: String,
}

impl TlsFiles {
    /// Returns those of `node`.
    pub fn of_node(&self, node: &str) -> TlsFiles {
        let [ca_file, cert_file, key_file] =
            [&self.ca_file, &self.cert_file, &self.key_file].map(|path| path.replace("{node}", node));
        TlsFiles { ca_file, cert_file, key_file }
    }
}

/// Where tokens lie, from the topology's folder on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthFiles {
    /// Tokens of those who may read.
    pub read_token_files: Vec<String>,
    /// Tokens of those who may operate, and read.
    pub operate_token_files: Vec<String>,
}

/// What holds unless a job says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Time between two scrapes of a target.
    pub scrape_interval: Duration,
    /// How long a scrape may take; at most `scrape_interval`.
    pub scrape_timeout: Duration,
    /// Length of a window: whole seconds that divide five minutes.
    pub window: Duration,
    /// How long a window's row can still change; at least `window`.
    pub late_window: Duration,
    /// How failures are detected.
    pub detection: Profile,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            scrape_interval: Duration::from_secs(15),
            scrape_timeout: Duration::from_secs(10),
            window: Duration::from_secs(15),
            late_window: Duration::from_secs(3600),
            detection: Profile::Fast,
        }
    }
}

/// Settings of failure detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A check every 3 s with a timeout of 2 s; down after 2 misses.
    Fast,
    /// Down after 6 s of silence.
    Standard,
    /// A heartbeat every 5 s; down after 60 s of silence, looked at every 10 s.
    Relaxed,
}

impl Profile {
    /// All of them, the fastest first.
    pub const ALL: [Profile; 3] = [Profile::Fast, Profile::Standard, Profile::Relaxed];

    /// Returns its name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Fast => "fast",
            Profile::Standard => "standard",
            Profile::Relaxed => "relaxed",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many rows may go up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowBudget {
    /// Most values of a label, per (name, job, datacenter), with which it is kept in row keys.
    pub kept_label_values: u64,
    /// Most rows per job, window and datacenter.
    pub per_job: u64,
}

impl Default for RowBudget {
    fn default() -> RowBudget {
        RowBudget { kept_label_values: 100, per_job: 20_000 }
    }
}

/// How long data is kept; no tier shorter than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Raw samples.
    pub raw: Duration,
    /// Spans of five minutes.
    pub five_minutes: Duration,
    /// Spans of an hour.
    pub one_hour: Duration,
    /// Most bytes on the disk of one monitor; 0 for any number.
    pub bytes: u64,
    /// Bytes that stay free on that disk, if not as usual.
    pub free: Option<u64>,
}

impl Default for Retention {
    fn default() -> Retention {
        const DAY: u64 = 24 * 3600;
        Retention {
            raw: Duration::from_secs(DAY),
            five_minutes: Duration::from_secs(7 * DAY),
            one_hour: Duration::from_secs(90 * DAY),
            bytes: 0,
            free: None,
        }
    }
}

/// How much a monitor keeps for parents that are away: past either limit the oldest frames go, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes of frames on its disk; at least one.
    pub bytes: u64,
    /// Age of frames; at least a window.
    pub age: Duration,
}

impl Default for OutboxLimits {
    fn default() -> OutboxLimits {
        OutboxLimits { bytes: 1 << 30, age: Duration::from_secs(24 * 3600) }
    }
}

/// How much a monitor holds of what its children send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxLimits {
    /// Bytes of memory for frames that are being received, read or applied.
    pub bytes: u64,
}

impl Default for InboxLimits {
    /// Enough for a thousand children.
    fn default() -> InboxLimits {
        InboxLimits { bytes: 64 << 20 }
    }
}

/// Least memory for frames that are being received, in bytes: a frame of some thousand rows fits, and 64 children.
const INBOX_MIN: u64 = 4 << 20;

/// What a secondary takes of what is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveLimits {
    /// How old a sample may be; `None`, or longer than that: as old as raw samples become.
    pub window: Option<Duration>,
    /// Bytes of one request, compressed or not.
    pub bytes: u64,
}

impl Default for ReceiveLimits {
    /// Several times what Prometheus and vmagent send at once.
    fn default() -> ReceiveLimits {
        ReceiveLimits { window: None, bytes: 32 << 20 }
    }
}

/// How much queries may need at a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Bytes that one query may hold at a time: 16 for each value and each sample.
    pub memory: u64,
    /// Series that one query may read, each as often as it reads it.
    pub series: u64,
    /// How many are answered at a time; the others wait.
    pub at_once: u64,
    /// How long one may take, the wait for its turn included.
    pub timeout: Duration,
}

impl Default for QueryLimits {
    /// What Prometheus allows, and the series of two full secondaries.
    fn default() -> QueryLimits {
        QueryLimits { memory: 800_000_000, series: 10_000_000, at_once: 20, timeout: Duration::from_secs(120) }
    }
}

/// Least memory of a query, in bytes: a dashboard's panel fits.
const QUERY_MEMORY_MIN: u64 = 1 << 20;
/// How many queries may be allowed at a time: each is a thread.
const QUERIES_AT_ONCE: RangeInclusive<u64> = 1..=1_000;

/// Bytes that one request may be allowed.
const RECEIVE_BYTES: RangeInclusive<u64> = 64 << 10..=1 << 30;

/// Memory that a store may use unless said otherwise, in bytes.
pub const STORE_MEMORY: u64 = 160 << 20;
/// Least memory that a store works well with, in bytes.
const STORE_MEMORY_MIN: u64 = 16 << 20;

/// Reads a size that a store can work with.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub fn parse_store_memory(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    let is_enough = bytes >= STORE_MEMORY_MIN;
    is_enough
        .then_some(bytes)
        .ok_or_else(|| "a store needs 16MiB: with less its files become small and many".to_owned())
}

/// A region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its name, unique among regions; the label `region`.
    pub name: String,
    /// Its datacenters in file order; at least one.
    pub datacenters: Vec<Datacenter>,
}

/// A datacenter.
#[derive(Clone, Debug, PartialEq)]
pub struct Datacenter {
    /// Its name, unique in the whole tree; the label `datacenter`.
    pub name: String,
    /// Name of the region that it is in.
    pub region: String,
    /// Its primaries; at least one.
    pub primaries: Vec<Node>,
    /// Its secondaries; at least one.
    pub secondaries: Vec<Node>,
    /// The jobs whose targets are here.
    pub scrape_configs: Vec<ScrapeConfig>,
}

/// A monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique in the whole tree.
    pub name: String,
    /// `host:port` where it answers over HTTP.
    pub http: String,
    /// `host:port` where its children dial it; `None` for a secondary, which has none.
    pub grpc: Option<String>,
}

/// Something that runs on nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, unique in the tree.
    pub name: String,
    /// Where it is meant to run.
    pub instances: Vec<Instance>,
}

/// One place where a service is meant to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Name of the datacenter.
    pub datacenter: String,
    /// `host:port` of the node that it runs on, a target.
    pub node: String,
}

/// Where in the tree a monitor is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place<'a> {
    /// A global aggregator.
    Global(&'a Node),
    /// A primary of a datacenter.
    Primary(&'a Datacenter, &'a Node),
    /// A secondary of a datacenter.
    Secondary(&'a Datacenter, &'a Node),
}

impl<'a> Place<'a> {
    /// Returns the monitor itself.
    pub fn node(self) -> &'a Node {
        match self {
            Place::Global(node) | Place::Primary(_, node) | Place::Secondary(_, node) => node,
        }
    }
}

impl Topology {
    /// Returns the datacenters of all regions, in file order.
    pub fn datacenters(&self) -> impl Iterator<Item = &Datacenter> {
        self.regions.iter().flat_map(|region| &region.datacenters)
    }

    /// Returns every monitor: the global aggregators, then each datacenter's primaries and secondaries.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let below = self.datacenters().flat_map(|datacenter| {
            let primaries = datacenter.primaries.iter().map(move |node| Place::Primary(datacenter, node));
            primaries.chain(datacenter.secondaries.iter().map(move |node| Place::Secondary(datacenter, node)))
        });
        self.globals.iter().map(Place::Global).chain(below)
    }

    /// Returns where the monitor of this name is.
    pub fn find(&self, node: &str) -> Option<Place<'_>> {
        self.places().find(|place| place.node().name == node)
    }
}
