//! What is asked: a program that runs over its data.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use firetower_benches::{Running, beside, wait_for};

use super::Options;
use crate::Common;
use crate::run::free_ports;

pub(crate) const PROMETHEUS: &str = "prometheus";
pub(crate) const VICTORIA_METRICS: &str = "victoria-metrics";
pub(crate) const FIRETOWER: &str = "firetower";

/// How long a peer may take until it answers: Prometheus reads its whole log first.
const READY: Duration = Duration::from_secs(900);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(600);
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// A peer as it is installed.
pub(crate) struct Program {
    pub(crate) name: String,
    path: PathBuf,
}

/// A peer that runs.
pub(crate) struct Peer {
    name: String,
    running: Running,
    url: String,
    agent: ureq::Agent,
}

impl Program {
    /// Finds the peer called `name`.
    pub(crate) fn find(name: &str, options: &Options, common: &Common) -> Result<Program> {
        let path = match name {
            PROMETHEUS => options.prometheus.clone().into(),
            VICTORIA_METRICS => options.victoria_metrics.clone().into(),
            FIRETOWER => beside("firetower", common.firetower.as_deref())?,
            _ => bail!("no peer {name}: there are {PROMETHEUS}, {VICTORIA_METRICS} and {FIRETOWER}"),
        };
        Ok(Program { name: name.to_owned(), path })
    }

    /// Starts it over its data in `directory`, and waits until it answers.
    pub(crate) fn start(&self, directory: &Path) -> Result<Peer> {
        let address = format!("127.0.0.1:{}", free_ports(1)?[0]);
        let data = directory.join(&self.name);
        let (data, mut command) = (data.display(), Command::new(&self.path));
        match self.name.as_str() {
            PROMETHEUS => command
                .args(["--config.file=/dev/null", "--web.enable-remote-write-receiver", "--query.timeout=10m"])
                .arg(format!("--storage.tsdb.path={data}"))
                .arg(format!("--web.listen-address={address}")),
            // An answer from its cache of answers would say nothing of how fast it reads.
            VICTORIA_METRICS => command
                .args(["-search.disableCache", "-search.latencyOffset=0s", "-search.maxQueryDuration=10m"])
                .args(["-search.maxUniqueTimeseries=10000000", "-retentionPeriod=1"])
                .arg(format!("-storageDataPath={data}"))
                .arg(format!("-httpListenAddr={address}")),
            _ => command
                .args(["secondary", "--standalone", "--http", &address, "--data"])
                .arg(directory.join(&self.name)),
        };
        let running = Running::start(&self.name, directory, &mut command)?;
        let config = ureq::Agent::config_builder().timeout_global(Some(ANSWER)).build();
        let agent = ureq::Agent::new_with_config(config);
        let mut peer = Peer { name: self.name.clone(), running, url: format!("http://{address}"), agent };
        wait_for("a peer is ready", READY, || {
            peer.running.check()?;
            Ok(peer.ask("/api/v1/query?query=1").ok())
        })?;
        Ok(peer)
    }
}

impl Peer {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns where it takes remote_write.
    pub(crate) fn write_url(&self) -> String {
        format!("{}/api/v1/write", self.url)
    }

    /// Returns how long the whole answer to `path` took, and the answer.
    pub(crate) fn ask(&self, path: &str) -> Result<(Duration, String)> {
        let url = format!("{}{path}", self.url);
        let started = Instant::now();
        let mut response = self.agent.get(&url).call().with_context(|| format!("get {url}"))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        Ok((started.elapsed(), body.with_context(|| format!("read {url}"))?))
    }

    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        Ok(self.running.process().read()?.cpu_seconds)
    }

    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        Ok(self.running.process().read()?.resident_bytes)
    }

    pub(crate) fn pause(&self) -> Result<()> {
        self.running.pause()
    }

    pub(crate) fn resume(&self) -> Result<()> {
        self.running.resume()
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.running.stop()
    }
}
