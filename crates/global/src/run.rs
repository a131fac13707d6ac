//! The wiring of a global aggregator.

use std::sync::Arc;
use std::time::Duration;

use firetower_api::{
    About, Common, MakeBackup, Readiness, Reload, about, backup, common, global, reload_on_signal, series,
};
use firetower_daemon::{Ended, HttpMetrics, Listener, ProcessMetrics, Surroundings, Tasks, blocking, start_http};
use firetower_model::{NodeStatus, Role};
use firetower_query::Tree;
use firetower_relay::{
    Callers, ExposedClock, ExposedDisk, ExposedStatus, Identity, Keeping, RelayMetrics, keep, maintain_rows, watch_disk,
};
use firetower_store::{DataDirectory, Memory, Options, Store};
use firetower_topology::{Node, Place, Topology, needing_restart};
use firetower_wire::CallMetrics;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::answers::answers;
use crate::below::Below;
use crate::roll::roll;
use crate::summit::Summit;

/// Calls of children that wait to be taken.
const CALLS_MAX: usize = 64;

/// What a global aggregator is started with.
pub struct Setup {
    /// Clock, randomness, connections.
    pub surroundings: Surroundings,
    /// The checked topology.
    pub topology: Topology,
    /// Itself in it.
    pub node: Node,
    /// Its data directory.
    pub data: DataDirectory,
    /// Where HTTP is answered.
    pub http: Listener,
    /// Where primaries are taken.
    pub grpc: Listener,
    /// Reads the topology again; the complaints if it is refused.
    pub reload: Arc<dyn Fn() -> Result<Topology, String> + Send + Sync>,
    /// How long stopping may take.
    pub grace: Duration,
}

/// Runs a global aggregator until `cancel`, then stops it in the order data flows.
///
/// # Errors
/// If it cannot start, or something fails that it cannot go on without.
pub async fn run(setup: Setup, cancel: CancellationToken) -> Result<(), Error> {
    let Setup { surroundings, topology, node, data, http, grpc, reload, grace } = setup;
    let Surroundings { clock, random, security, .. } = surroundings;
    let now = clock.now();
    let options = Options {
        memory: Memory::of(topology.store_memory),
        free_bytes: topology.retention.free,
        ..Options::new(now, random.next_u64())
    };
    let store = blocking(|| Store::open_in(&data, &options))?;
    let mut status = NodeStatus::silent(&node.name, Role::Global, "", "", http.local_address());
    status.targets = store.health_counts();
    let status = watch::Sender::new(status.started(env!("CARGO_PKG_VERSION"), store.incarnation(), now));
    let mut registry = Registry::default();
    let metrics = RelayMetrics::register(&mut registry);
    registry.register_collector(Box::new(ExposedStatus::new(status.subscribe())));
    security.register(&mut registry);
    ProcessMetrics::register(&mut registry);
    registry.register_collector(Box::new(ExposedClock::new(clock.clone(), status.subscribe())));
    registry.register_collector(Box::new(ExposedDisk::new(store.clone())));

    let below = watch::Sender::new(Below::of(&topology));
    let summit = Summit::new(store.clone(), below.subscribe(), status.clone(), now);
    let name = node.name.clone();
    let identity = Identity { node: node.name, role: Role::Global, region: String::new(), datacenter: String::new() };

    let callers = Callers::new(metrics.clone());
    let (asked, expected) = (callers.clone(), below.subscribe());
    let tree = Tree::new(callers.clone(), Arc::new(move || roll(&expected.borrow(), &asked.children())));
    let mut tasks: Tasks<Error> = Tasks::new();
    let (to_keeper, calls) = mpsc::channel(CALLS_MAX);
    let (taken, served) = (CallMetrics::register(&mut registry), HttpMetrics::register(&mut registry));
    tasks.start("take calls", |cancel| async move {
        firetower_wire::serve(grpc, to_keeper, taken, cancel).await;
        Ok(())
    });
    let (inbox_bytes, clock_of_keeper) = (topology.inbox.bytes, clock.clone());
    let keeping = Keeping { identity, store: store.clone(), inbox_bytes, clock: clock_of_keeper, metrics, callers };
    tasks.start("keep rows", |cancel| async move { Ok(keep(keeping, summit, calls, cancel).await?) });
    let (rows, ticking) = (store.clone(), clock.clone());
    tasks.start("maintain rows", |cancel| async move { Ok(maintain_rows(rows, ticking, cancel).await?) });
    let (copied, watched) = (store.clone(), store.clone());
    let (asking, retention, queries) = (clock.clone(), topology.retention.raw, topology.queries);
    // It has no jobs: those are the datacenters'.
    let about_it = About { started: now, retention: Arc::new(move || retention), jobs: Arc::new(Vec::new) };
    let answers = answers(store, &topology, below.subscribe(), status.subscribe(), clock);
    let reload = reloading(reload, Arc::new(topology), name, below);
    let again = reload.clone();
    tasks.start("reload on SIGHUP", |cancel| async move { Ok(reload_on_signal(again, cancel).await?) });
    let readiness = Readiness::waiting("starting");
    readiness.set_ready();
    let said = readiness.clone();
    let say = move |held: Option<&str>| said.set(held);
    let told = status.clone();
    tasks.start("watch the disk", |cancel| async move { Ok(watch_disk(watched, told, say, cancel).await?) });
    let make: MakeBackup = Arc::new(move |to| Ok(copied.backup(to).map(|made| (made.files, made.bytes))?));
    let router = common(Common { readiness, registry: Arc::new(registry), reload: Some(reload) })
        .merge(global(answers))
        .merge(backup(make))
        .merge(series(tree.clone(), Arc::new(tree), asking, queries))
        .merge(about(about_it));
    start_http(&mut tasks, http, router, security, served);
    finish(tasks.join(cancel, grace).await, grace)
}

/// Returns what reads the topology again, and hands on which primaries there are. A file with a fault changes nothing.
/// `started` is the topology that this global aggregator, `node`, was started with.
fn reloading(
    reload: Arc<dyn Fn() -> Result<Topology, String> + Send + Sync>,
    started: Arc<Topology>,
    node: String,
    below: watch::Sender<Below>,
) -> Reload {
    Reload::new(move || {
        let (reload, started, node) = (Arc::clone(&reload), Arc::clone(&started), node.clone());
        let below = below.clone();
        async move {
            let topology = blocking(|| reload())?;
            let Some(Place::Global(_)) = topology.find(&node) else {
                return Err(format!("{node} is no global aggregator of the topology any more"));
            };
            below.send_replace(Below::of(&topology));
            Ok(needing_restart(&started, &topology, &node))
        }
    })
}

fn finish((failed, overran): (Vec<Ended<Error>>, Vec<&'static str>), grace: Duration) -> Result<(), Error> {
    if let Some(ended) = failed.into_iter().next() {
        return Err(match ended.result {
            Err(Some(error)) => error,
            _ => Error::Panicked { name: ended.name },
        });
    }
    if overran.is_empty() { Ok(()) } else { Err(Error::Overran { grace, tasks: overran }) }
}
