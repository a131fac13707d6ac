//! Starts what is measured, and what it is measured with.

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use firetower_benches::Process;
use serde_json::Value;
use tempfile::TempDir;

use crate::Common;

/// How long a process may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long a process may take to stop.
const STOP: Duration = Duration::from_secs(60);
/// First port tried; below those that the kernel gives to outgoing connections.
const FIRST_PORT: u16 = 18_000;

/// A directory that goes away with this, or one that stays because it was asked for.
#[derive(Debug)]
pub(crate) enum Directory {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl Directory {
    /// Makes an empty one called `name`, under `--directory` if given.
    pub(crate) fn make(common: &Common, name: &str) -> Result<Directory> {
        let Some(parent) = &common.directory else {
            return Ok(Directory::Temporary(tempfile::Builder::new().prefix("firetower-bench-").tempdir()?));
        };
        let path = std::path::absolute(parent.join(name))?;
        ensure!(!path.exists(), "{} exists already", path.display());
        fs::create_dir_all(&path)?;
        Ok(Directory::Kept(path))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Directory::Temporary(directory) => directory.path(),
            Directory::Kept(path) => path,
        }
    }
}

/// A running child; killed when dropped. Its output is in `NAME.out`.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
}

impl Running {
    pub(crate) fn start(name: &str, directory: &Path, command: &mut Command) -> Result<Running> {
        let output = File::options().create(true).append(true).open(directory.join(format!("{name}.out")))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Running { name: name.into(), child })
    }

    pub(crate) fn process(&self) -> Process {
        Process { id: self.child.id() }
    }

    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended: {status}; see {}.out", self.name, self.name),
        }
    }

    /// Sends SIGTERM and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status()?;
        ensure!(kill.success(), "stop {}", self.name);
        wait_for(&format!("{} ends", self.name), STOP, || Ok(self.child.try_wait()?.map(|_| ())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running fleet.
pub(crate) struct Fleet {
    pub(crate) running: Running,
    pub(crate) log: PathBuf,
    base: String,
}

impl Fleet {
    /// Starts it, with its targets in `targets.json` of `directory`.
    pub(crate) fn start(common: &Common, directory: &Path) -> Result<Fleet> {
        let (targets, log) = (directory.join("targets.json"), directory.join("fleet.log"));
        let mut command = Command::new(beside("fleet", common.fleet.as_deref())?);
        command.args(["--decimals", "--targets", &common.targets.to_string(), "--series", &common.series.to_string()]);
        if common.gzip {
            command.arg("--gzip");
        }
        let base = format!("127.0.0.1:{}", free_ports(1)?[0]);
        command.args(["--listen", &base, "--write-file-sd"]).arg(&targets).arg("--log").arg(&log);
        let mut running = Running::start("fleet", directory, &mut command)?;
        wait_for("the fleet listens", READY, || {
            running.check()?;
            Ok(targets.exists().then_some(()))
        })?;
        Ok(Fleet { running, log, base: format!("http://{base}") })
    }

    /// Returns how many samples it has served.
    pub(crate) fn samples(&self) -> Result<u64> {
        get_json(&format!("{}/served", self.base))?["samples"].as_u64().context("samples served")
    }
}

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
        let binary = beside("firetower", common.firetower.as_deref())?;
        let start = |role: &str, node: &str| {
            let mut command = Command::new(&binary);
            command.args([role, "--node", node, "--topology"]).arg(&topology);
            command.arg("--data").arg(directory.join(node));
            Running::start(node, directory, &mut command)
        };
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut tree = Tree {
            global: start("global", "global-0")?,
            primary: start("primary", "dub-p0")?,
            secondary: start("secondary", "dub-s0")?,
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

/// Returns how many samples of the lines called `names` a peer holds, counted through range selectors.
pub(crate) fn stored_samples(url: &str, names: &[String], age: Duration) -> Result<u64> {
    let mut stored = 0;
    for name in names {
        let query = format!("{name}%7Bjob%3D%22fleet%22%7D%5B{}s%5D", age.as_secs());
        let url = format!("{url}/api/v1/query?query={query}");
        let mut body = ureq::get(&url).call().with_context(|| format!("get {url}"))?.into_body().into_reader();
        stored += count_samples(&mut body).with_context(|| format!("read {url}"))?;
    }
    Ok(stored)
}

/// Counts the samples of a matrix without keeping it: each ends in `"]`, and nothing else does.
fn count_samples(matrix: &mut impl Read) -> Result<u64> {
    let mut chunk = vec![0u8; 1 << 16];
    let (mut count, mut before) = (0, 0u8);
    loop {
        let read = matrix.read(&mut chunk)?;
        if read == 0 {
            return Ok(count);
        }
        for byte in &chunk[..read] {
            count += u64::from(before == b'"' && *byte == b']');
            before = *byte;
        }
    }
}

fn topology_text(common: &Common, ports: &[u16], targets: &Path) -> String {
    let Common { interval_seconds, window_seconds, .. } = common;
    format!(
        "firetower: 1
defaults: {{ scrape_interval: {interval_seconds}s, scrape_timeout: {interval_seconds}s, window: {window_seconds}s }}
global: [ {{ node: global-0, http: 127.0.0.1:{}, grpc: 127.0.0.1:{} }} ]
regions:
  - region: eu-west
    datacenters:
      - datacenter: dub
        primaries: [ {{ node: dub-p0, http: 127.0.0.1:{}, grpc: 127.0.0.1:{} }} ]
        secondaries: [ {{ node: dub-s0, http: 127.0.0.1:{} }} ]
        scrape_configs:
          - job_name: fleet
            file_sd_configs: [ {{ files: [ {} ] }} ]
",
        ports[0],
        ports[1],
        ports[2],
        ports[3],
        ports[4],
        targets.display()
    )
}

/// Returns `count` ports that nobody listens on.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports: Vec<u16> = (FIRST_PORT..FIRST_PORT + 1_000).filter(is_free).take(count).collect();
    ensure!(ports.len() == count, "no {count} free ports from {FIRST_PORT}");
    Ok(ports)
}

fn beside(name: &str, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.into());
    }
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "no {}: build it, or say where it is", path.display());
    Ok(path)
}

pub(crate) fn get_text(url: &str) -> Result<String> {
    let mut response = ureq::get(url).call().with_context(|| format!("get {url}"))?;
    response.body_mut().with_config().limit(1 << 30).read_to_string().with_context(|| format!("read {url}"))
}

pub(crate) fn get_json(url: &str) -> Result<Value> {
    serde_json::from_str(&get_text(url)?).with_context(|| format!("read {url}"))
}

pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look().with_context(|| what.to_owned())? {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Sleeps until a moment in milliseconds since the unix epoch.
pub(crate) fn sleep_until(at_ms: i64) {
    thread::sleep(Duration::from_millis((at_ms - now_ms()).max(0) as u64));
}
