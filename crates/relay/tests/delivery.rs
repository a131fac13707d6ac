//! A child and a parent over a real connection: every frame is applied once, and forgotten when it is acknowledged.

// A test may panic; the configured exception does not reach its own functions outside of `#[test]`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use firetower_daemon::{Clock, Connector, Listener, Random};
use firetower_model::labels::NAME;
use firetower_model::{
    Body, Coverage, Cross, Epoch, Generation, HealthReport, KeptLabels, KeptVersion, Labels, NodeStatus, Revision,
    Role, Timestamp, Watermark, Window, WindowRows,
};
use firetower_relay::{Children, Error, Identity, Link, Orders, Outlet, Parent, RelayMetrics, keep};
use firetower_store::{Batch, Options, Store};
use firetower_wire::{Hello, Refusal};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A frame's weight, and the key and sum of each of its rows.
type Heard = (u64, Vec<(Labels, f64)>);

/// Remembers what it was told to apply.
#[derive(Clone, Default)]
struct Applied(Arc<Mutex<Vec<Heard>>>);

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

fn identity(node: &str, role: Role) -> Identity {
    Identity { node: node.into(), role, region: "eu".into(), datacenter: "dub".into() }
}

fn open(directory: &tempfile::TempDir, name: &str) -> Store {
    Store::open(&directory.path().join(name), &Options::new(Timestamp::from_millis(1), 7)).unwrap()
}

fn status() -> NodeStatus {
    NodeStatus::silent("s0", Role::Secondary, "eu", "dub", "")
}

/// Pushes a window with a row for each of `values`, durable and published.
fn push(store: &Store, outlet: &Outlet, window: i64, values: &[f64]) {
    let row = |(at, value): (usize, &f64)| {
        let key = Labels::new([(NAME, format!("m{at}")), ("job", "node".into())]);
        let cross = Cross { series: 1, sum: *value, min: *value, max: *value, ..Cross::EMPTY };
        (store.intern_row_key(&key).unwrap(), cross)
    };
    let body = Body::Rows(WindowRows {
        datacenter: "dub".into(),
        window: Window::containing(Timestamp::from_millis(window * 15_000), Duration::from_secs(15)),
        revision: Revision(1),
        epoch: Epoch(0),
        coverage: Coverage::default(),
        slots: None,
        watermark: Watermark { newest: Timestamp::from_millis(0), complete_through: Timestamp::from_millis(0) },
        rows: values.iter().enumerate().map(row).collect(),
        durations: Vec::new(),
        kept: KeptVersion::default(),
    });
    let mut batch = Batch::default();
    outlet.collect(&mut batch, values.len() as u64);
    outlet.push(&mut batch, &body, values.len() as u64, Timestamp::from_millis(1)).unwrap();
    store.commit(batch).unwrap();
    store.sync().unwrap();
    outlet.publish();
}

async fn until_delivered(outlet: &Outlet) {
    let delivered = async {
        while outlet.queued() != (0, 0) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), delivered).await.expect("every frame is acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_is_applied_once_also_one_without_rows() {
    let directory = tempfile::tempdir().unwrap();
    let (above, below) = (open(&directory, "p0"), open(&directory, "s0"));
    let clock = Clock::system();
    let cancel = CancellationToken::new();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().to_owned();
    let (to_keeper, calls) = mpsc::channel(8);
    let serving = tokio::spawn(firetower_wire::serve(listener, to_keeper, cancel.clone()));
    let applied = Applied::default();
    let recorder = Recorder { store: above.clone(), applied: applied.clone() };
    let parent = identity("p0", Role::Primary);
    let metrics = RelayMetrics::default();
    let keeping = tokio::spawn(keep(parent, above, recorder, calls, clock.clone(), metrics.clone(), cancel.clone()));

    let outlet = Outlet::open(&below, &["p0".to_owned()]).unwrap();
    push(&below, &outlet, 1, &[]);
    let (events, _wishes) = mpsc::channel(4);
    let (status, taken) = (watch::Sender::new(status()), watch::Sender::new(Default::default()));
    let link = Link {
        identity: identity("s0", Role::Secondary),
        parent: "p0".into(),
        address,
        connector: Connector::tcp(),
        clock,
        random: Random::seeded(1),
        outlet: Arc::clone(&outlet),
        status: status.subscribe(),
        taken: taken.subscribe(),
        events,
        metrics,
    };
    let linking = tokio::spawn(link.run(cancel.clone()));
    until_delivered(&outlet).await;
    push(&below, &outlet, 2, &[2.0, 3.0]);
    push(&below, &outlet, 3, &[5.0]);
    until_delivered(&outlet).await;
    cancel.cancel();
    linking.await.unwrap().unwrap();
    keeping.await.unwrap().unwrap();
    serving.await.unwrap();

    let key = |at: usize| Labels::new([(NAME, format!("m{at}")), ("job", "node".into())]);
    let expected = vec![(0, vec![]), (2, vec![(key(0), 2.0), (key(1), 3.0)]), (1, vec![(key(0), 5.0)])];
    assert_eq!(*applied.0.lock().unwrap(), expected);
    let account = &outlet.accounts(0)[0];
    assert_eq!((account.collected, account.delivered, account.residual()), (3, 3, 0));
}
