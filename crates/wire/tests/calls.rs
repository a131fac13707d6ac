//! A child and a parent over loopback.

// A test may panic; the configured exception does not reach its own helpers outside of `#[test]`.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use firetower_daemon::{Connector, Listener};
use firetower_model::{
    Account, Ask, AskError, Assignment, Body, Claim, Coverage, DropReason, DroppedLabel, Generation, HealthCounts,
    Incarnation, Inquiry, KeptLabels, Labels, Listing, Matcher, Moments, NodeStatus, Role, RowId, Sequence, Target,
    TimeRange, Timestamp, Tombstone, Watermark,
};
use firetower_wire::limits::PART_BYTES_MAX;
use firetower_wire::{
    Accepted, AnswerDown, AnswerSession, AnswerUp, CallMetrics, ChildControl, ControlSession, DialOptions, Error,
    Features, FrameDown, FrameHead, FramePart, FrameSession, FrameUp, Heartbeat, Hello, HelloReply, Lane, Opening,
    Parent, ParentControl, Refusal, RefusalReason, RowKeys, SealedFrame, decode_frame, encode_frame, kind, serve,
};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(10);
const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const INCARNATION: Incarnation = Incarnation { created: AT, random: 7 };

struct Server {
    address: String,
    accepted: mpsc::Receiver<Accepted>,
    registry: Registry,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Server {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().to_owned();
        let (queue, accepted) = mpsc::channel(4);
        let (mut registry, cancel) = (Registry::default(), CancellationToken::new());
        let metrics = CallMetrics::register(&mut registry);
        let task = tokio::spawn(serve(listener, queue, metrics, cancel.clone()));
        Server { address, accepted, registry, cancel, task }
    }

    /// Waits until so many connections were cut off for `reason`.
    async fn wait_cut(&self, reason: &str, count: u64) {
        let start = format!("firetower_wire_cut_connections_total{{reason=\"{reason}\"}} ");
        let wait = async {
            loop {
                let mut text = String::new();
                encode(&mut text, &self.registry).unwrap();
                let counted = text.lines().find_map(|line| line.strip_prefix(&start)?.parse::<u64>().ok());
                if counted.is_some_and(|counted| counted >= count) {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT * 2, wait).await.expect(reason);
    }

    async fn dial(&self) -> Parent {
        Parent::dial(&Connector::tcp(), &self.address, DialOptions::default()).await.unwrap()
    }

    async fn next_control(&mut self) -> ControlSession {
        match timeout(LIMIT, self.accepted.recv()).await.unwrap().unwrap() {
            Accepted::Control(session) => session,
            other => panic!("{other:?}"),
        }
    }

    async fn next_frames(&mut self) -> FrameSession {
        match timeout(LIMIT, self.accepted.recv()).await.unwrap().unwrap() {
            Accepted::Frames(session) => session,
            other => panic!("{other:?}"),
        }
    }

    async fn next_answers(&mut self) -> AnswerSession {
        match timeout(LIMIT, self.accepted.recv()).await.unwrap().unwrap() {
            Accepted::Answers(session) => session,
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) {
        self.cancel.cancel();
        timeout(LIMIT, self.task).await.unwrap().unwrap();
    }
}

fn hello() -> Hello {
    Hello {
        node: "dub-s0".into(),
        role: Role::Secondary,
        version: "0.1.0".into(),
        incarnation: INCARNATION,
        region: "eu-west".into(),
        datacenter: "dub".into(),
        highest_sequence: Sequence(41),
        row_keys: 3,
        settled_through: Sequence(29),
        features: Features::OURS,
    }
}

fn opening() -> Opening {
    Opening { node: "dub-s0".into(), incarnation: INCARNATION, features: Features::OURS }
}

fn reply() -> HelloReply {
    HelloReply {
        node: "dub-p0".into(),
        role: Role::Primary,
        version: "0.1.0".into(),
        incarnation: INCARNATION,
        row_keys_known: 2,
        applied: vec![Sequence(1)..=Sequence(30), Sequence(33)..=Sequence(41)],
        wants_health_snapshot: true,
        applied_samples: Some(0),
        features: Features::OURS,
        at: Some(AT),
    }
}

fn assignment() -> Assignment {
    let target = |port| Target {
        job_name: "node".into(),
        labels: Labels::new([("instance", format!("h:{port}")), ("job", "node".into()), ("é", String::new())]),
        url: format!("http://h:{port}/metrics"),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
    };
    Assignment::new(Generation(3), AT, (0..5_000).map(target).collect())
}

fn kept() -> KeptLabels {
    let dropped = |label: &str, from| DroppedLabel {
        name: "m".into(),
        job: "node".into(),
        label: label.into(),
        values: 101,
        from,
    };
    [dropped("id", AT), dropped("pod", DroppedLabel::UNDECIDED)].into_iter().collect()
}

fn query(ask: Ask, moved: Vec<u64>) -> ParentControl {
    let inquiry = Inquiry { ask, moved, within: Duration::from_millis(1_500) };
    ParentControl::Query { id: 7, inquiry: Arc::new(inquiry) }
}

/// A query of each kind.
fn queries() -> Vec<ParentControl> {
    let matchers = vec![
        Matcher::equal("job", "node"),
        Matcher::not_equal("é", ""),
        Matcher::regex("zone", "a.*").unwrap(),
        Matcher::not_regex("zone", "b|c").unwrap(),
    ];
    let range = TimeRange { start: AT, end: AT + Duration::from_secs(60) };
    let whole = Moments { start: AT, step: Duration::from_secs(15), count: 240 };
    let moments = Moments { start: AT, step: Duration::ZERO, count: 1 };
    let look_back = Duration::from_secs(300);
    let listed = |what| Ask::Labels { what, selected: vec![matchers.clone(), Vec::new()], range };
    vec![
        query(Ask::Evaluate { text: "sum(up)".into(), whole, moments, look_back }, vec![u64::MAX, 0]),
        query(Ask::Samples { matchers: matchers.clone(), range: TimeRange::ALL }, Vec::new()),
        query(listed(Listing::Series), Vec::new()),
        query(listed(Listing::Names), Vec::new()),
        query(listed(Listing::Values("job".into())), Vec::new()),
        query(Ask::Kinds, Vec::new()),
    ]
}

fn heartbeat() -> Box<Heartbeat> {
    let status = NodeStatus {
        node: "dub-s0".into(),
        role: Role::Secondary,
        version: "0.1.0".into(),
        incarnation: INCARNATION,
        at: AT,
        started: AT,
        http: "127.0.0.1:6130".into(),
        region: "eu-west".into(),
        datacenter: "dub".into(),
        is_connected: true,
        targets: HealthCounts { online: 5_000, ..HealthCounts::default() },
        active_series: 1_000_000,
        samples_per_second: 66_666.6,
        coverage: Coverage::new(5_000, 4_999, 3),
        watermark: Watermark::default(),
        outbox_frames: 1,
        outbox_bytes: 4_000,
        accounts: vec![Account { parent: "dub-p0".into(), ..Account::default() }],
        received: vec![],
        clock_ahead_ms: Some(-5),
        trouble: String::new(),
        children: vec![],
    };
    let claim = Some(Claim { collected: 9, delivered: 4, dropped: 2 });
    Box::new(Heartbeat { status, highest_sequence: Sequence(42), at: AT, claim })
}

#[tokio::test]
async fn a_child_is_taken_on_and_gets_its_targets() {
    let mut server = Server::start().await;
    let (up, mut down) = server.dial().await.control(hello()).await.unwrap();
    let mut session = server.next_control().await;
    assert!(session.peer.address.starts_with("127.0.0.1:") && session.peer.names.is_none());
    assert_eq!(session.receiver.next().await.unwrap(), Some(ChildControl::Hello(hello())));

    for said in [
        ParentControl::HelloReply(reply()),
        ParentControl::Assignment(assignment()),
        ParentControl::KeptLabels(kept()),
        ParentControl::Credit { bytes: 1 << 20 },
    ]
    .into_iter()
    .chain(queries())
    {
        session.sender.send(said.clone()).await.unwrap();
        assert_eq!(down.next().await.unwrap(), Some(said));
    }
    let taken = ChildControl::AssignmentTaken { generation: Generation(3), fingerprint: assignment().fingerprint };
    for said in [taken, ChildControl::Heartbeat(heartbeat())] {
        up.send(said.clone()).await.unwrap();
        assert_eq!(session.receiver.next().await.unwrap(), Some(said));
    }

    drop(up);
    assert_eq!(session.receiver.next().await.unwrap(), None, "the child ended its direction");
    drop(session);
    assert_eq!(down.next().await.unwrap(), None, "and the parent its own");
    server.stop().await;
}

#[tokio::test]
async fn frames_go_up_as_they_are_and_acknowledgements_come_down() {
    let mut server = Server::start().await;
    let parent = server.dial().await;
    for lane in [Lane::Live, Lane::Backlog] {
        let (up, mut down) = match lane {
            Lane::Live => parent.live(opening()).await.unwrap(),
            Lane::Backlog => parent.backlog(opening()).await.unwrap(),
        };
        let mut session = server.next_frames().await;
        assert_eq!(session.lane, lane);
        assert_eq!(session.receiver.next().await.unwrap(), Some(FrameUp::Opening(opening())));

        let body = Body::Tombstone(Tombstone { from: Sequence(1), to: Sequence(9), reason: DropReason::OutboxFull });
        let frame = SealedFrame {
            sequence: Sequence(10),
            weight: 900,
            kind: kind(&body),
            row_keys_needed: 3,
            payload: encode_frame(&body).unwrap().into(),
        };
        let keys = RowKeys { first: RowId(2), keys: vec![Labels::new([("__name__", "up"), ("job", "node")])] };
        let head = FrameHead { sequence: Sequence(11), weight: 7, kind: 1, row_keys_needed: 2, size: 70_000 };
        let first = FramePart { head: Some(head), content: vec![1; PART_BYTES_MAX].into() };
        let rest = FramePart { head: None, content: vec![2; 70_000 - PART_BYTES_MAX].into() };
        for said in [FrameUp::RowKeys(keys), FrameUp::Frame(frame), FrameUp::Part(first), FrameUp::Part(rest)] {
            up.send(said.clone()).await.unwrap();
            let heard = session.receiver.next().await.unwrap();
            assert_eq!(heard, Some(said));
            if let Some(FrameUp::Frame(frame)) = heard {
                let read = decode_frame(frame.sequence, frame.weight, frame.kind, &frame.payload).unwrap();
                assert_eq!(read.body, body);
            }
        }
        for said in [
            FrameDown::Acknowledged(vec![Sequence(1)..=Sequence(8), Sequence(10)..=Sequence(10)]),
            FrameDown::NeedRowKeys { from: RowId(2) },
            FrameDown::Credit { bytes: 5, taken: 70_000 },
            FrameDown::Refused(Refusal {
                retry_after: Duration::from_millis(1_500),
                ..Refusal::new(RefusalReason::Superseded, "é")
            }),
        ] {
            session.sender.send(said.clone()).await.unwrap();
            assert_eq!(down.next().await.unwrap(), Some(said));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn answers_go_up_in_chunks_and_credit_comes_down() {
    let mut server = Server::start().await;
    let (up, mut down) = server.dial().await.answers(opening()).await.unwrap();
    let mut session = server.next_answers().await;
    let chunk =
        |bytes, is_last, ends_piece| AnswerUp::Chunk { id: 7, content: vec![1; bytes].into(), is_last, ends_piece };
    let failed = |error| AnswerUp::Failed { id: 8, error };
    assert_eq!(session.receiver.next().await.unwrap(), Some(AnswerUp::Opening(opening())));
    for said in [
        chunk(0, false, false),
        chunk(PART_BYTES_MAX, false, true),
        chunk(1, true, true),
        failed(AskError::Execution { reason: "é".into() }),
        failed(AskError::Unavailable { reason: "busy".into() }),
    ] {
        up.send(said.clone()).await.unwrap();
        assert_eq!(session.receiver.next().await.unwrap(), Some(said));
    }
    let error = up.send(chunk(PART_BYTES_MAX + 1, false, false)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { what: "chunk of an answer", .. }), "{error}");
    for said in [
        AnswerDown::Credit { id: 7, bytes: 65_536 },
        AnswerDown::Cancel { id: 7 },
        AnswerDown::Refused(Refusal::new(RefusalReason::Busy, "é")),
    ] {
        session.sender.send(said.clone()).await.unwrap();
        assert_eq!(down.next().await.unwrap(), Some(said));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_query_that_breaks_a_limit_is_refused_at_the_sender() {
    let mut server = Server::start().await;
    let (_up, _down) = server.dial().await.control(hello()).await.unwrap();
    let session = server.next_control().await;
    let check = async |ask: Ask, moved: usize, expected: &str| {
        let error = session.sender.send(query(ask, vec![0; moved])).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    let matchers = |count| vec![Matcher::equal("a", ""); count];
    let samples = |count| Ask::Samples { matchers: matchers(count), range: TimeRange::ALL };
    check(samples(1_025), 0, "matchers of size 1025").await;
    let selected = vec![matchers(4); 257];
    check(Ask::Labels { what: Listing::Names, selected, range: TimeRange::ALL }, 0, "selectors of size 257").await;
    let selected = vec![matchers(1_000); 2];
    check(Ask::Labels { what: Listing::Names, selected, range: TimeRange::ALL }, 0, "matchers of size 2000").await;
    let matchers = vec![Matcher::equal("a", "x".repeat(65_536)); 64];
    check(Ask::Samples { matchers, range: TimeRange::ALL }, 0, "query of size 41").await;
    check(Ask::Kinds, (1 << 17) + 1, "moved targets of size 131073").await;
    let evaluate = |text: &str, step, count| {
        let moments = Moments { start: AT, step, count };
        Ask::Evaluate { text: text.into(), whole: moments, moments, look_back: Duration::ZERO }
    };
    let second = Duration::from_secs(1);
    check(evaluate(&"a".repeat(65_537), second, 1), 0, "query of size 65537").await;
    check(evaluate("up", second, 0), 0, "moments must be at least one").await;
    check(evaluate("up", Duration::ZERO, 2), 0, "moments must be apart").await;
    check(evaluate("up", second, 65_537), 0, "moments of size 65537").await;
    check(evaluate("up", Duration::MAX, 2), 0, "moments must not be too far away").await;
}

#[tokio::test]
async fn a_refused_child_hears_why_and_the_call_ends() {
    let mut server = Server::start().await;
    let (up, mut down) = server.dial().await.control(hello()).await.unwrap();
    let session = server.next_control().await;
    let refused = ParentControl::Refused(Refusal::new(RefusalReason::WrongParent, "not mine"));
    session.sender.send(refused.clone()).await.unwrap();
    drop(session);
    assert_eq!(down.next().await.unwrap(), Some(refused));
    assert_eq!(down.next().await.unwrap(), None);
    timeout(LIMIT, up.ended()).await.unwrap();
    let error = up.send(ChildControl::Heartbeat(heartbeat())).await.unwrap_err();
    assert!(matches!(error, Error::Ended { call: "control" }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_parent_that_goes_away_is_an_error_to_try_again() {
    let mut server = Server::start().await;
    let parent = server.dial().await;
    let (_up, mut down) = parent.control(hello()).await.unwrap();
    let session = server.next_control().await;
    server.task.abort();
    let error = timeout(LIMIT, down.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Call { .. }) && error.is_retryable(), "{error}");
    drop(session);

    let gone = Parent::dial(&Connector::tcp(), &server.address, DialOptions::default()).await.unwrap_err();
    assert!(matches!(gone, Error::Dial { .. }) && gone.is_retryable(), "{gone}");
    let error = Parent::dial(&Connector::tcp(), "no address", DialOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Address { .. }) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_child_that_goes_away_ends_its_sessions() {
    let mut server = Server::start().await;
    let parent = server.dial().await;
    let (up, down) = parent.live(opening()).await.unwrap();
    let mut session = server.next_frames().await;
    assert!(session.receiver.next().await.unwrap().is_some());
    drop((up, down, parent));
    let heard = timeout(LIMIT, session.receiver.next()).await.unwrap();
    assert!(!matches!(heard, Ok(Some(_))), "{heard:?}");
    timeout(LIMIT, session.sender.ended()).await.unwrap();
}

#[tokio::test]
async fn a_parent_that_stops_ends_the_calls_it_still_holds() {
    let mut server = Server::start().await;
    let (_up, mut down) = server.dial().await.control(hello()).await.unwrap();
    let session = server.next_control().await;
    server.stop().await;
    assert!(timeout(LIMIT, down.next()).await.unwrap().is_err(), "its session was kept past the drain limit");
    drop(session);
}

#[tokio::test]
async fn a_parent_that_never_answers_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let options = DialOptions { connect_timeout: Duration::from_millis(200), ..DialOptions::default() };
    let dialled = Parent::dial(&Connector::tcp(), &address, options).await;
    let error = match dialled {
        Ok(parent) => parent.control(hello()).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, Error::Silent { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody_else() {
    let mut server = Server::start().await;
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 4_096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff"]
    {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("cut off at once");
    }
    server.wait_cut("malformed", 3).await;
    let (_up, _down) = server.dial().await.control(hello()).await.unwrap();
    let mut session = server.next_control().await;
    assert_eq!(session.receiver.next().await.unwrap(), Some(ChildControl::Hello(hello())));
}

#[tokio::test]
async fn who_floods_or_says_nothing_is_cut_off_and_nobody_else() {
    let mut server = Server::start().await;
    let (up, _down) = server.dial().await.control(hello()).await.unwrap();
    let mut session = server.next_control().await;
    assert!(session.receiver.next().await.unwrap().is_some());
    let mut flood = Vec::new();
    for _ in 0..600 {
        flood.push(TcpStream::connect(&server.address).await.unwrap());
    }
    let _late = server.dial().await.control(hello()).await.unwrap();
    let mut late = server.next_control().await;
    assert!(late.receiver.next().await.unwrap().is_some());
    server.wait_cut("crowded", 300).await;
    server.wait_cut("silent", 100).await;
    up.send(ChildControl::Heartbeat(heartbeat())).await.unwrap();
    assert!(session.receiver.next().await.unwrap().is_some(), "who was there before is still there");
}

#[tokio::test]
async fn what_breaks_a_limit_is_refused_at_the_sender() {
    let mut server = Server::start().await;
    let (up, _down) = server.dial().await.live(opening()).await.unwrap();
    let _session = server.next_frames().await;
    let keys = vec![Labels::empty(); firetower_wire::limits::ROW_KEYS_MAX + 1];
    let error = up.send(FrameUp::RowKeys(RowKeys { first: RowId(0), keys })).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { what: "row keys", .. }) && !error.is_retryable(), "{error}");
}
