//! Neighbours one version apart: the wire as it was when the tree first worked, against this release, over real calls.
//!
//! `testdata/first` has the old proto files and a session in its messages; the old side speaks through them alone.

// A test may panic; the configured exception does not reach its own helpers outside of `#[test]`.
#![allow(clippy::unwrap_used)]

#[path = "neighbours/first.rs"]
mod first;

use std::time::Duration;

use firetower_daemon::{Connector, Listener};
use firetower_model::{
    Assignment, Body, DropReason, DroppedLabel, Generation, Incarnation, KeptLabels, Labels, NodeStatus, Role, RowId,
    Sequence, State, Target, Timestamp, Tombstone,
};
use firetower_wire::{
    Accepted, CallMetrics, ChildControl, DialOptions, Features, FrameDown, FrameUp, Heartbeat, Hello, HelloReply,
    Opening, Parent, ParentControl, RefusalReason, RowKeys, SealedFrame, decode_frame, encode_frame, kind, serve,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::first::{OldChild, OldParent, Session};

const LIMIT: Duration = Duration::from_secs(20);
const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const INCARNATION: Incarnation = Incarnation { created: AT, random: 7 };

#[tokio::test]
async fn an_old_child_is_understood_and_understands() {
    let session = Session::read();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().to_owned();
    let (queue, mut accepted) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, queue, CallMetrics::default(), cancel.clone()));
    let child = OldChild::dial(&session, &address).await;

    let mut control = child.call("Control", session.messages("control", "ChildControl")).await;
    let Some(Accepted::Control(mut call)) = timeout(LIMIT, accepted.recv()).await.unwrap() else { panic!() };
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(timeout(LIMIT, call.receiver.next()).await.unwrap().unwrap().unwrap());
    }
    check_control(&heard);
    for said in new_parent_control() {
        call.sender.send(said).await.unwrap();
    }
    drop(call);
    let said = control.all().await;
    assert_eq!(said.len(), 4, "what it does not know is no error");
    assert!(said[0].contains("hello_reply") && said[0].contains("node:\"dub-p0\""), "{}", said[0]);
    assert!(said[0].contains("row_keys_known:1") && said[0].contains("bounds:[1,30]"), "{}", said[0]);
    assert!(said[1].contains("assignment") && said[1].contains("url:\"http://h:1/metrics\""), "{}", said[1]);
    assert!(!said[2].contains("kept_labels"), "a message of a later release says nothing to it: {}", said[2]);
    assert!(said[3].contains("credit"), "{}", said[3]);

    let mut live = child.call("Live", session.messages("live", "FrameUp")).await;
    let Some(Accepted::Frames(mut call)) = timeout(LIMIT, accepted.recv()).await.unwrap() else { panic!() };
    let mut heard = Vec::new();
    while heard.len() < 5 {
        heard.push(timeout(LIMIT, call.receiver.next()).await.unwrap().unwrap().unwrap());
    }
    check_frames(&heard);
    call.sender.send(FrameDown::Acknowledged(vec![Sequence(1)..=Sequence(6)])).await.unwrap();
    call.sender.send(FrameDown::NeedRowKeys { from: RowId(1) }).await.unwrap();
    drop(call);
    let said = live.all().await;
    assert!(said[0].contains("acknowledged") && said[0].contains("bounds:[1,6]"), "{said:?}");
    assert!(said[1].contains("need_row_keys") && said[1].contains("from_id:1"), "{said:?}");
    cancel.cancel();
    serving.await.unwrap();
}

fn check_control(heard: &[ChildControl]) {
    let hello = Hello {
        node: "dub-s0".into(),
        role: Role::Secondary,
        version: "0.1.0".into(),
        incarnation: INCARNATION,
        region: "eu-west".into(),
        datacenter: "dub".into(),
        highest_sequence: Sequence(2),
        row_keys: 2,
        settled_through: Sequence(0),
        features: Features::default(),
    };
    assert_eq!(heard[0], ChildControl::Hello(hello));
    assert_eq!(heard[1], ChildControl::AssignmentTaken { generation: Generation(3), fingerprint: 77 });
    let ChildControl::Heartbeat(heartbeat) = &heard[2] else { panic!("{:?}", heard[2]) };
    let Heartbeat { status, highest_sequence, at, claim } = &**heartbeat;
    assert_eq!((highest_sequence.0, at.as_millis(), claim), (2, 1_700_000_020_000, &None));
    assert_eq!((status.node.as_str(), status.targets.online, status.accounts[0].collected), ("dub-s0", 2, 8));
    assert_eq!(status.accounts[0].dropped, [(DropReason::OutboxFull, 1)]);
    assert_eq!(status.accounts[0].residual(), 0, "an account without terms of a later release closes");
}

fn check_frames(heard: &[FrameUp]) {
    assert_eq!(
        heard[0],
        FrameUp::Opening(Opening { node: "dub-s0".into(), incarnation: INCARNATION, features: Features::default() })
    );
    let FrameUp::RowKeys(RowKeys { first, keys }) = &heard[1] else { panic!("{:?}", heard[1]) };
    assert_eq!((first.0, keys[1].name()), (0, "c"));
    let bodies = heard[2..].iter().map(|frame| {
        let FrameUp::Frame(SealedFrame { sequence, weight, kind, payload, .. }) = frame else { panic!("{frame:?}") };
        decode_frame(*sequence, *weight, *kind, payload).unwrap()
    });
    let bodies: Vec<_> = bodies.collect();
    let Body::Rows(rows) = &bodies[0].body else { panic!("{:?}", bodies[0]) };
    let (_, cross) = rows.rows[1];
    assert_eq!((bodies[0].weight, rows.revision.0, rows.coverage.reported), (4, 1, 2));
    assert_eq!((cross.series, cross.sum, cross.increase, cross.unanchored), (2, 21.0, 4.0, 1));
    assert_eq!((rows.slots.as_ref().unwrap().ones(), rows.kept), (2, Default::default()));
    let Body::Health(report) = &bodies[1].body else { panic!("{:?}", bodies[1]) };
    assert_eq!((report.counts.offline, report.changes[0].state), (1, State::Offline));
    let tombstone = Tombstone { from: Sequence(4), to: Sequence(6), reason: DropReason::OutboxFull };
    assert_eq!(bodies[2].body, Body::Tombstone(tombstone));
}

fn assignment() -> Assignment {
    let target = Target {
        job_name: "node".into(),
        labels: Labels::new([("instance", "h:1"), ("job", "node")]),
        url: "http://h:1/metrics".into(),
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
    };
    Assignment::new(Generation(3), AT, vec![target])
}

fn new_parent_control() -> [ParentControl; 4] {
    let reply = HelloReply {
        node: "dub-p0".into(),
        role: Role::Primary,
        version: "9.9.9".into(),
        incarnation: INCARNATION,
        row_keys_known: 1,
        applied: vec![Sequence(1)..=Sequence(30)],
        wants_health_snapshot: true,
        applied_samples: Some(12),
        at: Some(AT),
        features: Features::OURS,
    };
    [
        ParentControl::HelloReply(reply),
        ParentControl::Assignment(assignment()),
        ParentControl::KeptLabels(kept()),
        ParentControl::Credit { bytes: 5 },
    ]
}

fn kept() -> KeptLabels {
    let (name, job, label) = ("m".into(), "node".into(), "id".into());
    [DroppedLabel { name, job, label, values: 101, from: AT }].into_iter().collect()
}

#[tokio::test]
async fn an_old_parent_is_understood_and_understands() {
    let session = Session::read();
    let (old, mut heard) = OldParent::start(&session).await;
    let parent = Parent::dial(&Connector::tcp(), &old, DialOptions::default()).await.unwrap();
    let hello = Hello {
        node: "dub-s0".into(),
        role: Role::Secondary,
        version: "9.9.9".into(),
        incarnation: INCARNATION,
        region: "eu-west".into(),
        datacenter: "dub".into(),
        highest_sequence: Sequence(4),
        row_keys: 2,
        settled_through: Sequence(0),
        features: Features::OURS,
    };
    let (up, mut down) = parent.control(hello).await.unwrap();
    let Some(ParentControl::HelloReply(reply)) = down.next().await.unwrap() else { panic!() };
    assert_eq!((reply.node.as_str(), reply.applied, reply.at), ("dub-p0", vec![Sequence(1)..=Sequence(1)], None));
    let Some(ParentControl::Assignment(share)) = down.next().await.unwrap() else { panic!() };
    assert_eq!((share.generation, share.targets[0].url.as_str()), (Generation(3), "http://h:1/metrics"));
    let Some(ParentControl::Refused(refusal)) = down.next().await.unwrap() else { panic!() };
    assert_eq!(refusal.reason, RefusalReason::Superseded);
    let status = NodeStatus::silent("dub-s0", Role::Secondary, "eu-west", "dub", "127.0.0.1:6130");
    let heartbeat = Heartbeat { status, highest_sequence: Sequence(4), at: AT, claim: None };
    up.send(ChildControl::Heartbeat(Box::new(heartbeat))).await.unwrap();

    let (up, mut down) = parent
        .live(Opening { node: "dub-s0".into(), incarnation: INCARNATION, features: Features::OURS })
        .await
        .unwrap();
    let keys = vec![Labels::new([("__name__", "up"), ("job", "node")])];
    up.send(FrameUp::RowKeys(RowKeys { first: RowId(0), keys })).await.unwrap();
    // The last two are of kinds that the old parent does not know: it passes over what is inside.
    for (sequence, body) in [(1, tombstone()), (2, Body::Kept(kept())), (3, Body::Unknown)] {
        let payload = encode_frame(&body).unwrap().into();
        let (sequence, kind) = (Sequence(sequence), kind(&body));
        up.send(FrameUp::Frame(SealedFrame { sequence, weight: 3, kind, row_keys_needed: 1, payload })).await.unwrap();
    }
    let mut said = Vec::new();
    for _ in 0..4 {
        said.push(down.next().await.unwrap().unwrap());
    }
    let acknowledged = FrameDown::Acknowledged(vec![Sequence(1)..=Sequence(2), Sequence(4)..=Sequence(6)]);
    assert_eq!(
        said[..3],
        [acknowledged, FrameDown::NeedRowKeys { from: RowId(1) }, FrameDown::Credit { bytes: 4_096, taken: 0 }]
    );
    assert!(matches!(&said[3], FrameDown::Refused(refusal) if refusal.reason == RefusalReason::Busy), "{said:?}");

    let mut understood = Vec::new();
    while understood.len() < 7 {
        understood.push(timeout(LIMIT, heard.recv()).await.unwrap().unwrap());
    }
    let contains = |words: &[&str]| understood.iter().any(|text| words.iter().all(|word| text.contains(word)));
    assert!(contains(&["hello", "node:\"dub-s0\"", "role:ROLE_SECONDARY", "highest_sequence:4"]), "{understood:?}");
    assert!(contains(&["heartbeat", "status:", "at_ms:1700000000000"]), "{understood:?}");
    assert!(contains(&["opening", "random:7"]), "{understood:?}");
    assert!(contains(&["row_keys", "labels:[\"__name__\",\"up\""]), "{understood:?}");
    for sequence in 1..=3 {
        assert!(contains(&["frame", &format!("sequence:{sequence}"), "weight:3"]), "{understood:?}");
    }
}

fn tombstone() -> Body {
    Body::Tombstone(Tombstone { from: Sequence(1), to: Sequence(1), reason: DropReason::OutboxFull })
}
