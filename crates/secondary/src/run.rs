//! The wiring of a secondary, below a primary or alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use firetower_api::{
    About, AskTargets, Common, MakeBackup, Readiness, Reload, TakeWrite, WriteMetrics, about, backup, common, kept,
    monitor, reload_on_signal, series, spans, targets, tsdb, write,
};
use firetower_daemon::{
    Clock, Ended, HttpMetrics, Listener, ProcessMetrics, Security, Surroundings, Tasks, blocking, start_http,
};
use firetower_model::{Assignment, Budget, Generation, KeptLabels, KeptReport, NodeStatus, Role, Timestamp, Window};
use firetower_query::Local;
use firetower_relay::{
    Answers, ExposedClock, ExposedDisk, ExposedKept, ExposedStatus, Identity, Link, OutboxLimits, Outlet, RelayMetrics,
    watch_disk,
};
use firetower_scrape::{
    Buffers, Client, Discovery, DiscoveryMetrics, DiscoverySetup, EnvironmentProxies, PageShapes, ScrapeMetrics,
    Scraper, Tls, discover,
};
use firetower_store::{Batch, DataDirectory, Memory, Options, Store};
use firetower_topology::{
    Datacenter, Node, QueryLimits, ReceiveLimits, Retention, ScrapeConfig, Topology, needing_restart,
};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::answer::{Holder, Owned};
use crate::census::Census;
use crate::collect::{Assign, Collecting, Wish, Wishes, collect, listen_to_parents};
use crate::collector::{Collector, Place, newest_stamped};
use crate::discovery::{making, read_file, read_list};
use crate::listed::Listed;
use crate::maintain::maintain;
use crate::metrics::StoreMetrics;
use crate::plan::Plans;
use crate::read_only::answer_read_only;
use crate::receive::Receiver;
use crate::targets::{Scraping, Targets};
use crate::tsdb::read_tsdb;

/// Scrapes that wait for the collector; more make their targets wait.
const SCRAPES_MAX: usize = 1_024;

/// What a secondary below a primary is started with.
pub struct Setup {
    /// Clock, randomness, connections.
    pub surroundings: Surroundings,
    /// The checked topology.
    pub topology: Topology,
    /// Its own datacenter in it.
    pub datacenter: Datacenter,
    /// Itself in it.
    pub node: Node,
    /// Folder that files of secrets are looked for under.
    pub base: PathBuf,
    /// Its data directory.
    pub data: DataDirectory,
    /// How much time a block of raw samples covers in a new data directory, if not as usual.
    pub block: Option<Duration>,
    /// Where HTTP is answered.
    pub http: Listener,
    /// Reads the topology again; the complaints if it is refused.
    pub reload: Arc<dyn Fn() -> Result<Topology, String> + Send + Sync>,
    /// How long stopping may take.
    pub grace: Duration,
}

/// What a secondary that runs alone is started with.
pub struct StandaloneSetup {
    /// Clock, randomness, connections.
    pub surroundings: Surroundings,
    /// Its jobs.
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Folder that files of targets and secrets are looked for under.
    pub base: PathBuf,
    /// Its data directory.
    pub data: DataDirectory,
    /// How much time a block of raw samples covers in a new data directory, if not as usual.
    pub block: Option<Duration>,
    /// How long data is kept.
    pub retention: Retention,
    /// Memory that its store may use, beside what it holds for each series, in bytes.
    pub store_memory: u64,
    /// What it takes of what is written to it.
    pub receive: ReceiveLimits,
    /// Where HTTP is answered.
    pub http: Listener,
    /// Reads the jobs again; the complaints if they are refused.
    pub reload: Arc<dyn Fn() -> Result<Vec<ScrapeConfig>, String> + Send + Sync>,
    /// How long stopping may take.
    pub grace: Duration,
}

/// Runs a secondary below its primaries until `cancel`, then stops it in the order data flows.
///
/// # Errors
/// If it cannot start, or something fails that it cannot go on without.
pub async fn run(setup: Setup, cancel: CancellationToken) -> Result<(), Error> {
    let Setup { surroundings, topology, datacenter, node, base: folder, data, block, http, reload, grace } = setup;
    let clock = surroundings.clock.clone();
    let memory = Memory::of(topology.store_memory);
    let opened = blocking(|| open_store(&data, block, (memory, topology.retention.free), &surroundings));
    let store = match opened {
        Ok(store) => store,
        Err(failed) => return answer_read_only(&data, failed, http, &surroundings, cancel).await,
    };
    let parents: Vec<String> = datacenter.primaries.iter().map(|primary| primary.name.clone()).collect();
    let limits = OutboxLimits { bytes: topology.outbox.bytes, age: topology.outbox.age };
    let outlet = Outlet::open(&store, &parents, limits)?;
    let place = (&datacenter.region, &datacenter.name);
    let status = NodeStatus::silent(&node.name, Role::Secondary, place.0, place.1, http.local_address());
    let status = status.started(env!("CARGO_PKG_VERSION"), store.incarnation(), clock.now());
    let budget = Budget {
        label_values_max: topology.rows.kept_label_values as usize,
        job_rows_max: topology.rows.per_job as usize,
        promoted: topology.promote.clone(),
    };
    let mut base = Base::new(store.clone(), status, Some(Arc::clone(&outlet)), budget, &surroundings);
    base.queries = topology.queries;
    let relay_metrics = RelayMetrics::register(&mut base.registry);
    let place = Place {
        node: node.name.clone(),
        datacenter: datacenter.name.clone(),
        window: topology.defaults.window,
        late_window: topology.defaults.late_window,
        default_interval: topology.defaults.scrape_interval,
        raw_retention: topology.retention.raw,
    };
    let persisted = persisted_assignments(&store)?;
    let followed = persisted.last().map(|share| (share.generation, share.fingerprint)).unwrap_or_default();
    let (events, heard) = mpsc::channel(16);
    let (to_assign, assignments) = mpsc::channel(4);
    let (to_snapshot, snapshots) = mpsc::channel(4);
    let (to_keep, to_be_kept) = mpsc::channel(4);
    if let Some(share) = persisted.last().cloned() {
        // The channel is empty: there is room.
        let _ = to_assign.try_send(Wish::Follow(share));
    }
    // A channel for each link, so that they hear of it in order.
    let (taken, followers): (Vec<_>, Vec<_>) = datacenter.primaries.iter().map(|_| watch::channel(followed)).unzip();
    let (to_configure, configured) = mpsc::channel(4);
    let configs = datacenter.scrape_configs.clone();
    let client = client(&surroundings, folder);
    let inputs = Inputs { client, assignments, configured, snapshots, kept: to_be_kept, configs, persisted };
    let retention = watch::Sender::new(topology.retention);
    let limits = topology.receive;
    let place_of_written = Some((datacenter.region.as_str(), datacenter.name.as_str()));
    let receiver = Receiver::new(store.clone(), clock.clone(), limits, retention.subscribe(), place_of_written);
    let identity = Identity {
        node: node.name,
        role: Role::Secondary,
        region: datacenter.region.clone(),
        datacenter: datacenter.name.clone(),
    };
    let holder = Holder { store: Arc::new(store.clone()), owned: base.owned.subscribe(), limits: topology.queries };
    let answers: Arc<dyn Answers> = Arc::new(holder);
    let link = |(primary, taken): (&Node, watch::Receiver<(Generation, u64)>)| Link {
        identity: identity.clone(),
        parent: primary.name.clone(),
        address: primary.grpc.clone().unwrap_or_default(),
        connector: surroundings.connector_to(&primary.name),
        clock: clock.clone(),
        random: surroundings.random.clone(),
        outlet: Arc::clone(&outlet),
        status: base.status.subscribe(),
        taken,
        events: events.clone(),
        metrics: relay_metrics.clone(),
        answers: Some(Arc::clone(&answers)),
    };
    let links: Vec<Link> = datacenter.primaries.iter().zip(followers).map(link).collect();
    set_clock(&clock, &links, &store).await?;
    base.start(&clock, place, inputs, taken, (retention.subscribe(), memory))?;
    let wishes = Wishes { assignments: to_assign, snapshots: to_snapshot, kept: to_keep };
    base.tasks.start("listen to parents", |cancel| listen_to_parents(parents, heard, wishes, followed, cancel));
    for link in links {
        base.tasks.start("link to a primary", |cancel| async move { Ok(link.run(cancel).await?) });
    }
    let reload = reloading(reload, Arc::new(topology), identity.node, to_configure, retention);
    base.finish((http, receiver), clock, reload, cancel, grace).await
}

/// Puts the clock right before anything is stamped with it: by a parent's, if one answers soon, and never before what an
/// earlier life of the data directory has stamped.
async fn set_clock(clock: &Clock, links: &[Link], store: &Store) -> Result<(), Error> {
    Link::set_clock(links).await;
    if let Some(newest) = newest_stamped(store)? {
        let before = clock.now();
        clock.not_before(newest + Duration::from_millis(1));
        let ahead = newest.since(before);
        if !ahead.is_zero() {
            tracing::warn!(?ahead, "the clock is behind what was stamped before this start: time goes on from there");
        }
    }
    Ok(())
}

/// Returns what reads the topology again and hands on the datacenter's jobs and the retention; targets come from the
/// primaries. `started` is the topology that this secondary, `node`, was started with.
fn reloading(
    reload: Arc<dyn Fn() -> Result<Topology, String> + Send + Sync>,
    started: Arc<Topology>,
    node: String,
    to_configure: mpsc::Sender<Vec<ScrapeConfig>>,
    retention: watch::Sender<Retention>,
) -> Reload {
    Reload::new(move || {
        let (reload, started, node) = (Arc::clone(&reload), Arc::clone(&started), node.clone());
        let (to_configure, retention) = (to_configure.clone(), retention.clone());
        async move {
            let topology = blocking(|| reload())?;
            let Some(firetower_topology::Place::Secondary(datacenter, _)) = topology.find(&node) else {
                return Err(format!("{node} is no secondary of the topology any more"));
            };
            let sent = to_configure.send(datacenter.scrape_configs.clone()).await;
            sent.map_err(|_| "the secondary is stopping".to_owned())?;
            retention.send_replace(topology.retention);
            Ok(needing_restart(&started, &topology, &node))
        }
    })
}

/// Runs a secondary alone until `cancel`: it finds its targets itself and passes nothing on.
///
/// # Errors
/// If it cannot start, or something fails that it cannot go on without.
pub async fn run_standalone(setup: StandaloneSetup, cancel: CancellationToken) -> Result<(), Error> {
    let StandaloneSetup {
        surroundings,
        scrape_configs,
        base: folder,
        data,
        block,
        retention,
        store_memory,
        receive,
        http,
        reload,
        grace,
    } = setup;
    let clock = surroundings.clock.clone();
    let memory = Memory::of(store_memory);
    let opened = blocking(|| open_store(&data, block, (memory, retention.free), &surroundings));
    let store = match opened {
        Ok(store) => store,
        Err(failed) => return answer_read_only(&data, failed, http, &surroundings, cancel).await,
    };
    let status = NodeStatus::silent("standalone", Role::Secondary, "", "", http.local_address());
    let status = status.started(env!("CARGO_PKG_VERSION"), store.incarnation(), clock.now());
    // It sends no rows.
    let budget = Budget { label_values_max: 0, job_rows_max: 0, promoted: Vec::new() };
    set_clock(&clock, &[], &store).await?;
    let retention_now = watch::Sender::new(retention);
    let receiver = Receiver::new(store.clone(), clock.clone(), receive, retention_now.subscribe(), None);
    let mut base = Base::new(store, status, None, budget, &surroundings);
    let place = Place {
        node: "standalone".into(),
        datacenter: String::new(),
        window: Duration::from_secs(15),
        late_window: Duration::from_secs(3_600),
        default_interval: Duration::from_secs(15),
        raw_retention: retention.raw,
    };
    let (to_assign, assignments) = mpsc::channel(4);
    let (to_configure, configured) = mpsc::channel(4);
    let (_snapshots_unused, snapshots) = mpsc::channel(1);
    let (_kept_unused, kept) = mpsc::channel(1);
    let client = client(&surroundings, folder.clone());
    let metrics = DiscoveryMetrics::register(&mut base.registry);
    let names = surroundings.names.clone();
    let setup = DiscoverySetup { client: client.clone(), names, folder, read_file, read_list, metrics };
    let (to_discover, reloaded) = mpsc::channel(4);
    let (configs, make) = (scrape_configs.clone(), making(clock.clone(), setup.metrics.clone()));
    base.tasks.start("discover", |cancel| async move {
        let sources = |configs: &Vec<ScrapeConfig>| configs.iter().map(ScrapeConfig::sources).collect();
        discover(Discovery::new(setup), configs, reloaded, sources, make, to_assign, cancel).await;
        Ok(())
    });
    let inputs =
        Inputs { client, assignments, configured, snapshots, kept, configs: scrape_configs, persisted: Vec::new() };
    base.start(&clock, place, inputs, Vec::new(), (retention_now.subscribe(), memory))?;
    let reload = reloading_alone(reload, to_configure, to_discover);
    base.finish((http, receiver), clock, reload, cancel, grace).await
}

/// Returns what reads the jobs again, and hands them on. A file with a fault changes nothing.
fn reloading_alone(
    reload: Arc<dyn Fn() -> Result<Vec<ScrapeConfig>, String> + Send + Sync>,
    to_configure: mpsc::Sender<Vec<ScrapeConfig>>,
    to_discover: mpsc::Sender<Vec<ScrapeConfig>>,
) -> Reload {
    Reload::new(move || {
        let (reload, to_configure, to_discover) = (Arc::clone(&reload), to_configure.clone(), to_discover.clone());
        async move {
            let configs = blocking(|| reload())?;
            let is_taken = to_configure.send(configs.clone()).await.is_ok() && to_discover.send(configs).await.is_ok();
            if is_taken { Ok(Vec::new()) } else { Err("the secondary is stopping".to_owned()) }
        }
    })
}

/// Returns what all servers are asked with; files of secrets are looked for under `folder`.
fn client(surroundings: &Surroundings, folder: PathBuf) -> Client {
    let (connector, environment) = (surroundings.connector.clone(), EnvironmentProxies::of_process());
    Client::of_folder(connector, blocking(Tls::system), folder, environment)
}

/// Where what is to be scraped comes from.
struct Inputs {
    client: Client,
    assignments: mpsc::Receiver<Wish>,
    configured: mpsc::Receiver<Vec<ScrapeConfig>>,
    snapshots: mpsc::Receiver<()>,
    kept: mpsc::Receiver<KeptLabels>,
    configs: Vec<ScrapeConfig>,
    /// The share followed before a restart: windows left unfinished are those of its targets.
    persisted: Vec<Assignment>,
}

/// What both kinds of secondary have.
struct Base {
    store: Store,
    outlet: Option<Arc<Outlet>>,
    status: watch::Sender<NodeStatus>,
    rows: watch::Sender<KeptReport>,
    /// The targets that are scraped.
    owned: watch::Sender<Owned>,
    registry: Registry,
    tasks: Tasks<Error>,
    readiness: Readiness,
    security: Security,
    /// Who is asked for what is scraped, once something is.
    targets: Option<AskTargets>,
    jobs: watch::Sender<Vec<ScrapeConfig>>,
    retention: Option<watch::Receiver<Retention>>,
    queries: QueryLimits,
    started: Timestamp,
}

impl Base {
    fn new(
        store: Store,
        status: NodeStatus,
        outlet: Option<Arc<Outlet>>,
        budget: Budget,
        Surroundings { clock, security, .. }: &Surroundings,
    ) -> Base {
        let (status, rows) = (watch::Sender::new(status), watch::Sender::new(KeptReport::new(budget)));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ExposedStatus::new(status.subscribe())));
        registry.register_collector(Box::new(StoreMetrics::new(store.clone())));
        security.register(&mut registry);
        ProcessMetrics::register(&mut registry);
        registry.register_collector(Box::new(ExposedDisk::new(store.clone())));
        if outlet.is_some() {
            registry.register_collector(Box::new(ExposedKept::new(rows.subscribe())));
        }
        registry.register_collector(Box::new(ExposedClock::new(clock.clone(), status.subscribe())));
        let readiness = Readiness::waiting("starting");
        Base {
            store,
            outlet,
            status,
            rows,
            owned: watch::Sender::default(),
            registry,
            tasks: Tasks::new(),
            readiness,
            security: security.clone(),
            targets: None,
            jobs: watch::Sender::default(),
            retention: None,
            queries: QueryLimits::default(),
            started: clock.now(),
        }
    }

    /// Starts scraping, collecting and maintaining, in the order data flows.
    fn start(
        &mut self,
        clock: &Clock,
        place: Place,
        inputs: Inputs,
        taken: Vec<watch::Sender<(Generation, u64)>>,
        (retention, memory): (watch::Receiver<Retention>, Memory),
    ) -> Result<(), Error> {
        let (clock, store) = (clock.clone(), self.store.clone());
        let plans = Plans::open(store.clone(), self.rows.borrow().budget.clone())?;
        let version =
            store.note("health/version")?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
        let census = Census::new(&place.node, &place.datacenter, version);
        let (window, late_window) = (place.window, place.late_window);
        let mut collector =
            blocking(|| Collector::open(place, store.clone(), self.outlet.clone(), plans, census, clock.now()))?;
        let newest = inputs.persisted.last().cloned();
        for share in inputs.persisted {
            collector.remember(share)?;
        }
        if let Some(share) = newest {
            let mut batch = Batch::default();
            blocking(|| collector.assign(share, clock.now(), &mut batch))?;
            store.commit(batch)?;
        }
        self.owned.send_replace(collector.owned());
        let leading = collector.leading();
        let (to_collector, scrapes) = mpsc::channel(SCRAPES_MAX);
        let (to_assign, assigns) = mpsc::channel(1);
        let (ask, asks) = mpsc::channel(1);
        (self.targets, self.retention) = (Some(ask), Some(retention.clone()));
        self.jobs.send_replace(inputs.configs.clone());
        let jobs = self.jobs.clone();
        let buffers = Buffers::default();
        let scraper = Scraper {
            clock: clock.clone(),
            client: inputs.client,
            buffers: buffers.clone(),
            shapes: PageShapes::default(),
            metrics: ScrapeMetrics::register(&mut self.registry),
            scrapes: to_collector,
        };
        let scraping = Scraping { scraper, store: store.clone(), leading };
        let targets = Targets::new(scraping, &inputs.configs);
        let collecting = Collecting {
            collector,
            store: store.clone(),
            outlet: self.outlet.clone(),
            clock: clock.clone(),
            buffers,
            scrapes,
            assigns,
            snapshots: inputs.snapshots,
            kept: inputs.kept,
            asks,
            rows: self.rows.clone(),
            status: self.status.clone(),
            taken,
            owned: self.owned.clone(),
        };
        let (assignments, configured, ticking) = (inputs.assignments, inputs.configured, clock.clone());
        self.tasks.start("scrape", |cancel| {
            scrape((targets, jobs), (assignments, configured), to_assign, ticking, window, cancel)
        });
        self.tasks.start("collect", |cancel| collect(collecting, cancel));
        self.tasks.start("maintain the store", move |cancel| {
            maintain(store, retention, late_window, memory.settle_bytes, clock, cancel)
        });
        Ok(())
    }

    async fn finish(
        mut self,
        (http, receiver): (Listener, Receiver),
        clock: Clock,
        reload: Reload,
        cancel: CancellationToken,
        grace: Duration,
    ) -> Result<(), Error> {
        let again = reload.clone();
        self.tasks.start("reload on SIGHUP", |cancel| async move { Ok(reload_on_signal(again, cancel).await?) });
        self.readiness.set_ready();
        let (served, written) = (HttpMetrics::register(&mut self.registry), WriteMetrics::register(&mut self.registry));
        let bytes_max = receiver.bytes_max();
        let take: TakeWrite = Arc::new(move |body| receiver.take(body));
        let (watched, readiness) = (self.store.clone(), self.readiness.clone());
        let say = move |held: Option<&str>| readiness.set(held);
        let told = self.status.clone();
        self.tasks.start("watch the disk", |cancel| async move { Ok(watch_disk(watched, told, say, cancel).await?) });
        let answers = Common { readiness: self.readiness, registry: Arc::new(self.registry), reload: Some(reload) };
        let store = Arc::new(self.store);
        let read_tsdb = read_tsdb(Arc::clone(&store));
        let listed = Arc::new(Listed(Arc::clone(&store)));
        let mut router = common(answers).merge(series(Local(Arc::clone(&store)), listed, clock.clone(), self.queries));
        let jobs = self.jobs.clone();
        let read_jobs = move || {
            let job = |job: &ScrapeConfig| (job.job_name.clone(), job.interval, job.timeout);
            jobs.borrow().iter().map(job).collect()
        };
        let kept_for = self.retention;
        let retention = move || kept_for.as_ref().map(|retention| retention.borrow().raw).unwrap_or_default();
        let said = About { started: self.started, retention: Arc::new(retention), jobs: Arc::new(read_jobs) };
        let copied = Arc::clone(&store);
        let make: MakeBackup = Arc::new(move |to| Ok(copied.backup(to).map(|made| (made.files, made.bytes))?));
        router = router
            .merge(spans(Arc::clone(&store), clock))
            .merge(tsdb(read_tsdb))
            .merge(monitor(self.status.subscribe()))
            .merge(write(take, bytes_max, written))
            .merge(about(said))
            .merge(backup(make));
        if let Some(ask) = self.targets {
            router = router.merge(targets(ask));
        }
        if self.outlet.is_some() {
            router = router.merge(kept(self.rows.subscribe()));
        }
        start_http(&mut self.tasks, http, router, self.security, served);
        end(self.tasks.join(cancel, grace).await, grace)
    }
}

/// Scrapes what is assigned, from the moment the assignment holds, until `cancel`.
async fn scrape(
    (mut targets, jobs): (Targets, watch::Sender<Vec<ScrapeConfig>>),
    (mut assignments, mut configured): (mpsc::Receiver<Wish>, mpsc::Receiver<Vec<ScrapeConfig>>),
    to_collector: mpsc::Sender<Assign>,
    clock: Clock,
    window: Duration,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let mut followed: Vec<(u32, firetower_model::Target)> = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(configs) = configured.recv() => {
                targets.configure(&configs);
                jobs.send_replace(configs);
                targets.follow(followed.iter().cloned(), clock.now());
            }
            Some(wish) = assignments.recv() => {
                let assignment = match wish {
                    Wish::Follow(assignment) => assignment,
                    Wish::Twin(twin) => {
                        drop(to_collector.send(Assign::Twin(twin)).await);
                        continue;
                    }
                };
                // A share that holds from a later window on is another's until then; this clock may be behind the primary's.
                let now = clock.now();
                let from = assignment.effective_from.min(Window::containing(now, window).next().end());
                targets.leave(&assignment.targets, from);
                tokio::select! {
                    () = cancel.cancelled() => break,
                    () = clock.sleep_until(from) => {}
                }
                let (indexes, answer) = oneshot::channel();
                let list = assignment.targets.clone();
                if to_collector.send(Assign::Follow(assignment, indexes)).await.is_err() {
                    break;
                }
                let Ok(indexes) = answer.await else { break };
                followed = indexes.into_iter().zip(list).collect();
                // It begins with the share's first slot, and counts those that it came too late for. A share of long ago
                // is one from before a restart.
                let since = if now.since(from) < window { from } else { now };
                targets.follow(followed.iter().cloned(), since);
            }
        }
    }
    targets.stop().await;
    Ok(())
}

fn open_store(
    data: &DataDirectory,
    block: Option<Duration>,
    (memory, free_bytes): (Memory, Option<u64>),
    surroundings: &Surroundings,
) -> Result<Store, firetower_store::Error> {
    let mut options = Options::new(surroundings.clock.now(), surroundings.random.next_u64());
    (options.memory, options.free_bytes) = (memory, free_bytes);
    if let Some(block) = block {
        options.bucket = block;
    }
    Store::open_in(data, &options)
}

fn persisted_assignments(store: &Store) -> Result<Vec<Assignment>, Error> {
    let kept = store.assignments()?.into_iter();
    kept.map(|(_, bytes)| Ok(firetower_wire::decode_assignment(&bytes)?)).collect()
}

fn end((failed, overran): (Vec<Ended<Error>>, Vec<&'static str>), grace: Duration) -> Result<(), Error> {
    if let Some(ended) = failed.into_iter().next() {
        return Err(match ended.result {
            Err(Some(error)) => error,
            _ => Error::Panicked { name: ended.name },
        });
    }
    if overran.is_empty() { Ok(()) } else { Err(Error::Overran { grace, tasks: overran }) }
}
