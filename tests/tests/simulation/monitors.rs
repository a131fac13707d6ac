//! Running the roles' own code on simulated hosts.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firetower_daemon::{Clock, Names, Random, Security, Surroundings};
use firetower_model::Timestamp;
use firetower_store::{DataDirectory, ModelDisk};
use firetower_topology::{Place, Topology};
use tokio_util::sync::CancellationToken;

use crate::network::{Resets, connector, listen};
use crate::trace::Trace;

/// The ports of every monitor.
pub(crate) const HTTP_PORT: u16 = 6110;
const GRPC_PORT: u16 = 6111;
/// How long stopping may take.
const GRACE: Duration = Duration::from_secs(5);

/// What outlives the processes of one node, and what all of them share.
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) disk: ModelDisk,
    /// What its clock shows when the simulation begins, in milliseconds.
    pub(crate) clock_ms: AtomicI64,
    /// Processes so far; each has randomness of its own.
    pub(crate) lives: AtomicU64,
    pub(crate) cancel: Mutex<CancellationToken>,
    pub(crate) seed: u64,
    /// The file as it is now.
    pub(crate) topology: Arc<Mutex<Topology>>,
    /// Where the lists of targets are.
    pub(crate) folder: PathBuf,
    pub(crate) resets: Resets,
    pub(crate) trace: Trace,
}

impl Site {
    fn surroundings(&self) -> Surroundings {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        let now = Timestamp::from_millis(self.clock_ms.load(Ordering::Relaxed)) + elapsed;
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let name = self.name.bytes().fold(0, |hash: u64, byte| hash.wrapping_mul(31) + u64::from(byte));
        Surroundings {
            clock: Clock::starting_at(now),
            random: Random::seeded(self.seed ^ name.rotate_left(17) ^ life.rotate_left(48)),
            connector: connector(&self.name, &self.resets, &self.trace),
            security: Security::none(),
            names: Names::new(async |_, _| Ok(Vec::new())),
        }
    }

    /// Asks the process to stop.
    pub(crate) fn stop(&self) {
        self.cancel.lock().expect("no panics").cancel();
    }
}

/// Runs the node until it is asked to stop.
///
/// # Errors
/// If it ends of itself.
pub(crate) async fn live(site: Arc<Site>) -> turmoil::Result {
    let cancel = CancellationToken::new();
    *site.cancel.lock().expect("no panics") = cancel.clone();
    site.trace.note(&format!("{} starts", site.name));
    let ended = loop {
        let ended = run(&site, cancel.clone()).await;
        site.trace.note(&format!("{} ends: {ended:?}", site.name));
        // As the binary does: a directory that has gone back begins a new life when it is opened again.
        match &ended {
            Err(error) if !cancel.is_cancelled() && has_gone_back(&**error) => continue,
            _ => break ended,
        }
    };
    match ended {
        Ok(()) if cancel.is_cancelled() => Ok(()),
        Err(error) if cancel.is_cancelled() && has_overrun(&*error) => Ok(()),
        Ok(()) => Err(format!("{} ended of itself", site.name).into()),
        Err(error) => Err(format!("{} failed: {}", site.name, firetower_daemon::chain(&*error)).into()),
    }
}

/// Tells whether stopping took too long, as it does while a parent cannot be reached: that loses nothing.
fn has_overrun(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(firetower_global::Error::Overran { .. }))
        || matches!(error.downcast_ref(), Some(firetower_primary::Error::Overran { .. }))
        || matches!(error.downcast_ref(), Some(firetower_secondary::Error::Overran { .. }))
}

fn has_gone_back(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<firetower_store::Error>() {
        Some(error) => error.is_mended_by_opening(),
        None => error.source().is_some_and(has_gone_back),
    }
}

async fn run(site: &Site, cancel: CancellationToken) -> turmoil::Result {
    let surroundings = site.surroundings();
    let file = site.topology.lock().expect("no panics").clone();
    let topology = file.clone();
    let http = listen(&site.name, HTTP_PORT).await?;
    let data = DataDirectory::Model(site.disk.clone());
    let again = Arc::clone(&site.topology);
    let reload = Arc::new(move || Ok(again.lock().expect("no panics").clone()));
    let place = file.find(&site.name).ok_or("a node of the topology")?;
    match place {
        Place::Global(node) => {
            let (node, grpc) = (node.clone(), listen(&site.name, GRPC_PORT).await?);
            let setup =
                firetower_global::Setup { surroundings, topology, node, data, http, grpc, reload, grace: GRACE };
            firetower_global::run(setup, cancel).await?;
        }
        Place::Primary(datacenter, node) => {
            let setup = firetower_primary::Setup {
                surroundings,
                topology,
                datacenter: datacenter.clone(),
                node: node.clone(),
                base: site.folder.clone(),
                data,
                http,
                grpc: listen(&site.name, GRPC_PORT).await?,
                reload,
                grace: GRACE,
            };
            firetower_primary::run(setup, cancel).await?;
        }
        Place::Secondary(datacenter, node) => {
            let setup = firetower_secondary::Setup {
                surroundings,
                topology,
                datacenter: datacenter.clone(),
                node: node.clone(),
                base: site.folder.clone(),
                data,
                block: None,
                http,
                reload,
                grace: GRACE,
            };
            firetower_secondary::run(setup, cancel).await?;
        }
    }
    Ok(())
}
