//! Serves the pages of a whole fleet from one process, as cheaply as a socket allows.
//!
//! HTTP by hand: the answer to a `GET` is one write of head and page, connections stay open, and nothing is
//! allocated per target but a counter.

mod connection;
mod shared;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::page::Page;
use crate::pages::Pages;
use crate::roster::Churn;

use connection::connection;
use shared::Shared;

/// How much of the log is lost at most if the fleet itself is killed.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// How long responses under way may take once the fleet is told to stop.
const DRAIN: Duration = Duration::from_secs(2);
/// How many times its series an exploded target exposes.
const EXPLOSION: usize = 100;
/// Stands for never.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Which targets a fleet has, and how they answer. The last ones are hung, those before slow, those before malformed.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// Address of the first port; with port 0 the system chooses each.
    pub listen: SocketAddr,
    /// How many ports; target `i` is on port `i % ports`, under `/t/<i>/metrics`.
    pub ports: u16,
    /// How many targets.
    pub targets: usize,
    /// As what their first scrape counts: how often they were scraped before.
    pub first_scrape: u64,
    /// Whether to compress for clients that take gzip.
    pub gzip: bool,
    /// After how many scrapes a target's compressed pages come again; 0 for never.
    pub gzip_cycle: u64,
    /// How many targets answer after `latency` only.
    pub slow: usize,
    /// How long the slow ones take.
    pub latency: Duration,
    /// How many targets never answer.
    pub hung: usize,
    /// How many targets show a page with a line that is no sample in the middle.
    pub malformed: usize,
    /// Which of the targets are replaced, and when.
    pub churn: Option<Churn>,
    /// Which target exposes a hundred times its series, and from when on.
    pub explosion: Option<Explosion>,
    /// Where to write what was served.
    pub log: Option<PathBuf>,
    /// Where to write the targets for `file_sd_configs`.
    pub file_sd: Option<PathBuf>,
}

/// A target that suddenly exposes a hundred times its series, written as `TARGET@SECONDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explosion {
    /// Which.
    pub target: usize,
    /// How long after the fleet began.
    pub after: Duration,
}

impl FromStr for Explosion {
    type Err = String;

    fn from_str(text: &str) -> Result<Explosion, String> {
        let parts =
            text.split_once('@').and_then(|(target, seconds)| Some((target.parse().ok()?, seconds.parse().ok()?)));
        let (target, seconds) = parts.ok_or_else(|| format!("{text:?} is not TARGET@SECONDS, like 17@60"))?;
        Ok(Explosion { target, after: Duration::from_secs(seconds) })
    }
}

/// A fleet that listens.
#[derive(Debug)]
pub struct Fleet {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

impl Fleet {
    /// Opens the ports and the log, and writes down the targets.
    ///
    /// # Errors
    /// If a port is taken, or a file cannot be made.
    pub async fn bind(options: FleetOptions, pages: Pages) -> io::Result<Fleet> {
        let mut listeners = Vec::new();
        for at in 0..options.ports {
            let port = if options.listen.port() == 0 { 0 } else { options.listen.port() + at };
            listeners.push(TcpListener::bind(SocketAddr::new(options.listen.ip(), port)).await?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let fleet = Fleet { listeners, addresses, shared: Arc::new(Shared::new(options, pages)?) };
        write_file_sd(&fleet.shared, &fleet.addresses)?;
        Ok(fleet)
    }

    /// Returns the address of the first port, where `/served` is too.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Serves until `stop` is cancelled, then finishes the responses under way.
    ///
    /// # Errors
    /// If the log or the targets cannot be written.
    pub async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        let mut listening = JoinSet::new();
        for listener in self.listeners {
            listening.spawn(accept_loop(listener, Arc::clone(&self.shared), stop.clone()));
        }
        let mut flush = interval(FLUSH_EVERY);
        let churn = self.shared.options.churn;
        let mut replace = interval(churn.map_or(NEVER, |churn| churn.every));
        replace.tick().await;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = flush.tick() => self.shared.log.flush()?,
                _ = replace.tick() => {
                    self.shared.replace(churn.map_or(0, |churn| churn.percent));
                    write_file_sd(&self.shared, &self.addresses)?;
                }
            }
        }
        let drained = tokio::time::timeout(DRAIN, async { while listening.join_next().await.is_some() {} });
        if drained.await.is_err() {
            eprintln!("fleet: responses under way took more than {DRAIN:?}");
        }
        self.shared.log.flush()
    }
}

/// Writes the targets as Prometheus's `file_sd_configs` read them, in one go.
fn write_file_sd(shared: &Shared, addresses: &[SocketAddr]) -> io::Result<()> {
    let Some(path) = &shared.options.file_sd else { return Ok(()) };
    let group = |target: usize| {
        serde_json::json!({
            "targets": [addresses[target % addresses.len()].to_string()],
            "labels": {
                "__metrics_path__": format!("/t/{target}/metrics"),
                "instance": format!("{}:9100", Page::node_name(target)),
            },
        })
    };
    let groups: serde_json::Value = shared.targets().into_iter().map(group).collect();
    replace_file(path, &groups.to_string())
}

fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)
}

async fn accept_loop(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared), stop.clone()));
                }
                Err(error) => {
                    eprintln!("fleet: accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    while connections.join_next().await.is_some() {}
}
