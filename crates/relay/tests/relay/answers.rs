//! Questions down and answers up, over real connections.

use std::sync::Arc;
use std::time::Duration;

use firetower_daemon::Connector;
use firetower_model::{Ask, AskError, Ending, Inquiry, Listing, Piece, TimeRange};
use firetower_relay::{Answers, Asked, Callers, Error, Failed, Heard, Out};
use firetower_wire::limits::{ANSWER_CREDIT_BYTES, CHUNK_BYTES_MAX};
use firetower_wire::{
    AnswerDown, AnswerUp, Bytes, ChildControl, DialOptions, Features, Heartbeat, Opening, Parent, ParentControl,
    Receiver, RefusalReason, Sender,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::common::{Above, Applied, Below, LIFE, hello, open, start_parent, status};

const LIMIT: Duration = Duration::from_secs(60);
/// Pieces of a long answer: together many times the credit.
const PIECES: u64 = 40;

/// Answers as the label says that values of are asked for.
struct Actor {
    /// Hears of endless answers: when one begins, and when it was stopped.
    said: mpsc::UnboundedSender<&'static str>,
}

impl Answers for Actor {
    fn answer(&self, inquiry: &Inquiry, out: &mut Out) -> Result<Ending, AskError> {
        let Ask::Labels { what: Listing::Values(role), .. } = &inquiry.ask else { panic!("{inquiry:?}") };
        match role.as_str() {
            "long" => (0..PIECES).try_for_each(|at| out.say(long_piece(at)))?,
            "short" => out.say(Piece::Texts(vec!["a".into()]))?,
            "slow" => std::thread::sleep(Duration::from_millis(600)),
            "endless" => {
                self.said.send("begun").unwrap();
                while !out.is_stopped() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                self.said.send("stopped").unwrap();
                return Err(AskError::Gone);
            }
            "wrong" => return Err(AskError::Execution { reason: "no such thing".into() }),
            "broken" => panic!("as asked"),
            _ => return Err(AskError::Unavailable { reason: "not here".into() }),
        }
        Ok(Ending { series: 7, ..Ending::default() })
    }
}

/// Names that do not compress.
fn long_piece(at: u64) -> Piece {
    let mut seed = at + 1;
    let mut number = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed
    };
    Piece::Moved((0..10_000).map(|_| number()).collect())
}

fn inquiry(role: &str, within: Duration) -> Arc<Inquiry> {
    let what = Listing::Values(role.into());
    Arc::new(Inquiry { ask: Ask::Labels { what, selected: Vec::new(), range: TimeRange::ALL }, moved: vec![], within })
}

/// A parent with one child that answers.
struct Pair {
    above: Above,
    endless: mpsc::UnboundedReceiver<&'static str>,
    cancel: CancellationToken,
    linking: JoinHandle<Result<(), Error>>,
}

impl Pair {
    async fn start(directory: &TempDir) -> Pair {
        let above = start_parent(open(directory, "p0"), Applied::default(), 4 << 20).await;
        let (below, cancel) = (Below::new(directory), CancellationToken::new());
        let (said, endless) = mpsc::unbounded_channel();
        let actor = Arc::new(Actor { said });
        let linking = tokio::spawn(below.link_answering(above.address.clone(), Some(actor), cancel.clone()));
        Pair { above, endless, cancel, linking }
    }

    async fn ask(&self, role: &str) -> Asked {
        ask(&self.above.callers, role).await
    }

    /// Waits for the next word of an endless answer.
    async fn endless(&mut self) -> &'static str {
        timeout(LIMIT, self.endless.recv()).await.unwrap().unwrap()
    }

    async fn stop(self) {
        self.cancel.cancel();
        timeout(LIMIT, self.linking).await.unwrap().unwrap().unwrap();
        self.above.stop().await;
    }
}

/// Asks `s0` as soon as it can be asked.
async fn ask(callers: &Callers, role: &str) -> Asked {
    let asked = async {
        loop {
            match callers.ask("s0", inquiry(role, LIMIT)) {
                Ok(asked) => return asked,
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(LIMIT, asked).await.expect("it can be asked")
}

async fn next(asked: &mut Asked) -> Result<Heard, Failed> {
    timeout(LIMIT, asked.next()).await.unwrap()
}

async fn check_long(asked: &mut Asked, from: u64) {
    for at in from..PIECES {
        assert!(next(asked).await.unwrap() == Heard::Piece(long_piece(at)), "{at}");
    }
    assert_eq!(next(asked).await.unwrap(), Heard::End(Ending { series: 7, ..Ending::default() }));
    assert_eq!(next(asked).await, Err(Failed::Error(AskError::Gone)), "nothing comes after the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_many_times_its_credit_comes_whole() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::start(&directory).await;
    check_long(&mut pair.ask("long").await, 0).await;
    pair.above.check_counted("queries_total{direction=\"sent\",peer=\"s0\",outcome=\"answered\"}");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_holds_up_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::start(&directory).await;
    let mut slow = pair.ask("long").await;
    assert!(next(&mut slow).await.unwrap() == Heard::Piece(long_piece(0)));
    for _ in 0..3 {
        check_long(&mut pair.ask("long").await, 0).await;
    }
    check_long(&mut slow, 1).await;
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_hears_that_nobody_waits() {
    let directory = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(&directory).await;
    let first = pair.ask("endless").await;
    assert_eq!(pair.endless().await, "begun");
    drop(first);
    assert_eq!(pair.endless().await, "stopped");
    // More than are worked on at once: those that wait are forgotten too, and those that come behind their cancellation.
    let mut asked = Vec::new();
    for _ in 0..10 {
        asked.push(pair.ask("endless").await);
    }
    drop(asked);
    check_long(&mut pair.ask("long").await, 0).await;
    pair.above.check_counted("queries_total{direction=\"sent\",peer=\"s0\",outcome=\"cancelled\"}");
    let short = inquiry("endless", Duration::from_millis(50));
    let heard = next(&mut pair.above.callers.ask("s0", short).unwrap()).await;
    assert_eq!(heard, unavailable("took longer than is waited for"));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_stops_stops_what_is_worked_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut pair = Pair::start(&directory).await;
    let mut asked = pair.ask("endless").await;
    assert_eq!(pair.endless().await, "begun");
    pair.cancel.cancel();
    assert_eq!(next(&mut asked).await, unavailable("its connection has ended"));
    assert_eq!(pair.endless().await, "stopped");
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_works_long_is_not_hung() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::start(&directory).await;
    let mut asked = pair.ask("slow").await;
    assert!(matches!(next(&mut asked).await, Ok(Heard::End(_))));
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_there_is_no_answer_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::start(&directory).await;
    let execution = Err(Failed::Error(AskError::Execution { reason: "no such thing".into() }));
    assert_eq!(next(&mut pair.ask("wrong").await).await, execution);
    assert_eq!(next(&mut pair.ask("other").await).await, unavailable("not here"));
    assert_eq!(next(&mut pair.ask("broken").await).await, unavailable("the work on the answer broke"));
    let error = pair.above.callers.ask("s1", inquiry("short", LIMIT)).err();
    assert_eq!(error, Some(AskError::Unavailable { reason: "not connected".into() }));
    let vast = Inquiry { ask: Ask::Kinds, moved: vec![0; 1 << 18], within: LIMIT };
    let error = pair.above.callers.ask("s0", Arc::new(vast)).err();
    let reason = "moved targets of size 262144 is over the limit of 131072".into();
    assert_eq!(error, Some(AskError::Execution { reason }));
    let mut asked = pair.ask("short").await;
    assert_eq!(next(&mut asked).await, Ok(Heard::Piece(Piece::Texts(vec!["a".into()]))));
    pair.stop().await;
}

fn unavailable(reason: &str) -> Result<Heard, Failed> {
    Err(Failed::Error(AskError::Unavailable { reason: reason.into() }))
}

/// A child by hand.
struct Puppet {
    control: Sender<ChildControl>,
    heard: Receiver<ParentControl>,
    dialled: Parent,
}

impl Puppet {
    async fn dial(above: &Above, features: Features) -> Puppet {
        let dialled = Parent::dial(&Connector::tcp(), &above.address, DialOptions::default()).await.unwrap();
        let (control, mut heard) = dialled.control(hello("s0", features)).await.unwrap();
        assert!(matches!(heard.next().await.unwrap(), Some(ParentControl::HelloReply(_))));
        Puppet { control, heard, dialled }
    }

    async fn answers(&self, node: &str) -> (Sender<AnswerUp>, Receiver<AnswerDown>) {
        let opening = Opening { node: node.into(), incarnation: LIFE, features: Features::OURS };
        self.dialled.answers(opening).await.unwrap()
    }

    async fn beat(&self) {
        let (highest_sequence, at) = Default::default();
        let beat = Heartbeat { status: status(), highest_sequence, at, claim: None };
        self.control.send(ChildControl::Heartbeat(Box::new(beat))).await.unwrap();
    }

    /// Returns the number of the next query.
    async fn query(&mut self) -> u64 {
        loop {
            match timeout(LIMIT, self.heard.next()).await.unwrap().unwrap().unwrap() {
                ParentControl::Query { id, .. } => return id,
                ParentControl::ClockReading { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn chunk(id: u64, content: &[u8]) -> AnswerUp {
    AnswerUp::Chunk { id, content: Bytes::copy_from_slice(content), is_last: false, ends_piece: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_falls_silent_is_found_hung() {
    let directory = tempfile::tempdir().unwrap();
    let above = start_parent(open(&directory, "p0"), Applied::default(), 4 << 20).await;
    let mut puppet = Puppet::dial(&above, Features::OURS).await;
    let (up, mut down) = puppet.answers("s0").await;
    let mut asked = ask(&above.callers, "short").await;
    let id = puppet.query().await;
    up.send(chunk(id, &[])).await.unwrap();
    let Err(Failed::Hung { after }) = next(&mut asked).await else { panic!("not hung") };
    assert!((Duration::from_millis(250)..=Duration::from_secs(5)).contains(&after), "{after:?}");
    drop(asked);
    assert_eq!(timeout(LIMIT, down.next()).await.unwrap().unwrap(), Some(AnswerDown::Cancel { id }));
    above.check_counted("queries_total{direction=\"sent\",peer=\"s0\",outcome=\"hung\"}");

    let mut asked = ask(&above.callers, "short").await;
    let late = id;
    let id = puppet.query().await;
    up.send(chunk(late, b"late")).await.unwrap();
    up.send(chunk(id, b"garbage")).await.unwrap();
    let last = AnswerUp::Chunk { id, content: Bytes::from_static(b"!"), is_last: true, ends_piece: true };
    up.send(last).await.unwrap();
    let Err(Failed::Error(AskError::Unavailable { reason })) = next(&mut asked).await else { panic!("it was read") };
    assert!(reason.starts_with("answer that cannot be read: inflate piece of an answer"), "{reason}");
    above.check_counted("late_chunks_total{peer=\"s0\"}");
    above.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_end_with_their_call() {
    let directory = tempfile::tempdir().unwrap();
    let above = start_parent(open(&directory, "p0"), Applied::default(), 4 << 20).await;
    let mut puppet = Puppet::dial(&above, Features::OURS).await;
    let why = || above.callers.children()[0].can_answer;
    assert_eq!(why(), Err("no open call for answers"));
    puppet.beat().await;

    let (_first, mut first_down) = puppet.answers("s0").await;
    let mut asked = ask(&above.callers, "short").await;
    puppet.query().await;
    let (up, mut down) = puppet.answers("s0").await;
    assert!(!matches!(timeout(LIMIT, first_down.next()).await.unwrap(), Ok(Some(_))));
    assert_eq!(next(&mut asked).await, unavailable("its connection has ended"), "another call is in its place");

    let mut asked = ask(&above.callers, "short").await;
    let id = puppet.query().await;
    for _ in 0..=ANSWER_CREDIT_BYTES as usize / CHUNK_BYTES_MAX {
        up.send(chunk(id, &[0; CHUNK_BYTES_MAX])).await.unwrap();
    }
    assert!(!matches!(timeout(LIMIT, down.next()).await.unwrap(), Ok(Some(_))), "more than was granted");
    // What has come is taken before it is known that there is no more.
    assert_eq!(next(&mut asked).await, unavailable("sent more than was granted"));
    above.check_counted("unruly_answers_total{peer=\"s0\"}");
    let status = above.callers.children()[0].status.clone();
    assert_eq!(status.map(|status| status.node.clone()).as_deref(), Some("s0"));

    let (_up, _down) = puppet.answers("s0").await;
    let mut asked = ask(&above.callers, "short").await;
    drop(puppet);
    assert_eq!(next(&mut asked).await, unavailable("its connection has ended"), "and with Control");
    above.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_answer_is_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let above = start_parent(open(&directory, "p0"), Applied::default(), 4 << 20).await;
    let puppet = Puppet::dial(&above, Features::default()).await;
    assert_eq!(above.callers.children()[0].can_answer, Err("release without queries"));
    let (_up, mut down) = puppet.answers("s1").await;
    let said = timeout(LIMIT, down.next()).await.unwrap().unwrap();
    let Some(AnswerDown::Refused(refusal)) = said else { panic!("{said:?}") };
    assert_eq!(refusal.reason, RefusalReason::Busy, "{}", refusal.text);
    let silent = async {
        while above.callers.children()[0].can_answer != Err("no heartbeat for 3 s") {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, silent).await.unwrap();
    drop(puppet);
    above.stop().await;
}
