//! A parent that remembers what it was told to apply, and a child.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firetower_daemon::{Clock, Connector, Listener, Random};
use firetower_model::labels::NAME;
use firetower_model::{
    Body, Coverage, Cross, Epoch, Generation, HealthReport, Incarnation, KeptLabels, KeptVersion, Labels, NodeStatus,
    Revision, Role, RowId, Sequence, Timestamp, Watermark, Window, WindowRows,
};
use firetower_relay::{
    Answers, Callers, Children, Error, Identity, Keeping, Link, Orders, OutboxLimits, Outlet, Parent, RelayMetrics,
    keep,
};
use firetower_store::{Batch, Options, Store};
use firetower_wire::{Features, Hello, Refusal};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Frames may be as old as time.
const LIMITS: OutboxLimits = OutboxLimits { bytes: 1 << 20, age: Duration::from_secs(u32::MAX as u64) };

/// The data directory of a child that only speaks the wire.
pub(crate) const LIFE: Incarnation = Incarnation { created: Timestamp::from_millis(1), random: 1 };

/// A frame's weight, and the key and sum of each of its rows.
pub(crate) type Heard = (u64, Vec<(Labels, f64)>);

/// Remembers what it was told to apply.
#[derive(Clone, Default)]
pub(crate) struct Applied(pub(crate) Arc<Mutex<Vec<Heard>>>);

struct Recorder {
    store: Store,
    applied: Applied,
}

impl Parent for Recorder {
    fn admit(&self, _hello: &Hello) -> Result<(), Refusal> {
        Ok(())
    }

    fn greet(&mut self, _child: &str) -> Orders {
        Orders::default()
    }

    fn apply_rows(
        &mut self,
        _batch: &mut Batch,
        _child: &str,
        rows: WindowRows,
        weight: u64,
        _now: Timestamp,
    ) -> Result<(), Error> {
        let named = rows.rows.iter().map(|(id, cross)| (self.store.row_key(*id).unwrap(), cross.sum)).collect();
        self.applied.0.lock().unwrap().push((weight, named));
        Ok(())
    }

    fn apply_health(
        &mut self,
        batch: &mut Batch,
        _child: &str,
        report: HealthReport,
        _now: Timestamp,
    ) -> Result<(), Error> {
        self.store.put_health(batch, &report);
        Ok(())
    }

    fn apply_unknown(&mut self, _batch: &mut Batch, _weight: u64) {}

    fn apply_kept(&mut self, _batch: &mut Batch, _child: &str, _labels: KeptLabels) -> Result<(), Error> {
        Ok(())
    }

    fn taken(&mut self, _child: &str, _generation: Generation, _fingerprint: u64) {}

    fn tick(&mut self, _children: &Children, _now: Timestamp) -> Result<(), Error> {
        Ok(())
    }
}

pub(crate) fn identity(node: &str, role: Role) -> Identity {
    Identity { node: node.into(), role, region: "eu".into(), datacenter: "dub".into() }
}

pub(crate) fn open(directory: &tempfile::TempDir, name: &str) -> Store {
    Store::open(&directory.path().join(name), &Options::new(Timestamp::from_millis(1), 7)).unwrap()
}

/// The first words of a child.
pub(crate) fn hello(node: &str, features: Features) -> Hello {
    Hello {
        node: node.into(),
        role: Role::Secondary,
        version: "test".into(),
        incarnation: LIFE,
        region: "eu".into(),
        datacenter: "dub".into(),
        highest_sequence: Sequence(0),
        row_keys: 0,
        settled_through: Sequence(0),
        features,
    }
}

/// Rows of the window of `at`.
pub(crate) fn window_rows(at: Timestamp, rows: Vec<(RowId, Cross)>) -> Body {
    Body::Rows(WindowRows {
        datacenter: "dub".into(),
        window: Window::containing(at, Duration::from_secs(15)),
        revision: Revision(1),
        epoch: Epoch(0),
        coverage: Coverage::default(),
        slots: None,
        watermark: Watermark { newest: Timestamp::from_millis(0), complete_through: Timestamp::from_millis(0) },
        rows,
        durations: Vec::new(),
        kept: KeptVersion::default(),
    })
}

pub(crate) fn status() -> NodeStatus {
    NodeStatus::silent("s0", Role::Secondary, "eu", "dub", "")
}

/// A running parent.
pub(crate) struct Above {
    pub(crate) address: String,
    pub(crate) metrics: RelayMetrics,
    pub(crate) callers: Callers,
    pub(crate) registry: Registry,
    cancel: CancellationToken,
    keeping: JoinHandle<Result<(), Error>>,
    serving: JoinHandle<()>,
}

/// Starts a parent that keeps its frames in `store`, and remembers in `applied` what it was told to apply.
pub(crate) async fn start_parent(store: Store, applied: Applied, inbox_bytes: u64) -> Above {
    start_parent_at(Listener::bind("127.0.0.1:0").await.unwrap(), store, applied, inbox_bytes)
}

/// The same at a listener.
pub(crate) fn start_parent_at(listener: Listener, store: Store, applied: Applied, inbox_bytes: u64) -> Above {
    let (address, cancel) = (listener.local_address().to_owned(), CancellationToken::new());
    let (to_keeper, calls) = mpsc::channel(8);
    let serving = tokio::spawn(firetower_wire::serve(
        listener,
        to_keeper,
        firetower_wire::CallMetrics::default(),
        cancel.clone(),
    ));
    let recorder = Recorder { store: store.clone(), applied };
    let mut registry = Registry::default();
    let (identity, metrics) = (identity("p0", Role::Primary), RelayMetrics::register(&mut registry));
    let callers = Callers::new(metrics.clone());
    let (asking, clock) = (callers.clone(), Clock::system());
    let keeping = Keeping { identity, store, inbox_bytes, clock, metrics: metrics.clone(), callers };
    let keeping = tokio::spawn(keep(keeping, recorder, calls, cancel.clone()));
    Above { address, metrics, callers: asking, registry, cancel, keeping, serving }
}

impl Above {
    pub(crate) fn exposed(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }

    pub(crate) fn check_counted(&self, series: &str) {
        let text = self.exposed();
        let line = text.lines().find(|line| line.starts_with(&format!("firetower_relay_{series} ")));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{series}: {line:?} in {text}");
    }

    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.keeping.await.unwrap().unwrap();
        self.serving.await.unwrap();
    }
}

/// A child's store, and what goes up from it.
pub(crate) struct Below {
    store: Store,
    pub(crate) outlet: Arc<Outlet>,
}

impl Below {
    pub(crate) fn new(directory: &tempfile::TempDir) -> Below {
        let store = open(directory, "s0");
        let outlet = Outlet::open(&store, &["p0".to_owned()], LIMITS).unwrap();
        Below { store, outlet }
    }

    /// Pushes a window with a row for each of `values`, durable and published, as if it was long ago.
    pub(crate) fn push(&self, window: i64, values: &[f64]) {
        self.push_at(window, values, Timestamp::from_millis(1));
    }

    pub(crate) fn push_at(&self, window: i64, values: &[f64], now: Timestamp) {
        let row = |(at, value): (usize, &f64)| {
            let key = Labels::new([(NAME, format!("m{at}")), ("job", "node".into())]);
            let cross = Cross { series: 1, sum: *value, min: *value, max: *value, ..Cross::EMPTY };
            (self.store.intern_row_key(&key).unwrap(), cross)
        };
        let at = Timestamp::from_millis(window * 15_000);
        let body = window_rows(at, values.iter().enumerate().map(row).collect());
        let mut batch = Batch::default();
        self.outlet.collect(&mut batch, values.len() as u64);
        self.outlet.push(&mut batch, &body, values.len() as u64, now).unwrap();
        self.store.commit(batch).unwrap();
        self.store.sync().unwrap();
        self.outlet.publish();
    }

    /// Runs the link to the parent at `address` until `cancel`.
    pub(crate) fn link(
        &self,
        address: String,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), Error>> + use<> {
        self.link_answering(address, None, cancel)
    }

    /// The same, with what answers the parent's queries.
    pub(crate) fn link_answering(
        &self,
        address: String,
        answers: Option<Arc<dyn Answers>>,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), Error>> + use<> {
        let (events, mut wishes) = mpsc::channel(4);
        let (status, taken) = (watch::Sender::new(status()), watch::Sender::new(Default::default()));
        let link = Link {
            identity: identity("s0", Role::Secondary),
            parent: "p0".into(),
            address,
            connector: Connector::tcp(),
            clock: Clock::system(),
            random: Random::seeded(1),
            outlet: Arc::clone(&self.outlet),
            status: status.subscribe(),
            taken: taken.subscribe(),
            events,
            metrics: RelayMetrics::default(),
            answers,
        };
        async move {
            let nobody = async { while wishes.recv().await.is_some() {} };
            tokio::join!(link.run(cancel), nobody).0
        }
    }

    pub(crate) async fn until_delivered(&self) {
        let delivered = async {
            while self.outlet.queued() != (0, 0) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(60), delivered).await.expect("every frame is acknowledged");
    }
}
