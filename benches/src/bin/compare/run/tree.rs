//! The tree: a secondary, its primary and a global aggregator.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use firetower_benches::{Page, Running, beside, wait_for};
use firetower_model::Labels;

use crate::Common;
use crate::run::{READY, free_ports, get_text};

/// Name of the secondary, and of its data directory.
pub(crate) const SECONDARY: &str = "dub-s0";
/// How long windows and blocks wait for late samples.
pub(crate) const LATE_SECONDS: u64 = 3_600;
/// The same where blocks are short.
const LATE_SECONDS_SHORT: u64 = 30;

/// A secondary with its primary, and a global above.
pub(crate) struct Tree {
    pub(crate) secondary: Running,
    pub(crate) primary: Running,
    pub(crate) global: Running,
    pub(crate) secondary_url: String,
    pub(crate) global_url: String,
    primary_grpc_port: u16,
}

impl Tree {
    /// Starts all three over the fleet whose targets are in `directory`.
    pub(crate) fn start(common: &Common, directory: &Path) -> Result<Tree> {
        let ports = free_ports(5)?;
        let topology = directory.join("topology.yaml");
        fs::write(&topology, topology_text(common, &ports, &directory.join("targets.json")))?;
        let start = |role: &str, node: &str| start(common, directory, role, node);
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut tree = Tree {
            global: start("global", "global-0")?,
            primary: start("primary", "dub-p0")?,
            secondary: start("secondary", SECONDARY)?,
            secondary_url: url(ports[4]),
            global_url: url(ports[0]),
            primary_grpc_port: ports[3],
        };
        for port in [ports[0], ports[2], ports[4]] {
            wait_for("the tree is ready", READY, || {
                [&mut tree.global, &mut tree.primary, &mut tree.secondary].into_iter().try_for_each(Running::check)?;
                Ok(ureq::get(format!("{}/-/ready", url(port))).call().is_ok().then_some(()))
            })?;
        }
        Ok(tree)
    }

    /// Kills the secondary and starts it again over the same data; returns when that was.
    pub(crate) fn restart_secondary(&mut self, common: &Common, directory: &Path) -> Result<Instant> {
        self.secondary.kill()?;
        let started = Instant::now();
        self.secondary = start(common, directory, "secondary", SECONDARY)?;
        Ok(started)
    }

    /// Ends all three.
    pub(crate) fn stop(self) -> Result<()> {
        [self.secondary, self.primary, self.global].into_iter().try_for_each(Running::stop)
    }

    /// Returns the secondary's own metric `name`, added up over its labels.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let text = get_text(&format!("{}/metrics", self.secondary_url))?;
        let value = |line: &str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        };
        let values: Vec<f64> = text.lines().filter_map(value).collect();
        ensure!(!values.is_empty(), "the secondary has no metric {name}");
        Ok(values.iter().sum())
    }

    /// Returns how many bytes the kernel has carried from the secondary to the primary, all of gRPC included.
    pub(crate) fn socket_bytes(&self) -> Result<u64> {
        let filter = format!("dport = :{}", self.primary_grpc_port);
        let output = Command::new("ss").args(["-tinH", &filter]).output().context("run ss, of iproute2")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let acked = text.split_whitespace().filter_map(|word| word.strip_prefix("bytes_acked:"));
        let acked: Vec<u64> = acked.map(|bytes| bytes.parse().context("read ss")).collect::<Result<_>>()?;
        ensure!(!acked.is_empty(), "no connection to the primary in {text:?}");
        Ok(acked.iter().sum())
    }
}

/// Starts the monitor `node` over its data in `directory`.
fn start(common: &Common, directory: &Path, role: &str, node: &str) -> Result<Running> {
    let mut command = Command::new(beside("firetower", common.firetower.as_deref())?);
    command.args([role, "--node", node, "--topology"]).arg(directory.join("topology.yaml"));
    command.arg("--data").arg(directory.join(node));
    if let (Some(block), "secondary") = (&common.block, role) {
        command.args(["--block", block]);
    }
    Running::start(node, directory, &mut command)
}

fn topology_text(common: &Common, ports: &[u16], targets: &Path) -> String {
    let Common { interval_seconds, window_seconds, .. } = common;
    let late_seconds = if common.block.is_some() { LATE_SECONDS_SHORT.max(*window_seconds) } else { LATE_SECONDS };
    format!(
        "firetower: 1
defaults: {{ scrape_interval: {interval_seconds}s, scrape_timeout: {interval_seconds}s, window: {window_seconds}s, late_window: {late_seconds}s }}
global: [ {{ node: global-0, http: 127.0.0.1:{}, grpc: 127.0.0.1:{} }} ]
regions:
  - region: eu-west
    datacenters:
      - datacenter: dub
        primaries: [ {{ node: dub-p0, http: 127.0.0.1:{}, grpc: 127.0.0.1:{} }} ]
        secondaries: [ {{ node: dub-s0, http: 127.0.0.1:{} }} ]
        scrape_configs:
          - job_name: fleet
            file_sd_configs: [ {{ files: [ {} ], refresh_interval: 10s }} ]
",
        ports[0],
        ports[1],
        ports[2],
        ports[3],
        ports[4],
        targets.display()
    )
}

/// Returns the labels that this topology gives a target of the fleet.
pub(crate) fn target_labels(target: usize) -> Labels {
    let instance = format!("{}:9100", Page::node_name(target));
    Labels::new([("datacenter", "dub"), ("instance", instance.as_str()), ("job", "fleet"), ("region", "eu-west")])
}
