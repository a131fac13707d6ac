//! A whole tree of real processes over a simulated fleet.

mod layout;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_benches::{Page, Proxy, Response, read_log};
use tempfile::TempDir;

use crate::answers::{Answers, Dropped, RawSeries, Rows};
use crate::binaries;
use crate::broken::{Broken, LinkFault};
use crate::disk::Disk;
use crate::expect::{Grid, check_coverage, check_rows, expected_rows, join, without};
use crate::hosts::Hosts;
use crate::ports::Ports;
use crate::process::Process;
use crate::tree::layout::{DATACENTERS, JOB, Node, log_of, place, targets_of, topology};
use crate::wait::{now_ms, wait_for};

pub use layout::Layout;

/// How long a process may take to be ready, and a window to be whole at the top, on a busy machine.
const READY: Duration = Duration::from_secs(60);
/// How long a process may take to stop.
pub(crate) const STOP: Duration = Duration::from_secs(40);
/// What stands between a process and the system's clock, from Debian's package `faketime`.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A running tree; everything is killed when this is dropped.
#[derive(Debug)]
pub struct Tree {
    layout: Layout,
    nodes: BTreeMap<String, Node>,
    running: BTreeMap<String, Process>,
    /// What `faketime` is told of the system's clock of a monitor, in a file that it reads again all the time.
    fake_clocks: BTreeMap<String, PathBuf>,
    /// One for each datacenter.
    fleets: Vec<Process>,
    started_ms: i64,
    proxies: BTreeMap<String, Proxy>,
    hosts: Option<Hosts>,
    disks: BTreeMap<String, Disk>,
    _ports: Ports,
    // Last, so that the processes are gone before their files are.
    directory: TempDir,
}

impl Tree {
    /// Starts fleet and monitors, and waits until all monitors are ready.
    fn start(layout: Layout) -> Result<Tree> {
        let directory = tempfile::Builder::new().prefix("firetower-tree-").tempdir()?;
        let mut ports = Ports::claim()?;
        let named = layout.nodes();
        let names = named.iter().map(|(name, ..)| name.clone()).collect();
        let hosts = layout.has_hosts.then(|| Hosts::start(ports.index(), names)).transpose()?;
        let fleets = if layout.addresses.is_empty() {
            let of = |&datacenter: &&str| start_fleet(&layout, directory.path(), datacenter, hosts.as_ref());
            layout.datacenters().iter().map(of).collect::<Result<_>>()?
        } else {
            let groups = serde_json::json!([{ "targets": layout.addresses }]);
            fs::write(directory.path().join("targets.json"), groups.to_string())?;
            Vec::new()
        };
        let nodes = place(named, hosts.as_ref(), &mut ports)?;
        let topology = topology(&layout, directory.path(), &nodes)?;
        fs::write(directory.path().join("topology.yaml"), &topology)?;
        let topology = if layout.is_secure { secured(topology, directory.path())? } else { topology };
        let proxies = if layout.proxied { start_proxies(&nodes)? } else { BTreeMap::new() };
        for role in ["primary", "secondary"] {
            fs::write(directory.path().join(format!("{role}.yaml")), seen_by(role, &topology, &nodes, &proxies))?;
        }
        let data = directory.path().join("data");
        let disked = nodes.keys().filter(|_| layout.has_disks);
        let disks = disked.map(|name| Ok((name.clone(), Disk::mount(&data.join(name))?))).collect::<Result<_>>()?;
        let (running, fake_clocks, started_ms) = (BTreeMap::new(), BTreeMap::new(), now_ms());
        let mut tree = Tree {
            layout,
            nodes,
            running,
            fake_clocks,
            fleets,
            started_ms,
            proxies,
            hosts,
            disks,
            _ports: ports,
            directory,
        };
        for name in tree.node_names() {
            tree.launch(&name)?;
        }
        for name in tree.node_names() {
            tree.wait_ready(&name)?;
        }
        Ok(tree)
    }

    /// Starts a tree, and checks something with it; if that fails, the tree's files are kept.
    ///
    /// # Errors
    /// What went wrong, what each monitor said last, and where the files are.
    pub fn check(layout: Layout, check: impl FnOnce(&mut Tree) -> Result<()>) -> Result<()> {
        let mut tree = Tree::start(layout)?;
        let Err(error) = check(&mut tree) else { return Ok(()) };
        let said: Vec<String> =
            tree.running.iter().map(|(name, process)| format!("--- {name}:\n{}", process.last_lines())).collect();
        tree.directory.disable_cleanup(true);
        Err(error.context(format!("files are kept in {}\n{}", tree.directory.path().display(), said.join("\n"))))
    }

    /// Returns the names of all monitors.
    pub fn node_names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// Returns the names of all secondaries.
    pub fn secondaries(&self) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| node.role == "secondary").map(|(name, _)| name.clone()).collect()
    }

    /// Returns the names of the parents of the monitor `name`.
    ///
    /// # Panics
    /// If there is no such monitor.
    pub fn parents(&self, name: &str) -> Vec<String> {
        let child = self.node(name);
        let is_parent = |node: &Node| match child.role {
            "secondary" => node.role == "primary" && node.datacenter == child.datacenter,
            "primary" => node.role == "global",
            _ => false,
        };
        self.nodes.iter().filter(|(_, node)| is_parent(node)).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the names of the children of the monitor `name`.
    pub fn children(&self, name: &str) -> Vec<String> {
        let is_child = |child: &&String| self.parents(child).iter().any(|parent| parent == name);
        self.nodes.keys().filter(is_child).cloned().collect()
    }

    /// Returns the datacenter of the monitor `name`, empty for a global aggregator.
    ///
    /// # Panics
    /// If there is no such monitor.
    pub fn datacenter(&self, name: &str) -> &'static str {
        self.node(name).datacenter
    }

    fn node(&self, name: &str) -> &Node {
        self.nodes.get(name).unwrap_or_else(|| panic!("no node {name}"))
    }

    /// Breaks the way from `child` to `parent` until what this returns is repaired.
    ///
    /// # Errors
    /// If the monitors have no hosts of their own, or it cannot be broken.
    pub fn break_link(&self, child: &str, parent: &str, fault: LinkFault) -> Result<Broken> {
        let port = self.node(parent).grpc.with_context(|| format!("{parent} has no children"))?;
        self.hosts()?.break_link(child, (parent, port), fault)
    }

    /// Takes the host of the monitor `name` off the network until what this returns is repaired.
    ///
    /// # Errors
    /// If the monitors have no hosts of their own.
    pub fn unplug(&self, name: &str) -> Result<Broken> {
        self.hosts()?.unplug(name)
    }

    /// Returns where the monitor `name` takes its children's calls.
    ///
    /// # Errors
    /// If it takes none.
    pub fn grpc_address(&self, name: &str) -> Result<String> {
        let Node { host, grpc, .. } = self.node(name);
        Ok(format!("{host}:{}", grpc.with_context(|| format!("{name} has no children"))?))
    }

    fn hosts(&self) -> Result<&Hosts> {
        self.hosts.as_ref().context("the monitors have no hosts of their own")
    }

    /// Returns the disk of the monitor `name`.
    ///
    /// # Panics
    /// If the monitors have none of their own.
    pub fn disk(&self, name: &str) -> &Disk {
        &self.disks[name]
    }

    /// Returns the data directory of the monitor `name`.
    pub fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join("data").join(name)
    }

    /// Runs `firetower` with `arguments` on the host of the monitor `name`; returns what it prints.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(name)?;
        let output = command.args(arguments).output().context("run firetower")?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn command(&self, name: &str) -> Result<Command> {
        let program = binaries::firetower()?;
        Ok(self.hosts.as_ref().map_or_else(|| Command::new(&program), |hosts| hosts.command(name, &program)))
    }

    /// Returns where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the topology file.
    pub fn topology(&self) -> PathBuf {
        self.directory.path().join("topology.yaml")
    }

    /// Returns the process of the monitor `name`, to take readings of.
    ///
    /// # Errors
    /// If it does not run.
    pub fn process_id(&self, name: &str) -> Result<u32> {
        self.running.get(name).map(Process::id).with_context(|| format!("{name} does not run"))
    }

    /// Returns the way to the parent `name`.
    ///
    /// # Panics
    /// If the tree is not proxied, or there is no such parent.
    pub fn proxy(&self, name: &str) -> &Proxy {
        self.proxies.get(name).unwrap_or_else(|| panic!("no proxy for {name}"))
    }

    /// Returns how many files and sockets the monitor `name` has open.
    ///
    /// # Errors
    /// If it does not run.
    pub fn open_files(&self, name: &str) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.process_id(name)?))?.count())
    }

    /// Asks the monitor `name`, as somebody who may read.
    ///
    /// # Panics
    /// If there is no such monitor.
    pub fn ask(&self, name: &str) -> Answers {
        let Node { host, http, .. } = self.node(name);
        if !self.layout.is_secure {
            return Answers::of_port(*http);
        }
        let certificates = self.directory.path().join("certs");
        Answers::of_tls(&format!("{host}:{http}"), &certificates.join("ca.pem"))
            .and_then(|answers| answers.with_token(&certificates.join("read.token")))
            .expect("certificates and tokens were made")
    }

    /// Returns the port on which the monitor `name` answers.
    ///
    /// # Panics
    /// If there is no such monitor.
    pub fn port(&self, name: &str) -> u16 {
        self.node(name).http
    }

    /// Returns what the monitor `name` has logged so far.
    ///
    /// # Errors
    /// If it does not run.
    pub fn said(&self, name: &str) -> Result<String> {
        self.running.get(name).map(Process::stderr).with_context(|| format!("{name} does not run"))
    }

    /// Starts the monitor `name`, on the data that it left, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready.
    pub fn restart(&mut self, name: &str) -> Result<()> {
        self.launch(name)?;
        self.wait_ready(name)
    }

    /// Sees that all monitors that were started, and not ended, still run.
    ///
    /// # Errors
    /// If one has ended by itself, with what it said last.
    pub fn check_running(&mut self) -> Result<()> {
        self.running.values_mut().try_for_each(Process::check_running)
    }

    /// Kills the monitor `name` with SIGKILL.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.running.remove(name).with_context(|| format!("{name} does not run"))?.kill()
    }

    /// Stops the monitor `name` with SIGTERM and waits until it has ended.
    ///
    /// # Errors
    /// If it does not run or does not end.
    pub fn stop(&mut self, name: &str) -> Result<ExitStatus> {
        let mut process = self.running.remove(name).with_context(|| format!("{name} does not run"))?;
        process.terminate()?;
        process.wait(STOP)
    }

    /// Sends a signal to the monitor `name`, by the signal's name.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, name: &str, signal: &str) -> Result<()> {
        self.running.get(name).with_context(|| format!("{name} does not run"))?.signal(signal)
    }

    /// Stops all targets, so that nothing answers any more, and waits until their logs are whole.
    ///
    /// # Errors
    /// If they do not end well.
    pub fn stop_fleet(&mut self) -> Result<()> {
        ensure!(!self.fleets.is_empty(), "no fleet runs");
        for mut fleet in self.fleets.drain(..) {
            fleet.terminate()?;
            let status = fleet.wait(STOP)?;
            ensure!(status.success(), "fleet: {status}");
        }
        Ok(())
    }

    /// Takes all targets out of the lists, so that no more is scraped.
    ///
    /// # Errors
    /// If the lists cannot be written.
    pub fn empty_lists(&self) -> Result<()> {
        for datacenter in self.layout.datacenters() {
            let (list, new) = (targets_of(datacenter), format!("new-{}", targets_of(datacenter)));
            fs::write(self.directory.path().join(&new), "[]")?;
            fs::rename(self.directory.path().join(new), self.directory.path().join(list))?;
        }
        Ok(())
    }

    /// Returns what the fleet of the first datacenter has served so far.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn log(&self) -> Result<Vec<Response>> {
        self.log_of(DATACENTERS[0])
    }

    /// Returns what the fleet of a datacenter has served so far.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn log_of(&self, datacenter: &str) -> Result<Vec<Response>> {
        read_log(&self.directory.path().join(log_of(datacenter)))
    }

    /// Returns the names of the datacenters.
    pub fn datacenters(&self) -> &'static [&'static str] {
        self.layout.datacenters()
    }

    /// Returns the page that the fleet shows, for fleets without decimals and resets.
    pub fn page(&self) -> Page {
        Page::new(1, self.layout.series)
    }

    /// Returns the raw samples that all running secondaries hold, series of one name joined, in order of the labels.
    ///
    /// # Errors
    /// If one does not answer.
    pub fn raw(&self) -> Result<Vec<RawSeries>> {
        let running = self.secondaries().into_iter().filter(|name| self.running.contains_key(name));
        Ok(join(running.map(|name| self.raw_of(&name)).collect::<Result<Vec<_>>>()?))
    }

    /// Returns the raw samples that the secondary `name` holds.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn raw_of(&self, name: &str) -> Result<Vec<RawSeries>> {
        let age_seconds = (now_ms() - self.started_ms) / 1_000 + 30;
        self.ask(name).series(&format!("{{job=\"{JOB}\"}}[{age_seconds}s]"))
    }

    /// Returns the rows of the windows of `grid` at the monitor `name`.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn rows(&self, name: &str, grid: Grid) -> Result<Rows> {
        self.ask(name).rows(JOB, grid.start_ms, grid.end_ms)
    }

    /// Returns the labels that rows do not keep, by what the monitor `name` says.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn kept(&self, name: &str) -> Result<Vec<Dropped>> {
        self.ask(name).kept()
    }

    /// Returns the windows from the first after `start_ms` to the last that has ended.
    pub fn grid_since(&self, start_ms: i64) -> Grid {
        let window_ms = self.layout.window_ms;
        let end_ms = now_ms().div_euclid(window_ms) * window_ms;
        let start_ms = (start_ms + window_ms - 1).div_euclid(window_ms) * window_ms;
        Grid { start_ms, end_ms, window_ms, interval_ms: self.layout.interval_ms }
    }

    /// Returns all windows of this tree that have ended, from the one in which it was started.
    pub fn grid(&self) -> Grid {
        self.grid_since(self.started_ms - self.layout.window_ms)
    }

    /// Waits until a window that began after this call is at the monitor `name` with all its slots; returns its start.
    ///
    /// # Errors
    /// If there is none in good time.
    pub fn wait_complete(&self, name: &str) -> Result<i64> {
        let from_ms = now_ms();
        let slots = self.layout.targets as i64 * self.layout.window_ms / self.layout.interval_ms;
        wait_for(&format!("a complete window at {name}"), READY, || {
            let grid = self.grid_since(from_ms);
            let rows = self.rows(name, grid)?;
            let is_whole = |start: i64, datacenter: &str| {
                let coverage = rows.coverage.get(&(datacenter.to_owned(), start));
                coverage.is_some_and(|coverage| coverage.reported == slots as u64 && coverage.lost == 0)
            };
            let whole = grid.starts().find(|start| self.datacenters().iter().all(|name| is_whole(*start, name)));
            Ok(Some(whole.with_context(|| format!("coverage so far: {:?}", rows.coverage))?))
        })
    }

    /// Waits until the secondary `name` holds samples of `windows` windows after this call.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait_sampled(&self, name: &str, windows: i64) -> Result<()> {
        let until_ms = now_ms() + windows * self.layout.window_ms;
        wait_for(&format!("{windows} windows at {name}"), READY, || {
            let ups = self.ask(name).series(&format!("up{{job=\"{JOB}\"}}[1m]"))?;
            Ok(ups.iter().flat_map(|up| &up.samples).any(|(at, _)| *at >= until_ms).then_some(()))
        })
    }

    /// Waits until rows and coverage of `grid` at the monitor `name` are those that follow from the leaves' raw samples.
    ///
    /// # Errors
    /// With the differences that stay.
    pub fn wait_exact(&self, name: &str, grid: Grid) -> Result<()> {
        self.wait_exact_without(name, grid, &[])
    }

    /// The same with `dropped` labels left out: whatever window a label went from, the sums without it are the same.
    ///
    /// # Errors
    /// With the differences that stay.
    pub fn wait_exact_without(&self, name: &str, grid: Grid, dropped: &[Dropped]) -> Result<()> {
        wait_for(&format!("exact rows at {name}"), READY, || {
            let raw = self.raw()?;
            let mut rows = self.rows(name, grid)?;
            rows.points = without(&rows.points, dropped);
            check_rows(&rows, &without(&expected_rows(&raw, grid), dropped))?;
            self.datacenters().iter().try_for_each(|name| check_coverage(&rows, &raw, grid, name))?;
            Ok(Some(()))
        })
    }

    /// Makes the monitor `name` see a system clock that is `seconds` ahead, from its next start on; one that was started
    /// so sees the jump at once.
    ///
    /// # Errors
    /// If that cannot be written.
    pub fn set_system_clock(&mut self, name: &str, seconds: i64) -> Result<()> {
        let path = self.directory.path().join(format!("{name}.clock"));
        fs::write(&path, format!("{seconds:+}"))?;
        self.fake_clocks.insert(name.to_owned(), path);
        Ok(())
    }

    /// Starts the monitor `name`, and does not wait for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn launch(&mut self, name: &str) -> Result<()> {
        let node = self.nodes.get(name).with_context(|| format!("no node {name}"))?;
        let mut command = self.command(name)?;
        let is_proxied = self.layout.proxied && node.role != "global";
        let topology =
            if is_proxied { self.directory.path().join(format!("{}.yaml", node.role)) } else { self.topology() };
        command.args([node.role, "--node", name, "--topology"]).arg(topology);
        command.arg("--data").arg(self.data(name));
        if let Some(path) = self.fake_clocks.get(name) {
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", path);
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let process = Process::start(name, self.directory.path(), &mut command)?;
        self.running.insert(name.into(), process);
        Ok(())
    }

    /// Waits until the monitor `name` is ready.
    ///
    /// # Errors
    /// If it ends, or takes too long.
    pub fn wait_ready(&mut self, name: &str) -> Result<()> {
        let answers = self.ask(name);
        let process = self.running.get_mut(name).with_context(|| format!("{name} does not run"))?;
        let mut ended = None;
        wait_for(&format!("{name} is ready"), READY, || {
            ended = process.check_running().err();
            if ended.is_some() { Ok(Some(())) } else { Ok(answers.is_ready()?.then_some(())) }
        })?;
        ended.map_or(Ok(()), Err)
    }
}

/// Starts a proxy for each monitor that has children.
fn start_proxies(nodes: &BTreeMap<String, Node>) -> Result<BTreeMap<String, Proxy>> {
    let parents = nodes.iter().filter_map(|(name, node)| Some((name, node.grpc?)));
    parents.map(|(name, port)| Ok((name.clone(), Proxy::start(format!("127.0.0.1:{port}"))?))).collect()
}

/// Returns the topology as a monitor of `role` has it: with the proxies in the place of its parents.
fn seen_by(role: &str, topology: &str, nodes: &BTreeMap<String, Node>, proxies: &BTreeMap<String, Proxy>) -> String {
    let parents = if role == "secondary" { "primary" } else { "global" };
    let mut text = topology.to_owned();
    for (name, node) in nodes.iter().filter(|(_, node)| node.role == parents) {
        if let (Some(port), Some(proxy)) = (node.grpc, proxies.get(name)) {
            text = text.replace(&format!("grpc: 127.0.0.1:{port} "), &format!("grpc: {} ", proxy.address()));
        }
    }
    text
}

/// Makes certificates and tokens for `topology`, which is in `directory`, and returns it with the keys that use them.
fn secured(topology: String, directory: &Path) -> Result<String> {
    let path = directory.join("topology.yaml");
    let mut command = Command::new(binaries::firetower()?);
    let made = command.arg("certs").arg(directory.join("certs")).arg("--topology").arg(&path).output()?;
    ensure!(made.status.success(), "firetower certs: {}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout)?;
    let (_, keys) = said.split_once("topology:\n\n").with_context(|| format!("no keys in {said}"))?;
    let topology = topology + keys;
    fs::write(&path, &topology)?;
    Ok(topology)
}

fn start_fleet(layout: &Layout, directory: &Path, datacenter: &str, hosts: Option<&Hosts>) -> Result<Process> {
    let targets = directory.join(targets_of(datacenter));
    let fleet = binaries::fleet()?;
    let (mut command, host) = match hosts {
        Some(hosts) => (Hosts::beside(fleet), hosts.gateway()),
        None => (Command::new(fleet), "127.0.0.1".to_owned()),
    };
    command.args(["--targets", &layout.targets.to_string(), "--ports", &layout.targets.to_string()]);
    command.args(["--series", &layout.series.to_string(), "--listen", &format!("{host}:0")]);
    command.arg("--write-file-sd").arg(&targets).arg("--log").arg(directory.join(log_of(datacenter)));
    let mut fleet = Process::start("fleet", directory, command.args(&layout.fleet))?;
    wait_for("the fleet listens", READY, || {
        fleet.check_running()?;
        Ok(targets.exists().then_some(()))
    })?;
    Ok(fleet)
}
