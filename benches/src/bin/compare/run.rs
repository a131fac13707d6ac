//! Starts what is measured, and what it is measured with.

mod fleet;
mod stored;
mod tree;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::Common;

pub(crate) use fleet::Fleet;
pub(crate) use stored::{stored_samples, stored_scrapes};
pub(crate) use tree::{LATE_SECONDS, SECONDARY, Tree, target_labels};

/// How long a process may take to be ready.
pub(crate) const READY: Duration = Duration::from_secs(60);
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
