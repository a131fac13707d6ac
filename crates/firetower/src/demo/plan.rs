//! Which processes the demo starts, and what is expected of them.

use std::env;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use firetower_model::Target;
use firetower_topology::{Place, Topology};

use crate::access::{Access, Right};
use crate::load;

/// The job whose targets are started as `firetower agent`.
pub(super) const AGENT_JOB: &str = "agent";

/// The job whose targets are started as node_exporter.
const NODE_JOB: &str = "node";

/// Debian's node_exporter.
const NODE_EXPORTER: &str = "prometheus-node-exporter";

/// When a process is stopped, from first to last: data flows on until nothing is left to hand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Secondary,
    Primary,
    Global,
    Target,
}

impl Stage {
    pub(super) const ALL: [Stage; 4] = [Stage::Secondary, Stage::Primary, Stage::Global, Stage::Target];
}

/// A process to start.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub name: String,
    pub stage: Stage,
    /// Where it is; empty for a global aggregator.
    pub datacenter: String,
    /// Whether it is one of those that `--break` kills.
    pub is_agent: bool,
    /// What to give this same executable; `DATA` stands for a folder of its own.
    pub arguments: Vec<OsString>,
    /// `host:port` of all its listeners, that of HTTP first.
    pub addresses: Vec<String>,
    /// How it is asked.
    pub access: Access,
    /// The page that answers 200 once it does its work.
    pub ready_path: &'static str,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Plan {
    /// In the order in which they are started.
    pub processes: Vec<Process>,
    /// Every target with its datacenter, in file order of these.
    pub targets: Vec<(String, Vec<Target>)>,
    /// How the global aggregator is asked.
    pub global: Access,
    /// Files with secrets and certificates that are not there.
    pub missing: Vec<String>,
    /// How long a window is.
    pub window: Duration,
}

/// Stands for a process's own folder in its arguments.
pub(super) const DATA: &str = "\0data";

impl Plan {
    /// Plans what `topology` names: targets first, then from the top down, so that nobody dials in vain.
    pub(super) fn of(topology: &Topology, path: &Path, folder: &Path) -> anyhow::Result<Plan> {
        let (mut targets, mut processes, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for datacenter in topology.datacenters() {
            let found = load::targets(datacenter, folder);
            if let Some(complaint) = found.complaints.first() {
                bail!("read the targets of {}: {complaint}", datacenter.name);
            }
            if let Some(warning) = found.warnings.first() {
                bail!("find the targets of {}: {warning}", datacenter.name);
            }
            for target in &found.targets {
                processes.extend(target_process(target, &datacenter.name, topology, folder)?);
            }
            targets.push((datacenter.name.clone(), found.targets));
            missing.extend(found.missing);
        }
        if processes.iter().any(|process| process.name.starts_with(NODE_JOB)) && !is_installed(NODE_EXPORTER) {
            bail!("{NODE_EXPORTER} is not installed: apt-get install {NODE_EXPORTER}");
        }
        let monitors = topology.places().map(|place| monitor_process(place, topology, path, folder));
        let mut monitors = monitors.collect::<anyhow::Result<Vec<Process>>>()?;
        monitors.sort_by_key(|process| std::cmp::Reverse(process.stage));
        processes.extend(monitors);
        let global = Access::of_node(topology, folder, None, Right::Read)?;
        Ok(Plan { processes, targets, global, missing, window: topology.defaults.window })
    }

    /// Returns the targets of a datacenter; none if there is no such.
    pub(super) fn targets_of(&self, datacenter: &str) -> &[Target] {
        self.targets.iter().find(|(name, _)| name == datacenter).map_or(&[], |(_, targets)| targets.as_slice())
    }

    /// Returns the names of the datacenters, in file order.
    pub(super) fn datacenter_names(&self) -> Vec<&str> {
        self.targets.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Sees that every port is free.
    ///
    /// # Errors
    /// Every port that is not, with the process that needs it.
    pub(super) fn check_ports(&self) -> anyhow::Result<()> {
        let mut taken = Vec::new();
        for process in &self.processes {
            for address in &process.addresses {
                if let Err(error) = TcpListener::bind(address) {
                    taken.push(format!("\n{address} for {}: {error}", process.name));
                }
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        bail!("check that the ports are free: stop what holds them, or give another --topology{}", taken.concat())
    }
}

fn is_installed(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|paths| env::split_paths(&paths).any(|folder| folder.join(program).is_file()))
}

/// Returns the process behind a target; `None` for jobs that the demo does not know, which have to run already.
fn target_process(
    target: &Target,
    datacenter: &str,
    topology: &Topology,
    folder: &Path,
) -> anyhow::Result<Option<Process>> {
    let address = target.node_key().to_owned();
    let is_agent = target.job_name == AGENT_JOB;
    let mut access = Access::plain(format!("http://{address}"));
    let (arguments, ready_path) = match target.job_name.as_str() {
        AGENT_JOB => {
            let mut arguments: Vec<OsString> = vec!["agent".into(), "--stop-on-stdin-close".into()];
            arguments.extend(["--http".into(), address.as_str().into()]);
            if target.url.starts_with("https:") {
                access = Access {
                    url: format!("https://{address}"),
                    ..Access::of_node(topology, folder, None, Right::Read)?
                };
                arguments.extend(agent_protection(topology, folder)?);
            }
            (arguments, "/-/ready")
        }
        NODE_JOB => {
            let listen = format!("--web.listen-address={address}");
            (vec!["leash".into(), "--".into(), NODE_EXPORTER.into(), listen.into()], "/")
        }
        _ => return Ok(None),
    };
    Ok(Some(Process {
        name: format!("{} {address} ({datacenter})", target.job_name),
        stage: Stage::Target,
        datacenter: datacenter.to_owned(),
        is_agent,
        arguments,
        addresses: vec![address],
        access,
        ready_path,
    }))
}

/// Returns the arguments by which an agent goes by the certificate of all agents, and takes the topology's tokens.
fn agent_protection(topology: &Topology, folder: &Path) -> anyhow::Result<Vec<OsString>> {
    let tls = topology
        .tls
        .as_ref()
        .context("the topology scrapes agents by https, and has no tls to make certificates for")?;
    let files = tls.of_node(AGENT_JOB);
    let mut arguments: Vec<OsString> = vec!["--tls-cert".into(), folder.join(files.cert_file).into()];
    arguments.extend(["--tls-key".into(), folder.join(files.key_file).into()]);
    for file in topology.auth.iter().flat_map(|auth| &auth.read_token_files) {
        arguments.extend(["--read-token-file".into(), folder.join(file).into()]);
    }
    Ok(arguments)
}

fn monitor_process(place: Place<'_>, topology: &Topology, path: &Path, folder: &Path) -> anyhow::Result<Process> {
    let (command, stage, datacenter) = match place {
        Place::Global(_) => ("global", Stage::Global, ""),
        Place::Primary(datacenter, _) => ("primary", Stage::Primary, datacenter.name.as_str()),
        Place::Secondary(datacenter, _) => ("secondary", Stage::Secondary, datacenter.name.as_str()),
    };
    let node = place.node();
    let mut arguments: Vec<OsString> = vec![command.into(), "--stop-on-stdin-close".into()];
    arguments.extend(["--topology".into(), path.as_os_str().to_owned()]);
    arguments.extend(["--node".into(), node.name.as_str().into(), "--data".into(), DATA.into()]);
    Ok(Process {
        name: format!("{command} {}", node.name),
        stage,
        datacenter: datacenter.to_owned(),
        is_agent: false,
        arguments,
        addresses: [Some(node.http.clone()), node.grpc.clone()].into_iter().flatten().collect(),
        access: Access::of_node(topology, folder, Some(&node.name), Right::Read)?,
        ready_path: "/-/ready",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_starts_what_its_topology_names() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology"));
        let path = folder.join("demo.yaml");
        let plan = Plan::of(&load::topology(&path).unwrap(), &path, folder).unwrap();
        let count = |stage| plan.processes.iter().filter(|process| process.stage == stage).count();
        assert_eq!(Stage::ALL.map(count), [6, 3, 1, 15]);
        let agents =
            |name| plan.processes.iter().filter(|process| process.is_agent && process.datacenter == name).count();
        assert_eq!((agents("dub"), agents("ams"), agents("nyc")), (4, 4, 4));
        let stages: Vec<Stage> = plan.processes.iter().map(|process| process.stage).collect();
        assert!(stages.is_sorted_by(|a, b| a >= b), "targets first, then from the top down");
        assert_eq!((plan.global.url.as_str(), plan.targets_of("dub").len()), ("https://127.0.0.1:6110", 5));
        let urls = |start: &str| plan.processes.iter().filter(|process| process.access.url.starts_with(start)).count();
        assert_eq!((urls("https:"), urls("http:")), (22, 3), "only node_exporter speaks plain text");
        let mut addresses: Vec<&String> = plan.processes.iter().flat_map(|process| &process.addresses).collect();
        let all = addresses.len();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), all, "no port twice");
    }
}
