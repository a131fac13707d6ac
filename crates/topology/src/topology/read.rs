//! The topology out of its file.

use std::time::Duration;

use super::access::{read_auth, read_tls};
use super::nodes::{Tier, Used, check_address};
use super::{
    Checked, Datacenter, Defaults, INBOX_MIN, InboxLimits, Instance, OutboxLimits, Profile, QUERIES_AT_ONCE,
    QUERY_MEMORY_MIN, QueryLimits, RECEIVE_BYTES, ReceiveLimits, Region, Retention, RowBudget, STORE_MEMORY, Service,
    Topology, parse_store_memory,
};
use crate::complaint::Complaint;
use crate::scrape_config::{LIMIT_KEYS, ScrapeDefaults, read_scrape_configs};
use crate::walk::{Fields, Walk, nearest};
use crate::yaml::{self, Node, Value};

/// The version of the file's format that this release reads.
const VERSION: &str = "1";

const KEYS: [&str; 19] = [
    "firetower",
    "defaults",
    "external_labels",
    "tls",
    "auth",
    "global",
    "regions",
    "rows",
    "promote",
    "retention",
    "store_memory",
    "outbox",
    "inbox",
    "receive",
    "queries",
    "services",
    "rule_files",
    "alerting",
    "distributions",
];

/// Keys that are accepted for later releases and do nothing yet.
const NOT_IN_FORCE: [&str; 3] = ["rule_files", "alerting", "distributions"];

/// Windows of this length and shorter ones that divide it fill the tier `5m` without a rest.
const WINDOW_MAX: Duration = Duration::from_secs(300);

/// Reads and checks a topology file. `file_name` is only for the complaints.
///
/// # Errors
/// Every fault found, each with its line and column, in file order, so that one edit can mend them all.
pub fn read(file_name: &str, text: &str) -> Result<Checked, Vec<Complaint>> {
    let mut walk = Walk::new(file_name);
    let topology = match yaml::parse(text) {
        Ok(tree) => Some(read_topology(&mut walk, &tree)),
        Err(fault) => {
            walk.complain(fault.place, fault.message);
            None
        }
    };
    let warnings = walk.finish()?;
    Ok(Checked { topology: topology.expect("a tree that is missing is complained about"), warnings })
}

fn read_topology(walk: &mut Walk<'_>, tree: &Node) -> Topology {
    let fields = Fields::new(walk, tree, "the topology", &KEYS, |key| misplaced(key, ""));
    check_version(walk, &fields);
    for entry in NOT_IN_FORCE.iter().filter_map(|key| fields.entry(key)) {
        if !is_empty(&entry.value) {
            walk.warn(entry.key_place, format!("{} is not in force yet: this release reads over it", entry.key));
        }
    }
    let (defaults, scrape_defaults) = read_defaults(walk, &fields);
    let tls = fields.get("tls").map(|node| read_tls(walk, node));
    let auth = fields.get("auth").map(|node| read_auth(walk, node));
    let mut used = Used::new(tls.is_some());
    let items = fields.items(walk, "global");
    let globals = used.nodes(walk, items, Tier::Global);
    if globals.is_empty() {
        walk.complain(fields.place_of("global"), "the topology needs at least one node under \"global\"");
    }
    let regions: Vec<Region> =
        fields.items(walk, "regions").iter().map(|item| read_region(walk, item, &mut used, &scrape_defaults)).collect();
    if regions.is_empty() {
        walk.complain(fields.place_of("regions"), "the topology needs at least one region under \"regions\"");
    }
    let services = fields.items(walk, "services");
    let memory = fields.get("store_memory").and_then(|node| walk.text_as(node, parse_store_memory));
    Topology {
        defaults,
        external_labels: fields.labels(walk, "external_labels"),
        tls,
        auth,
        globals,
        rows: read_rows(walk, &fields),
        promote: fields.texts(walk, "promote"),
        retention: read_retention(walk, &fields),
        store_memory: memory.unwrap_or(STORE_MEMORY),
        outbox: read_outbox(walk, &fields, defaults.window),
        inbox: read_inbox(walk, &fields),
        receive: read_receive(walk, &fields),
        queries: read_queries(walk, &fields),
        services: services.iter().map(|item| read_service(walk, item, &mut used, &regions)).collect(),
        regions,
    }
}

/// Returns the sentence for a key that belongs elsewhere, `here` being where in the file it was met.
fn misplaced(key: &str, here: &str) -> Option<String> {
    let home = match key {
        "scrape_configs" => "under a datacenter, since targets are scraped from the datacenter that they are in",
        "static_configs" | "file_sd_configs" | "relabel_configs" | "metric_relabel_configs" | "job_name" => {
            "in an entry of a datacenter's scrape_configs"
        }
        "targets" => "in an entry of static_configs, in a job of a datacenter's scrape_configs",
        "datacenters" | "datacenter" if here != "region" => "under an entry of regions",
        "primaries" | "secondaries" => "under a datacenter",
        "scrape_interval" | "scrape_timeout" | "window" | "late_window" | "detection" => "under defaults",
        key if LIMIT_KEYS.contains(&key) => "under defaults or in an entry of a datacenter's scrape_configs",
        _ => return None,
    };
    Some(format!("{key} belongs {home}"))
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Text(_) => false,
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

fn check_version(walk: &mut Walk<'_>, fields: &Fields<'_>) {
    match fields.get("firetower") {
        None => walk.complain(fields.place, "the topology must say its version: firetower: 1"),
        Some(node) => {
            walk.text_as(node, |text| match text {
                VERSION => Ok(()),
                _ => Err(format!("version {text:?} of the topology is not known: this release reads version 1")),
            });
        }
    }
}

fn read_defaults(walk: &mut Walk<'_>, fields: &Fields<'_>) -> (Defaults, ScrapeDefaults) {
    const KEYS: [&str; 6] =
        ["scrape_interval", "scrape_timeout", "scrape_protocols", "window", "late_window", "detection"];
    let ours = Defaults::default();
    let scrape = ScrapeDefaults::new(ours.scrape_interval, ours.scrape_timeout);
    let Some(node) = fields.get("defaults") else { return (ours, scrape) };
    let fields = Fields::new(walk, node, "defaults", &[&KEYS[..], &LIMIT_KEYS].concat(), |_| None);
    let scrape = scrape.read(walk, &fields);
    let window = fields.duration(walk, "window").unwrap_or(ours.window);
    let divides = window.subsec_nanos() == 0 && WINDOW_MAX.as_secs().is_multiple_of(window.as_secs());
    if !divides {
        let message = "window must be whole seconds that divide 5m, such as 5s, 10s, 15s, 30s or 1m";
        walk.complain(fields.place_of("window"), message);
    }
    let late_window = fields.duration(walk, "late_window").unwrap_or(ours.late_window);
    if late_window < window {
        walk.complain(fields.place_of("late_window"), "late_window must not be shorter than window");
    }
    let detection = fields.get("detection").and_then(|node| walk.text_as(node, parse_profile));
    let detection = detection.unwrap_or(ours.detection);
    let (scrape_interval, scrape_timeout) = (scrape.interval, scrape.timeout);
    (Defaults { scrape_interval, scrape_timeout, window, late_window, detection }, scrape)
}

fn parse_profile(text: &str) -> Result<Profile, String> {
    let found = Profile::ALL.into_iter().find(|profile| profile.as_str() == text);
    found.ok_or_else(|| format!("detection {text:?} is none of fast, standard and relaxed"))
}

fn read_region(walk: &mut Walk<'_>, item: &Node, used: &mut Used, defaults: &ScrapeDefaults) -> Region {
    let fields = Fields::new(walk, item, "a region", &["region", "datacenters"], |key| misplaced(key, "region"));
    let name = used.name(walk, &fields, "region");
    let items = fields.items(walk, "datacenters");
    if items.is_empty() {
        walk.complain(fields.place, format!("the region {name:?} has no datacenter"));
    }
    let datacenters = items.iter().map(|item| read_datacenter(walk, item, used, defaults, &name)).collect();
    Region { name, datacenters }
}

fn read_datacenter(
    walk: &mut Walk<'_>,
    item: &Node,
    used: &mut Used,
    defaults: &ScrapeDefaults,
    region: &str,
) -> Datacenter {
    const KEYS: [&str; 4] = ["datacenter", "primaries", "secondaries", "scrape_configs"];
    let fields = Fields::new(walk, item, "a datacenter", &KEYS, |key| misplaced(key, "datacenter"));
    let name = used.name(walk, &fields, "datacenter");
    let items = fields.items(walk, "primaries");
    let primaries = used.nodes(walk, items, Tier::Primary);
    if primaries.is_empty() {
        walk.complain(fields.place, format!("the datacenter {name:?} has no primary"));
    }
    let items = fields.items(walk, "secondaries");
    let secondaries = used.nodes(walk, items, Tier::Secondary);
    if secondaries.is_empty() {
        walk.complain(fields.place, format!("the datacenter {name:?} has no secondary"));
    }
    let items = fields.items(walk, "scrape_configs");
    let scrape_configs = read_scrape_configs(walk, items, defaults);
    Datacenter { name, region: region.to_owned(), primaries, secondaries, scrape_configs }
}

fn read_rows(walk: &mut Walk<'_>, fields: &Fields<'_>) -> RowBudget {
    let ours = RowBudget::default();
    let Some(node) = fields.get("rows") else { return ours };
    let fields = Fields::new(walk, node, "rows", &["kept_label_values", "per_job"], |_| None);
    RowBudget {
        kept_label_values: fields.count(walk, "kept_label_values").unwrap_or(ours.kept_label_values),
        per_job: fields.count(walk, "per_job").unwrap_or(ours.per_job),
    }
}

fn read_retention(walk: &mut Walk<'_>, fields: &Fields<'_>) -> Retention {
    let ours = Retention::default();
    let Some(node) = fields.get("retention") else { return ours };
    let fields = Fields::new(walk, node, "retention", &["raw", "5m", "1h", "bytes", "free"], |_| None);
    let raw = fields.duration(walk, "raw").unwrap_or(ours.raw);
    // A tier that the file leaves out is kept for at least as long as the finer one.
    let five_minutes = fields.duration(walk, "5m").unwrap_or(ours.five_minutes.max(raw));
    let one_hour = fields.duration(walk, "1h").unwrap_or(ours.one_hour.max(five_minutes));
    for (key, kept, finer_key, finer) in [("5m", five_minutes, "raw", raw), ("1h", one_hour, "5m", five_minutes)] {
        if kept < finer {
            walk.complain(fields.place_of(key), format!("{key:?} must not be kept for less time than {finer_key:?}"));
        }
    }
    let (bytes, free) = (fields.size(walk, "bytes").unwrap_or(ours.bytes), fields.size(walk, "free"));
    Retention { raw, five_minutes, one_hour, bytes, free }
}

fn read_outbox(walk: &mut Walk<'_>, fields: &Fields<'_>, window: Duration) -> OutboxLimits {
    let ours = OutboxLimits::default();
    let Some(node) = fields.get("outbox") else { return ours };
    let fields = Fields::new(walk, node, "outbox", &["bytes", "age"], |_| None);
    let limits = OutboxLimits {
        bytes: fields.size(walk, "bytes").unwrap_or(ours.bytes),
        age: fields.duration(walk, "age").unwrap_or(ours.age),
    };
    if limits.bytes == 0 {
        walk.complain(fields.place_of("bytes"), "an outbox of 0 bytes could send nothing");
    }
    if limits.age < window {
        walk.complain(fields.place_of("age"), "an outbox must keep frames for a window at least");
    }
    limits
}

fn read_inbox(walk: &mut Walk<'_>, fields: &Fields<'_>) -> InboxLimits {
    let ours = InboxLimits::default();
    let Some(node) = fields.get("inbox") else { return ours };
    let fields = Fields::new(walk, node, "inbox", &["bytes"], |_| None);
    let bytes = fields.size(walk, "bytes").unwrap_or(ours.bytes);
    if bytes < INBOX_MIN {
        walk.complain(fields.place_of("bytes"), "an inbox needs 4MiB at least: frames of some thousand rows must fit");
    }
    InboxLimits { bytes }
}

fn read_receive(walk: &mut Walk<'_>, fields: &Fields<'_>) -> ReceiveLimits {
    let ours = ReceiveLimits::default();
    let Some(node) = fields.get("receive") else { return ours };
    let fields = Fields::new(walk, node, "receive", &["window", "bytes"], |_| None);
    let bytes = fields.size(walk, "bytes").unwrap_or(ours.bytes);
    if !RECEIVE_BYTES.contains(&bytes) {
        walk.complain(fields.place_of("bytes"), "a request may be given from 64KiB to 1GiB");
    }
    ReceiveLimits { window: fields.duration(walk, "window"), bytes }
}

fn read_queries(walk: &mut Walk<'_>, fields: &Fields<'_>) -> QueryLimits {
    let ours = QueryLimits::default();
    let Some(node) = fields.get("queries") else { return ours };
    let fields = Fields::new(walk, node, "queries", &["memory", "series", "at_once", "timeout"], |_| None);
    let limits = QueryLimits {
        memory: fields.size(walk, "memory").unwrap_or(ours.memory),
        series: fields.count(walk, "series").unwrap_or(ours.series),
        at_once: fields.count(walk, "at_once").unwrap_or(ours.at_once),
        timeout: fields.duration(walk, "timeout").unwrap_or(ours.timeout),
    };
    if limits.memory < QUERY_MEMORY_MIN {
        walk.complain(fields.place_of("memory"), "a query needs 1MiB at least: 65,536 values");
    }
    if limits.series == 0 {
        walk.complain(fields.place_of("series"), "a query that may read no series has no answer");
    }
    if !QUERIES_AT_ONCE.contains(&limits.at_once) {
        walk.complain(fields.place_of("at_once"), "from 1 to 1000 queries may be answered at a time");
    }
    limits
}

fn read_service(walk: &mut Walk<'_>, item: &Node, used: &mut Used, regions: &[Region]) -> Service {
    let known = ["service", "instances"];
    let fields = Fields::new(walk, item, "a service", &known, |key| {
        let instead = "a service has a name and its instances; rules of redundancy come in a later one";
        nearest(key, &known).is_none().then(|| format!("{key} is not supported by this release: {instead}"))
    });
    let name = used.name(walk, &fields, "service");
    let items = fields.items(walk, "instances");
    let instances = items.iter().map(|item| read_instance(walk, item, regions)).collect();
    Service { name, instances }
}

fn read_instance(walk: &mut Walk<'_>, item: &Node, regions: &[Region]) -> Instance {
    let fields = Fields::new(walk, item, "an instance of a service", &["datacenter", "node"], |_| None);
    let datacenter = fields.required(walk, "datacenter");
    let is_known = regions.iter().flat_map(|region| &region.datacenters).any(|known| known.name == datacenter);
    if !is_known && !datacenter.is_empty() {
        walk.complain(fields.place_of("datacenter"), format!("there is no datacenter {datacenter:?}"));
    }
    let node = fields.required(walk, "node");
    if let Err(message) = check_address(&node).or_else(|message| if node.is_empty() { Ok(()) } else { Err(message) }) {
        walk.complain(fields.place_of("node"), message);
    }
    Instance { datacenter, node }
}
