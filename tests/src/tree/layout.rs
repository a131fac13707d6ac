//! What a tree is made of, and where its monitors are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::hosts::Hosts;
use crate::ports::Ports;

/// The one job, and the datacenters there may be.
pub(super) const JOB: &str = "fleet";
pub(super) const DATACENTERS: [&str; 2] = ["dub", "ams"];
/// Where monitors answer that have a host of their own.
const HTTP: u16 = 6110;
const GRPC: u16 = 6111;

/// What a tree is made of.
#[derive(Clone, Debug)]
pub struct Layout {
    /// How many global aggregators: `global-0` and on.
    pub globals: usize,
    /// How many datacenters: `dub`, and `ams` if there are two.
    pub datacenters: usize,
    /// How many primaries in each: `dub-p0` and on.
    pub primaries: usize,
    /// How many secondaries in each: `dub-s0` and on.
    pub secondaries: usize,
    /// How many targets in each.
    pub targets: usize,
    /// How many samples a page has.
    pub series: usize,
    /// Time between two scrapes, in milliseconds.
    pub interval_ms: i64,
    /// Length of a window, in milliseconds.
    pub window_ms: i64,
    /// More arguments for the fleet.
    pub fleet: Vec<String>,
    /// More keys of the job, each `key: value`.
    pub job: Vec<String>,
    /// Where targets listen that the test itself serves; no fleet is started then.
    pub addresses: Vec<String>,
    /// More lines for the topology file.
    pub more: String,
    /// Whether children reach their parents through a [`firetower_benches::Proxy`] for each.
    pub proxied: bool,
    /// Whether the monitors have certificates and take tokens, which are made in `certs`.
    pub is_secure: bool,
    /// Whether each monitor has a host of its own, see [`Hosts`]; such a tree has to be secure.
    pub has_hosts: bool,
    /// Whether each monitor's data directory is a [`Disk`](crate::Disk) of its own.
    pub has_disks: bool,
}

impl Default for Layout {
    /// One global, one primary, two secondaries; 20 targets of 50 series every second; windows of 2 s.
    fn default() -> Layout {
        Layout {
            globals: 1,
            datacenters: 1,
            primaries: 1,
            secondaries: 2,
            targets: 20,
            series: 50,
            interval_ms: 1_000,
            window_ms: 2_000,
            fleet: Vec::new(),
            job: Vec::new(),
            addresses: Vec::new(),
            more: String::new(),
            proxied: false,
            is_secure: false,
            has_hosts: false,
            has_disks: false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) role: &'static str,
    /// Empty for a global aggregator.
    pub(super) datacenter: &'static str,
    pub(super) host: String,
    pub(super) http: u16,
    pub(super) grpc: Option<u16>,
}

/// Returns the name of the file with a datacenter's targets.
pub(super) fn targets_of(datacenter: &str) -> String {
    if datacenter == DATACENTERS[0] { "targets.json".into() } else { format!("targets-{datacenter}.json") }
}

/// Returns the name of the file with what a datacenter's targets served.
pub(super) fn log_of(datacenter: &str) -> String {
    if datacenter == DATACENTERS[0] { "fleet.log".into() } else { format!("fleet-{datacenter}.log") }
}

impl Layout {
    pub(super) fn datacenters(&self) -> &'static [&'static str] {
        &DATACENTERS[..self.datacenters]
    }

    /// Returns name, role and datacenter of each monitor.
    pub(super) fn nodes(&self) -> Vec<(String, &'static str, &'static str)> {
        let mut nodes: Vec<_> = (0..self.globals).map(|at| (format!("global-{at}"), "global", "")).collect();
        for datacenter in self.datacenters() {
            nodes.extend((0..self.primaries).map(|at| (format!("{datacenter}-p{at}"), "primary", *datacenter)));
            nodes.extend((0..self.secondaries).map(|at| (format!("{datacenter}-s{at}"), "secondary", *datacenter)));
        }
        nodes
    }
}

/// Gives each monitor a place to listen at.
pub(super) fn place(
    named: Vec<(String, &'static str, &'static str)>,
    hosts: Option<&Hosts>,
    ports: &mut Ports,
) -> Result<BTreeMap<String, Node>> {
    let mut nodes = BTreeMap::new();
    for (name, role, datacenter) in named {
        let has_grpc = role != "secondary";
        let node = match hosts {
            Some(hosts) => {
                Node { role, datacenter, host: hosts.address(&name), http: HTTP, grpc: has_grpc.then_some(GRPC) }
            }
            None => {
                let (host, http) = ("127.0.0.1".to_owned(), ports.take()?);
                Node { role, datacenter, host, http, grpc: has_grpc.then(|| ports.take()).transpose()? }
            }
        };
        nodes.insert(name, node);
    }
    Ok(nodes)
}

pub(super) fn topology(layout: &Layout, directory: &Path, nodes: &BTreeMap<String, Node>) -> Result<String> {
    let Layout { interval_ms, window_ms, .. } = layout;
    let timeout_ms = interval_ms * 8 / 10;
    let mut text = format!(
        "firetower: 1\ndefaults: {{ scrape_interval: {interval_ms}ms, scrape_timeout: {timeout_ms}ms, window: {window_ms}ms }}\n"
    );
    let monitors = |role: &str, datacenter: &str| -> String {
        let here = nodes.iter().filter(|(_, node)| node.role == role && node.datacenter == datacenter);
        let line = |(name, node): (&String, &Node)| {
            let Node { host, http, grpc, .. } = node;
            let grpc = grpc.map_or(String::new(), |port| format!(", grpc: {host}:{port}"));
            format!("{{ node: {name}, http: {host}:{http}{grpc} }}")
        };
        here.map(line).collect::<Vec<_>>().join(", ")
    };
    writeln!(text, "global: [ {} ]", monitors("global", ""))?;
    writeln!(text, "regions:\n  - region: eu-west\n    datacenters:")?;
    for datacenter in layout.datacenters() {
        writeln!(text, "      - datacenter: {datacenter}")?;
        writeln!(text, "        primaries: [ {} ]", monitors("primary", datacenter))?;
        writeln!(text, "        secondaries: [ {} ]", monitors("secondary", datacenter))?;
        let targets = directory.join(targets_of(datacenter));
        writeln!(text, "        scrape_configs:\n          - job_name: {JOB}")?;
        writeln!(text, "            file_sd_configs: [ {{ files: [ {} ] }} ]", targets.display())?;
        for key in &layout.job {
            writeln!(text, "            {key}")?;
        }
    }
    text += &layout.more;
    ensure!(nodes.len() == layout.nodes().len(), "names clash");
    Ok(text)
}
