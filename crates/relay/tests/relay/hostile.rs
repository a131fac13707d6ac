//! Peers that speak the protocol and mean harm: each is refused and counted, and no other child notices.

use std::time::Duration;

use firetower_daemon::{Clock, Connector};
use firetower_model::labels::NAME;
use firetower_model::{Labels, RowId, Sequence};
use firetower_wire::{
    DialOptions, Features, FrameDown, FrameUp, Opening, ParentControl, Receiver, Refusal, RefusalReason, RowKeys,
    SealedFrame, Sender, encode_frame, kind, limits,
};
use tokio::time::timeout;

use crate::common::{Above, Applied, LIFE, hello, open, start_parent, window_rows};

const LIMIT: Duration = Duration::from_secs(60);

impl Above {
    /// Opens a stream of frames as `node`, which says hello before if `greets`.
    async fn frames(&self, node: &str, greets: bool) -> (Sender<FrameUp>, Receiver<FrameDown>) {
        let parent =
            firetower_wire::Parent::dial(&Connector::tcp(), &self.address, DialOptions::default()).await.unwrap();
        if greets {
            let (up, mut down) = parent.control(hello(node, Features::default())).await.unwrap();
            assert!(matches!(down.next().await.unwrap(), Some(ParentControl::HelloReply(_))));
            // The call stays open for as long as the runtime does.
            std::mem::forget((up, down));
        }
        parent.live(Opening { node: node.into(), incarnation: LIFE, features: Features::default() }).await.unwrap()
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

#[tokio::test(flavor = "multi_thread")]
async fn what_means_harm_is_refused_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let above = start_parent(open(&directory, "p0"), Applied::default(), 64 << 20).await;
    let clock = Clock::system();
    let (good, mut hears) = above.frames("good", true).await;

    for at in 0..50 {
        let (_up, mut down) = above.frames(&format!("stranger-{at}"), false).await;
        assert_eq!(refusal(&mut down).await.reason, RefusalReason::Busy);
    }
    above.check_counted("refused_streams_total");
    assert!(!above.exposed().contains("stranger"), "who has not said hello is given no series");

    let bomb = zstd::bulk::compress(&vec![0; limits::FRAME_BYTES_MAX + 1], 1).unwrap();
    for payload in [bomb, vec![0xff; 4_096]] {
        let (up, mut down) = above.frames("evil", true).await;
        up.send(frame(1, payload)).await.unwrap();
        assert_eq!(refusal(&mut down).await.reason, RefusalReason::Malformed);
    }
    above.check_counted("malformed_frames_total{peer=\"evil\"}");

    let (up, mut down) = above.frames("evil", true).await;
    let body = window_rows(clock.now() + Duration::from_secs(48 * 3_600), Vec::new());
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

    let body = window_rows(clock.now(), Vec::new());
    good.send(frame(kind(&body), encode_frame(&body).unwrap())).await.unwrap();
    let said = timeout(LIMIT, hears.next()).await.unwrap().unwrap();
    assert_eq!(said, Some(FrameDown::Acknowledged(vec![Sequence(1)..=Sequence(1)])), "the others are served");
    above.stop().await;
}
