//! Peers that speak the protocol and mean harm: each is refused and counted, and no other child notices.

// A test may panic; the configured exception does not reach its own functions outside of `#[test]`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use firetower_daemon::{Clock, Connector, Listener};
use firetower_model::labels::NAME;
use firetower_model::{
    Body, Coverage, Cross, Epoch, Generation, HealthReport, Incarnation, KeptLabels, KeptVersion, Labels, Revision,
    Role, RowId, Sequence, Timestamp, Watermark, Window, WindowRows,
};
use firetower_relay::{Children, Error, Identity, Keeping, Orders, Parent, RelayMetrics, keep};
use firetower_store::{Batch, Options, Store};
use firetower_wire::{
    CallMetrics, DialOptions, Features, FrameDown, FrameUp, Hello, Opening, ParentControl, Receiver, Refusal,
    RefusalReason, RowKeys, SealedFrame, Sender, encode_frame, kind, limits,
};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);
const INCARNATION: Incarnation = Incarnation { created: Timestamp::from_millis(1), random: 7 };

/// Takes everybody on and keeps nothing.
struct Open;

impl Parent for Open {
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
        _rows: WindowRows,
        _weight: u64,
        _now: Timestamp,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn apply_health(
        &mut self,
        _batch: &mut Batch,
        _child: &str,
        _report: HealthReport,
        _now: Timestamp,
    ) -> Result<(), Error> {
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

/// A parent, and what it counts.
struct Above {
    address: String,
    registry: Registry,
    clock: Clock,
    cancel: CancellationToken,
    keeping: tokio::task::JoinHandle<Result<(), Error>>,
    _directory: tempfile::TempDir,
}

impl Above {
    async fn start() -> Above {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &Options::new(Timestamp::from_millis(1), 7)).unwrap();
        let (clock, cancel) = (Clock::system(), CancellationToken::new());
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().to_owned();
        let mut registry = Registry::default();
        let metrics = RelayMetrics::register(&mut registry);
        let (to_keeper, calls) = mpsc::channel(8);
        tokio::spawn(firetower_wire::serve(listener, to_keeper, CallMetrics::default(), cancel.clone()));
        let role = Role::Primary;
        let identity = Identity { node: "p0".into(), role, region: "eu".into(), datacenter: "dub".into() };
        let keeping = Keeping { identity, store, inbox_bytes: 64 << 20, clock: clock.clone(), metrics };
        let keeping = tokio::spawn(keep(keeping, Open, calls, cancel.clone()));
        Above { address, registry, clock, cancel, keeping, _directory: directory }
    }

    /// Opens a stream of frames as `node`, which says hello before if `greets`.
    async fn frames(&self, node: &str, greets: bool) -> (Sender<FrameUp>, Receiver<FrameDown>) {
        let parent =
            firetower_wire::Parent::dial(&Connector::tcp(), &self.address, DialOptions::default()).await.unwrap();
        if greets {
            let hello = Hello {
                node: node.into(),
                role: Role::Secondary,
                version: String::new(),
                incarnation: INCARNATION,
                region: String::new(),
                datacenter: String::new(),
                highest_sequence: Sequence(0),
                row_keys: 0,
                settled_through: Sequence(0),
                features: Features::default(),
            };
            let (up, mut down) = parent.control(hello).await.unwrap();
            assert!(matches!(down.next().await.unwrap(), Some(ParentControl::HelloReply(_))));
            // The call stays open for as long as the runtime does.
            std::mem::forget((up, down));
        }
        parent
            .live(Opening { node: node.into(), incarnation: INCARNATION, features: Features::default() })
            .await
            .unwrap()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }

    fn check_counted(&self, series: &str) {
        let text = self.metrics();
        let line = text.lines().find(|line| line.starts_with(&format!("firetower_relay_{series} ")));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{series}: {line:?} in {text}");
    }
}

async fn refusal(down: &mut Receiver<FrameDown>) -> Refusal {
    match timeout(LIMIT, down.next()).await.unwrap().unwrap().unwrap() {
        FrameDown::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn frame(kind: u32, payload: Vec<u8>) -> FrameUp {
    FrameUp::Frame(SealedFrame { sequence: Sequence(1), weight: 1, kind, row_keys_needed: 0, payload: payload.into() })
}

fn rows_of(at: Timestamp) -> Body {
    Body::Rows(WindowRows {
        datacenter: "dub".into(),
        window: Window::containing(at, Duration::from_secs(15)),
        revision: Revision(1),
        epoch: Epoch(0),
        coverage: Coverage::default(),
        slots: None,
        watermark: Watermark::default(),
        rows: Vec::<(RowId, Cross)>::new(),
        durations: Vec::new(),
        kept: KeptVersion::default(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_means_harm_is_refused_and_counted() {
    let above = Above::start().await;
    let (good, mut hears) = above.frames("good", true).await;

    for at in 0..50 {
        let (_up, mut down) = above.frames(&format!("stranger-{at}"), false).await;
        assert_eq!(refusal(&mut down).await.reason, RefusalReason::Busy);
    }
    above.check_counted("refused_streams_total");
    assert!(!above.metrics().contains("stranger"), "who has not said hello is given no series");

    let bomb = zstd::bulk::compress(&vec![0; limits::FRAME_BYTES_MAX + 1], 1).unwrap();
    for payload in [bomb, vec![0xff; 4_096]] {
        let (up, mut down) = above.frames("evil", true).await;
        up.send(frame(1, payload)).await.unwrap();
        assert_eq!(refusal(&mut down).await.reason, RefusalReason::Malformed);
    }
    above.check_counted("malformed_frames_total{peer=\"evil\"}");

    let (up, mut down) = above.frames("evil", true).await;
    let body = rows_of(above.clock.now() + Duration::from_secs(48 * 3_600));
    up.send(frame(kind(&body), encode_frame(&body).unwrap())).await.unwrap();
    let refused = refusal(&mut down).await;
    assert!(refused.text.contains("over a day ahead: is the clock of evil right?"), "{refused:?}");
    above.check_counted("refused_windows_total{peer=\"evil\"}");

    let (up, mut down) = above.frames("evil", true).await;
    let flooding = tokio::spawn(async move {
        for batch in 0..20u32 {
            let first = batch * limits::ROW_KEYS_MAX as u32;
            let key = |id: u32| Labels::new([(NAME, format!("m{}", first + id))]);
            let keys = (0..limits::ROW_KEYS_MAX as u32).map(key).collect();
            if up.send(FrameUp::RowKeys(RowKeys { first: RowId(first), keys })).await.is_err() {
                break;
            }
        }
        up
    });
    let refused = refusal(&mut down).await;
    assert!(refused.text.contains("row keys of evil are too many"), "{refused:?}");
    above.check_counted("refused_row_keys_total{peer=\"evil\"}");
    drop((down, timeout(LIMIT, flooding).await.unwrap()));

    let body = rows_of(above.clock.now());
    good.send(frame(kind(&body), encode_frame(&body).unwrap())).await.unwrap();
    let said = timeout(LIMIT, hears.next()).await.unwrap().unwrap();
    assert_eq!(said, Some(FrameDown::Acknowledged(vec![Sequence(1)..=Sequence(1)])), "the others are served");
    above.cancel.cancel();
    above.keeping.await.unwrap().unwrap();
}
