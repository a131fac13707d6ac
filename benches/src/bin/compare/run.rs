//! Starts what is measured, and what it is measured with.

mod fleet;
mod stored;
mod tree;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use firetower_benches::Process;
use serde_json::Value;
use tempfile::TempDir;

use crate::Common;

pub(crate) use fleet::Fleet;
pub(crate) use stored::{stored_samples, stored_scrapes};
pub(crate) use tree::{SECONDARY, Tree};

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

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().map(|_| ()).with_context(|| format!("wait for {}", self.name))
    }

    /// Sends SIGTERM and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
        let kill = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status()?;
        ensure!(kill.success(), "stop {}", self.name);
        wait_for(&format!("{} ends", self.name), STOP, || Ok(self.child.try_wait()?.map(|_| ())))
    }
}

impl Drop for Running {
    /// Ends it as `kill -9` does.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns `count` ports that nobody listens on.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports: Vec<u16> = (FIRST_PORT..FIRST_PORT + 1_000).filter(is_free).take(count).collect();
    ensure!(ports.len() == count, "no {count} free ports from {FIRST_PORT}");
    Ok(ports)
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

/// Returns how many bytes the files under `path` have on disk; files that go meanwhile count as nothing.
///
/// Neither room reserved beyond a file's end counts, as logs have, nor holes in it.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::symlink_metadata(path).map_or(0, |file| file.len().min(file.blocks() * 512));
    };
    entries.flatten().map(|entry| disk_bytes(&entry.path())).sum()
}
