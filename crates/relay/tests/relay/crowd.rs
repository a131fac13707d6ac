//! Many children at once, and neighbours of an earlier release.

use std::time::Duration;

use firetower_daemon::{Connector, Listener};
use firetower_model::{Role, Sequence};
use firetower_wire::{
    Accepted, Bytes, DialOptions, Features, FrameDown, FrameHead, FramePart, FrameUp, HelloReply, Opening, Parent,
    ParentControl, Receiver, RefusalReason, Sender,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::common::{Applied, Below, LIFE, hello, open, start_parent};

const LIMIT: Duration = Duration::from_secs(60);
/// Room for 64 children, and for a mebibyte of frames of each lane.
const INBOX_BYTES: u64 = 4 << 20;

/// Sends frames of a kind that nobody knows, in parts, as far as there is credit, until all are acknowledged.
async fn send_frames(call: (Sender<FrameUp>, Receiver<FrameDown>), frames: u64, size: usize) {
    let (up, mut down) = call;
    let (mut granted, mut sent, mut acknowledged) = (0, 0, 0);
    let mut parts = (1..=frames).flat_map(|sequence| {
        let head =
            FrameHead { sequence: Sequence(sequence), weight: 1, kind: 99, row_keys_needed: 0, size: size as u32 };
        let part = move |at: usize| FramePart {
            head: (at == 0).then_some(head),
            content: Bytes::from(vec![7; (size - at).min(8 << 10)]),
        };
        (0..size).step_by(8 << 10).map(part)
    });
    let mut next = parts.next();
    while acknowledged < frames {
        while let Some(part) = next.take_if(|_| sent < granted) {
            sent += part.content.len() as u64;
            up.send(FrameUp::Part(part)).await.unwrap();
            next = parts.next();
        }
        match timeout(LIMIT, down.next()).await.unwrap().unwrap().unwrap() {
            FrameDown::Credit { bytes, .. } => granted += bytes,
            FrameDown::Acknowledged(ranges) => acknowledged += ranges.len() as u64,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_children_come_a_parent_holds_no_more_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let above = start_parent(open(&directory, "p0"), Applied::default(), INBOX_BYTES).await;
    let mut senders = JoinSet::new();
    for at in 0..64 {
        let address = above.address.clone();
        senders.spawn(async move {
            let node = format!("s{at}");
            let parent = Parent::dial(&Connector::tcp(), &address, DialOptions::default()).await.unwrap();
            let control = parent.control(hello(&node, Features::OURS)).await.unwrap();
            let opening = Opening { node, incarnation: LIFE, features: Features::OURS };
            let live = parent.live(opening).await.unwrap();
            send_frames(live, 3, 100 << 10).await;
            control
        });
    }
    let mut controls = Vec::new();
    let mut most = 0;
    while controls.len() < 64 {
        tokio::select! {
            ended = senders.join_next() => controls.push(ended.unwrap().unwrap()),
            () = tokio::time::sleep(Duration::from_millis(1)) => most = most.max(above.metrics.inbox_bytes.get()),
        }
    }
    assert!(0 < most && most <= INBOX_BYTES / 4, "{most} bytes were held");
    let parent = Parent::dial(&Connector::tcp(), &above.address, DialOptions::default()).await.unwrap();
    let (_up, mut down) = parent.control(hello("one too many", Features::OURS)).await.unwrap();
    let said = timeout(LIMIT, down.next()).await.unwrap().unwrap();
    let Some(ParentControl::Refused(refusal)) = said else { panic!("{said:?}") };
    assert_eq!((refusal.reason, refusal.retry_after > Duration::ZERO), (RefusalReason::Busy, true));
    above.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_of_the_release_before_gets_whole_frames_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let (to_test, mut calls) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let address = listener.local_address().to_owned();
    let serving =
        tokio::spawn(firetower_wire::serve(listener, to_test, firetower_wire::CallMetrics::default(), cancel.clone()));
    let below = Below::new(&directory);
    for window in 1..=3 {
        below.push(window, &[window as f64]);
    }
    let linking = tokio::spawn(below.link(address, cancel.clone()));
    let Some(Accepted::Control(mut control)) = timeout(LIMIT, calls.recv()).await.unwrap() else { panic!("no hello") };
    assert!(control.receiver.next().await.unwrap().is_some());
    let reply = HelloReply {
        node: "p0".into(),
        role: Role::Primary,
        version: "before".into(),
        incarnation: LIFE,
        row_keys_known: 0,
        applied: Vec::new(),
        wants_health_snapshot: false,
        applied_samples: None,
        features: Features::default(),
        at: None,
    };
    control.sender.send(ParentControl::HelloReply(reply)).await.unwrap();
    let Some(Accepted::Frames(mut live)) = timeout(LIMIT, calls.recv()).await.unwrap() else { panic!("no frames") };
    let mut sequences = Vec::new();
    while sequences.len() < 3 {
        match timeout(LIMIT, live.receiver.next()).await.unwrap().unwrap() {
            Some(FrameUp::Frame(frame)) => {
                live.sender.send(FrameDown::Acknowledged(vec![frame.sequence..=frame.sequence])).await.unwrap();
                sequences.push(frame.sequence.0);
            }
            Some(FrameUp::Opening(_) | FrameUp::RowKeys(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sequences, [1, 2, 3]);
    below.until_delivered().await;
    assert_eq!(below.outlet.accounts(0)[0].residual(), 0);
    cancel.cancel();
    linking.await.unwrap().unwrap();
    drop((control, live));
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_of_the_release_before_is_taken_whole_frames_from() {
    let directory = tempfile::tempdir().unwrap();
    let above = start_parent(open(&directory, "p0"), Applied::default(), INBOX_BYTES).await;
    let parent = Parent::dial(&Connector::tcp(), &above.address, DialOptions::default()).await.unwrap();
    let (_control, mut heard) = parent.control(hello("s0", Features::default())).await.unwrap();
    assert!(matches!(heard.next().await.unwrap(), Some(ParentControl::HelloReply(_))));
    let opening = Opening { node: "s0".into(), incarnation: LIFE, features: Features::default() };
    let (up, mut down) = parent.live(opening).await.unwrap();
    let frame = firetower_wire::SealedFrame {
        sequence: Sequence(1),
        weight: 5,
        kind: 99,
        row_keys_needed: 0,
        payload: Bytes::from_static(b"of a later release"),
    };
    up.send(FrameUp::Frame(frame)).await.unwrap();
    let said = timeout(LIMIT, down.next()).await.unwrap().unwrap();
    assert_eq!(said, Some(FrameDown::Acknowledged(vec![Sequence(1)..=Sequence(1)])), "and nothing of credit");
    above.stop().await;
}
