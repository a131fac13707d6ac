//! The wiring of a primary.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use firetower_api::{
    About, Common, MakeBackup, Readiness, Reload, about, backup, common, kept, monitor, reload_on_signal, series,
};
use firetower_daemon::{HttpMetrics, Listener, ProcessMetrics, Surroundings, Tasks, blocking, start_http};
use firetower_model::{Budget, KeptReport, NodeStatus, Role, Timestamp};
use firetower_query::{Roll, Tree};
use firetower_relay::{
    Answers, Callers, ExposedClock, ExposedDisk, ExposedKept, ExposedStatus, Identity, Keeping, Link, OutboxLimits,
    Outlet, ParentEvent, RelayMetrics, keep, maintain_rows, watch_disk,
};
use firetower_scrape::{Client, Discovery, DiscoveryMetrics, DiscoverySetup, EnvironmentProxies, Tls, discover};
use firetower_store::{DataDirectory, Memory, Options, Store};
use firetower_topology::{Datacenter, Node, ScrapeConfig, Topology, needing_restart};
use firetower_wire::CallMetrics;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::answer::Holder;
use crate::discovery::{making, read_file, read_list};
use crate::kept::Kept;
use crate::shares::Shares;
use crate::tower::{Decided, Mail, Place, Said, Tower};

/// Calls of children that wait to be taken.
const CALLS_MAX: usize = 64;

/// What a primary is started with.
pub struct Setup {
    /// Clock, randomness, connections.
    pub surroundings: Surroundings,
    /// The checked topology.
    pub topology: Topology,
    /// Its own datacenter in it.
    pub datacenter: Datacenter,
    /// Itself in it.
    pub node: Node,
    /// Folder that target files are looked for under.
    pub base: PathBuf,
    /// Its data directory.
    pub data: DataDirectory,
    /// Where HTTP is answered.
    pub http: Listener,
    /// Where secondaries are taken.
    pub grpc: Listener,
    /// Reads the topology again; the complaints if it is refused.
    pub reload: Arc<dyn Fn() -> Result<Topology, String> + Send + Sync>,
    /// How long stopping may take.
    pub grace: Duration,
}

/// Runs a primary until `cancel`, then stops it in the order data flows.
///
/// # Errors
/// If it cannot start, or something fails that it cannot go on without.
pub async fn run(setup: Setup, cancel: CancellationToken) -> Result<(), Error> {
    let grace = setup.grace;
    let tasks = start(setup).await?;
    finish(tasks.join(cancel, grace).await, grace)
}

/// Opens the store and starts the tasks, in the order data flows.
async fn start(setup: Setup) -> Result<Tasks<Error>, Error> {
    let Setup { surroundings, topology, datacenter, node, base, data, http, grpc, reload, .. } = setup;
    let (clock, now) = (surroundings.clock.clone(), surroundings.clock.now());
    let options = Options {
        memory: Memory::of(topology.store_memory),
        free_bytes: topology.retention.free,
        ..Options::new(now, surroundings.random.next_u64())
    };
    let store = blocking(|| Store::open_in(&data, &options))?;
    let parents: Vec<String> = topology.globals.iter().map(|global| global.name.clone()).collect();
    let limits = OutboxLimits { bytes: topology.outbox.bytes, age: topology.outbox.age };
    let outlet = Outlet::open(&store, &parents, limits)?;
    let place = (&datacenter.region, &datacenter.name);
    let status = NodeStatus::silent(&node.name, Role::Primary, place.0, place.1, http.local_address());
    let status = watch::Sender::new(status.started(env!("CARGO_PKG_VERSION"), store.incarnation(), now));
    let (mut registry, metrics) = exposed(&surroundings, &status, &store);
    let budget = Budget {
        label_values_max: topology.rows.kept_label_values as usize,
        job_rows_max: topology.rows.per_job as usize,
        promoted: topology.promote.clone(),
    };
    let rows = watch::Sender::new(KeptReport::new(budget.clone()));
    registry.register_collector(Box::new(ExposedKept::new(rows.subscribe())));
    let name = node.name.clone();
    let identity = Identity {
        node: node.name,
        role: Role::Primary,
        region: datacenter.region.clone(),
        datacenter: datacenter.name.clone(),
    };

    let (to_tower, targets) = mpsc::channel(4);
    let (events, wishes) = mpsc::channel(16);
    let (to_regroup, secondaries) = mpsc::channel(4);
    let place = Place {
        region: datacenter.region.clone(),
        datacenter: datacenter.name.clone(),
        window: topology.defaults.window,
        late_window: topology.defaults.late_window,
    };
    let shares = Shares::load(&store, names(&datacenter.secondaries), topology.defaults.window)?;
    let decided = Decided { shares, kept: blocking(|| Kept::open(store.clone(), budget))? };
    let mail = Mail { targets, secondaries, wishes };
    let roll = watch::Sender::new(Roll::default());
    let said = Said { status: status.clone(), roll: roll.clone(), rows: rows.clone() };
    let callers = Callers::new(metrics.clone());
    let tree = Tree::new(callers.clone(), Arc::new(move || roll.borrow().clone()));
    let discovery = discovery(&surroundings, base, DiscoveryMetrics::register(&mut registry));
    let security = surroundings.security.clone();
    let lines = Lines {
        identity: identity.clone(),
        surroundings,
        outlet: Arc::clone(&outlet),
        status: status.clone(),
        events,
        metrics: metrics.clone(),
        answers: Arc::new(Holder(tree.clone(), topology.queries)),
    };
    let links: Vec<Link> = topology.globals.iter().map(|global| lines.link_to(global)).collect();
    Link::set_clock(&links).await;
    let tower = Tower::open(place, store.clone(), outlet, decided, mail, said, clock.now())?;

    let mut tasks: Tasks<Error> = Tasks::new();
    let (to_configure, configured) = mpsc::channel(4);
    let (configs, make) = (datacenter.scrape_configs.clone(), making(&datacenter, discovery.metrics.clone()));
    tasks.start("discover", |cancel| async move {
        let sources = |configs: &Vec<ScrapeConfig>| configs.iter().map(ScrapeConfig::sources).collect();
        discover(Discovery::new(discovery), configs, configured, sources, make, to_tower, cancel).await;
        Ok(())
    });
    let (to_keeper, calls) = mpsc::channel(CALLS_MAX);
    let (taken, served) = (CallMetrics::register(&mut registry), HttpMetrics::register(&mut registry));
    tasks.start("take calls", |cancel| async move {
        firetower_wire::serve(grpc, to_keeper, taken, cancel).await;
        Ok(())
    });
    let keeping = Keeping {
        identity,
        store: store.clone(),
        inbox_bytes: topology.inbox.bytes,
        clock: clock.clone(),
        metrics,
        callers,
    };
    tasks.start("merge", |cancel| async move { Ok(keep(keeping, tower, calls, cancel).await?) });
    for link in links {
        tasks.start("link to a global", |cancel| async move { Ok(link.run(cancel).await?) });
    }
    let (copied, watched) = (store.clone(), store.clone());
    let asking = clock.clone();
    tasks.start("maintain rows", |cancel| async move { Ok(maintain_rows(store, clock, cancel).await?) });
    let said_jobs = watch::Sender::new(datacenter.scrape_configs.clone());
    let queries = topology.queries;
    let about_it = describe(now, topology.retention.raw, said_jobs.subscribe());
    let changes = Changes { jobs: to_configure, said_jobs, secondaries: to_regroup };
    let reload = reloading(reload, Arc::new(topology), name, changes);
    let again = reload.clone();
    tasks.start("reload on SIGHUP", |cancel| async move { Ok(reload_on_signal(again, cancel).await?) });
    let readiness = Readiness::waiting("starting");
    readiness.set_ready();
    let said = readiness.clone();
    let say = move |held: Option<&str>| said.set(held);
    let told = status.clone();
    tasks.start("watch the disk", |cancel| async move { Ok(watch_disk(watched, told, say, cancel).await?) });
    let answers = Common { readiness, registry: Arc::new(registry), reload: Some(reload) };
    let make: MakeBackup = Arc::new(move |to| Ok(copied.backup(to).map(|made| (made.files, made.bytes))?));
    let router = common(answers)
        .merge(kept(rows.subscribe()))
        .merge(monitor(status.subscribe()))
        .merge(backup(make))
        .merge(series(tree.clone(), Arc::new(tree), asking, queries))
        .merge(about(about_it));
    start_http(&mut tasks, http, router, security, served);
    Ok(tasks)
}

/// Returns what is counted of every primary.
fn exposed(surroundings: &Surroundings, status: &watch::Sender<NodeStatus>, store: &Store) -> (Registry, RelayMetrics) {
    let mut registry = Registry::default();
    let metrics = RelayMetrics::register(&mut registry);
    registry.register_collector(Box::new(ExposedStatus::new(status.subscribe())));
    surroundings.security.register(&mut registry);
    ProcessMetrics::register(&mut registry);
    registry.register_collector(Box::new(ExposedClock::new(surroundings.clock.clone(), status.subscribe())));
    registry.register_collector(Box::new(ExposedDisk::new(store.clone())));
    (registry, metrics)
}

/// What the links to all replicas of the global aggregator share.
struct Lines {
    identity: Identity,
    surroundings: Surroundings,
    outlet: Arc<Outlet>,
    status: watch::Sender<NodeStatus>,
    events: mpsc::Sender<ParentEvent>,
    metrics: RelayMetrics,
    answers: Arc<dyn Answers>,
}

impl Lines {
    fn link_to(&self, global: &Node) -> Link {
        Link {
            identity: self.identity.clone(),
            parent: global.name.clone(),
            address: global.grpc.clone().unwrap_or_default(),
            connector: self.surroundings.connector_to(&global.name),
            clock: self.surroundings.clock.clone(),
            random: self.surroundings.random.clone(),
            outlet: Arc::clone(&self.outlet),
            status: self.status.subscribe(),
            // A primary follows no assignment.
            taken: watch::Sender::new(Default::default()).subscribe(),
            events: self.events.clone(),
            metrics: self.metrics.clone(),
            answers: Some(Arc::clone(&self.answers)),
        }
    }
}

/// Returns what targets are looked for with.
fn discovery(surroundings: &Surroundings, folder: PathBuf, metrics: DiscoveryMetrics) -> DiscoverySetup {
    let (connector, environment) = (surroundings.connector.clone(), EnvironmentProxies::of_process());
    let client = Client::of_folder(connector, blocking(Tls::system), folder.clone(), environment);
    DiscoverySetup { client, names: surroundings.names.clone(), folder, read_file, read_list, metrics }
}

/// Returns what it says of itself: the jobs of its datacenter, and how long their samples are kept below.
fn describe(started: Timestamp, retention: Duration, jobs: watch::Receiver<Vec<ScrapeConfig>>) -> About {
    let job = |job: &ScrapeConfig| (job.job_name.clone(), job.interval, job.timeout);
    let read = move || jobs.borrow().iter().map(job).collect();
    About { started, retention: Arc::new(move || retention), jobs: Arc::new(read) }
}

/// Where what a reload changes goes.
#[derive(Clone)]
struct Changes {
    jobs: mpsc::Sender<Vec<ScrapeConfig>>,
    said_jobs: watch::Sender<Vec<ScrapeConfig>>,
    secondaries: mpsc::Sender<Vec<String>>,
}

/// Returns what reads the topology again, and hands on the datacenter's jobs and secondaries. A file with a fault changes
/// nothing. `started` is the topology that this primary, `node`, was started with.
fn reloading(
    reload: Arc<dyn Fn() -> Result<Topology, String> + Send + Sync>,
    started: Arc<Topology>,
    node: String,
    changes: Changes,
) -> Reload {
    Reload::new(move || {
        let (reload, started, node) = (Arc::clone(&reload), Arc::clone(&started), node.clone());
        let changes = changes.clone();
        async move {
            let topology = blocking(|| reload())?;
            let Some(firetower_topology::Place::Primary(datacenter, _)) = topology.find(&node) else {
                return Err(format!("{node} is no primary of the topology any more"));
            };
            changes.said_jobs.send_replace(datacenter.scrape_configs.clone());
            // The secondaries first, so that new targets are shared out among all of them.
            let is_taken = changes.secondaries.send(names(&datacenter.secondaries)).await.is_ok()
                && changes.jobs.send(datacenter.scrape_configs.clone()).await.is_ok();
            if is_taken {
                Ok(needing_restart(&started, &topology, &node))
            } else {
                Err("the primary is stopping".into())
            }
        }
    })
}

fn names(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(|node| node.name.clone()).collect()
}

fn finish(
    (failed, overran): (Vec<firetower_daemon::Ended<Error>>, Vec<&'static str>),
    grace: Duration,
) -> Result<(), Error> {
    if let Some(ended) = failed.into_iter().next() {
        return Err(match ended.result {
            Err(Some(error)) => error,
            _ => Error::Panicked { name: ended.name },
        });
    }
    if overran.is_empty() { Ok(()) } else { Err(Error::Overran { grace, tasks: overran }) }
}
