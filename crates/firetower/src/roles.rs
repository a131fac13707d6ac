//! The three monitors, as the binary starts them.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use firetower_daemon::{Listener, Names, Port, Surroundings};
use firetower_store::{DataDirectory, Trouble};
use firetower_topology::{Datacenter, Node, ReceiveLimits, Retention, Topology};
use tokio_util::sync::CancellationToken;

use crate::load;
use crate::protection::Protection;

/// How long after its store failed a role waits before it opens it again: twice as long each time, up to the second, if it
/// has not run for that long.
const REOPEN_AFTER: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(32)];

/// Reads the topology again; the complaints if it is refused.
pub(crate) type ReadAgain = Arc<dyn Fn() -> Result<Topology, String> + Send + Sync>;

/// What a monitor of the topology is started with.
#[derive(Clone)]
pub(crate) struct MonitorSetup {
    /// The checked topology.
    pub topology: Topology,
    /// Where it was read.
    pub topology_path: PathBuf,
    /// Its datacenter; `None` for a global aggregator.
    pub datacenter: Option<Datacenter>,
    /// This monitor, which is in the topology with this role.
    pub node: Node,
    /// What protects its listeners.
    pub protection: Protection,
    /// Its data directory.
    pub data: PathBuf,
    /// Name servers in place of the system's, if there are any.
    pub name_servers: Vec<SocketAddr>,
    /// How long stopping may take.
    pub grace: Duration,
}

impl MonitorSetup {
    /// Returns the real surroundings, with its certificates, tokens and name servers.
    pub(crate) fn surroundings(&self) -> anyhow::Result<Surroundings> {
        surroundings(&self.name_servers, self.protection.clone())
    }

    /// Returns the folder that target files are looked for under.
    pub(crate) fn base(&self) -> PathBuf {
        self.topology_path.parent().unwrap_or(Path::new("")).to_owned()
    }

    /// Listens where the topology says that it answers HTTP.
    pub(crate) async fn listen_http(&self, surroundings: &Surroundings) -> anyhow::Result<Listener> {
        Ok(surroundings.security.secure(listen(&self.node.http).await?, Port::Http))
    }

    /// Returns what reads the topology again.
    pub(crate) fn read_again(&self) -> ReadAgain {
        let path = self.topology_path.clone();
        Arc::new(move || load::topology(&path).map_err(|error| format!("{error:#}")))
    }

    /// Returns its datacenter.
    ///
    /// # Errors
    /// If it is a global aggregator.
    pub(crate) fn datacenter(&self) -> anyhow::Result<Datacenter> {
        self.datacenter.clone().context("a global aggregator is in no datacenter")
    }

    /// Listens where the topology says that its children dial it.
    pub(crate) async fn listen_grpc(&self, surroundings: &Surroundings) -> anyhow::Result<Listener> {
        let address = self.node.grpc.as_deref().context("the topology gives it no grpc address")?;
        Ok(surroundings.security.secure(listen(address).await?, Port::Grpc))
    }
}

/// Runs a role, and anew as long as what ends it is a store that may be mended by being opened again.
///
/// RocksDB takes no more writes after a failing disk, even when it works again, until it is opened anew.
async fn again<F>(cancel: &CancellationToken, run: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let [least, most] = REOPEN_AFTER;
    let mut wait = least;
    loop {
        let started = Instant::now();
        let Err(error) = run().await else { return Ok(()) };
        let store = error.chain().find_map(|cause| cause.downcast_ref::<firetower_store::Error>());
        let Some(failed) = store.filter(|failed| failed.is_mended_by_opening() && !cancel.is_cancelled()) else {
            return Err(error);
        };
        if started.elapsed() > most {
            wait = least;
        }
        let advice = failed.trouble().map_or("", Trouble::advice);
        tracing::error!(error = format!("{error:#}"), advice, ?wait, "the store failed, it is opened again");
        tokio::select! {
            () = cancel.cancelled() => return Err(error),
            () = tokio::time::sleep(wait) => wait = (2 * wait).min(most),
        }
    }
}

/// Listens on `host:port`.
pub(crate) async fn listen(address: &str) -> anyhow::Result<Listener> {
    Listener::bind(address).await.with_context(|| format!("listen on {address}"))
}

/// Returns the real surroundings, with these name servers if any are given.
fn surroundings(name_servers: &[SocketAddr], protection: Protection) -> anyhow::Result<Surroundings> {
    let system = Surroundings { security: protection.open()?, ..Surroundings::system() };
    if name_servers.is_empty() {
        return Ok(system);
    }
    Ok(Surroundings { names: Names::of_servers(name_servers), ..system })
}

/// What a secondary that runs alone is started with.
#[derive(Clone)]
pub(crate) struct StandaloneSetup {
    /// Prometheus's configuration file; nothing is scraped without one.
    pub scrape_config: Option<PathBuf>,
    /// `host:port` where it answers.
    pub http: String,
    /// What protects that.
    pub protection: Protection,
    /// Its data directory.
    pub data: PathBuf,
    /// How long data is kept.
    pub retention: Retention,
    /// Memory that its store may use, beside what it holds for each series, in bytes.
    pub store_memory: u64,
    /// What it takes of what is written to it.
    pub receive: ReceiveLimits,
    /// Name servers in place of the system's, if there are any.
    pub name_servers: Vec<SocketAddr>,
    /// How much time a block of raw samples covers in a new data directory, if not as usual.
    pub block: Option<Duration>,
    /// How long stopping may take.
    pub grace: Duration,
}

/// Runs a secondary of the topology until `cancel`; in a new data directory a block covers `block`, or what is usual.
pub(crate) async fn secondary(
    setup: MonitorSetup,
    block: Option<Duration>,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    again(&cancel, || secondary_once(setup.clone(), block, cancel.clone())).await
}

async fn secondary_once(setup: MonitorSetup, block: Option<Duration>, cancel: CancellationToken) -> anyhow::Result<()> {
    let surroundings = setup.surroundings()?;
    let setup = firetower_secondary::Setup {
        http: setup.listen_http(&surroundings).await?,
        surroundings,
        datacenter: setup.datacenter()?,
        base: setup.base(),
        reload: setup.read_again(),
        topology: setup.topology,
        node: setup.node,
        data: DataDirectory::Folder(setup.data),
        block,
        grace: setup.grace,
    };
    Ok(firetower_secondary::run(setup, cancel).await?)
}

/// Runs a secondary alone until `cancel`.
pub(crate) async fn standalone(setup: StandaloneSetup, cancel: CancellationToken) -> anyhow::Result<()> {
    again(&cancel, || standalone_once(setup.clone(), cancel.clone())).await
}

async fn standalone_once(setup: StandaloneSetup, cancel: CancellationToken) -> anyhow::Result<()> {
    let path = setup.scrape_config;
    let base = path.as_deref().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    let read_again = move || match &path {
        None => Ok(Vec::new()),
        Some(path) => load::scrape_configs(path).map_err(|error| format!("{error:#}")),
    };
    let surroundings = surroundings(&setup.name_servers, setup.protection)?;
    let setup = firetower_secondary::StandaloneSetup {
        http: surroundings.security.secure(listen(&setup.http).await?, Port::Http),
        surroundings,
        scrape_configs: read_again().map_err(anyhow::Error::msg)?,
        base,
        reload: Arc::new(read_again),
        data: DataDirectory::Folder(setup.data),
        retention: setup.retention,
        store_memory: setup.store_memory,
        receive: setup.receive,
        block: setup.block,
        grace: setup.grace,
    };
    Ok(firetower_secondary::run_standalone(setup, cancel).await?)
}

/// Runs a primary until `cancel`.
pub(crate) async fn primary(setup: MonitorSetup, cancel: CancellationToken) -> anyhow::Result<()> {
    again(&cancel, || primary_once(setup.clone(), cancel.clone())).await
}

async fn primary_once(setup: MonitorSetup, cancel: CancellationToken) -> anyhow::Result<()> {
    let surroundings = setup.surroundings()?;
    let setup = firetower_primary::Setup {
        http: setup.listen_http(&surroundings).await?,
        grpc: setup.listen_grpc(&surroundings).await?,
        surroundings,
        datacenter: setup.datacenter()?,
        base: setup.base(),
        reload: setup.read_again(),
        topology: setup.topology,
        node: setup.node,
        data: DataDirectory::Folder(setup.data),
        grace: setup.grace,
    };
    Ok(firetower_primary::run(setup, cancel).await?)
}

/// Runs a global aggregator until `cancel`.
pub(crate) async fn global(setup: MonitorSetup, cancel: CancellationToken) -> anyhow::Result<()> {
    again(&cancel, || global_once(setup.clone(), cancel.clone())).await
}

async fn global_once(setup: MonitorSetup, cancel: CancellationToken) -> anyhow::Result<()> {
    let surroundings = setup.surroundings()?;
    let setup = firetower_global::Setup {
        http: setup.listen_http(&surroundings).await?,
        grpc: setup.listen_grpc(&surroundings).await?,
        surroundings,
        reload: setup.read_again(),
        topology: setup.topology,
        node: setup.node,
        data: DataDirectory::Folder(setup.data),
        grace: setup.grace,
    };
    Ok(firetower_global::run(setup, cancel).await?)
}
