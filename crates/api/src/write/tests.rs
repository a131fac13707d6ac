use axum::body::{Body, to_bytes};
use futures::{StreamExt, stream};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tower::ServiceExt;

use super::*;

const BYTES_MAX: usize = 100;

/// A router that takes bodies as their first byte says, and its metrics.
fn router() -> (Router, Registry) {
    let take: TakeWrite = Arc::new(|body| match body.first() {
        Some(b'm') => Err(NotTaken::Malformed("no block of snappy".into())),
        Some(b'l') => Err(NotTaken::TooLarge("too many series".into())),
        Some(b'h') => Err(NotTaken::Held("the disk is full".into())),
        Some(b'f') => Err(NotTaken::Failed("no such file".into())),
        Some(b'p') => Ok(Taken {
            samples: 2,
            refused: vec![("too_old", 3)],
            complaint: Some("series m: too old".into()),
            ignored: vec![("exemplars", 1)],
        }),
        _ => Ok(Taken { samples: 1, ..Taken::default() }),
    });
    let mut registry = Registry::default();
    let metrics = WriteMetrics::register(&mut registry);
    (write(take, BYTES_MAX, metrics), registry)
}

async fn send(router: &Router, headers: [&str; 2], body: Body) -> (u16, String) {
    let request = Request::post("/api/v1/write").header("content-encoding", headers[0]);
    let request = request.header("content-type", headers[1]).body(body).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let text = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

const PROTOBUF: &str = "application/x-protobuf";

#[tokio::test]
async fn each_fate_has_its_status_and_counter() {
    let (router, registry) = router();
    let check = async |body: &'static str, status: u16, text: &str| {
        let answer = send(&router, ["snappy", PROTOBUF], Body::from(body)).await;
        assert_eq!(answer, (status, text.to_owned()), "{body}");
    };
    check("ok", 204, "").await;
    check("partly", 400, "series m: too old\n").await;
    check("malformed", 400, "no block of snappy\n").await;
    check("large", 413, "too many series\n").await;
    check("held", 503, "the disk is full\n").await;
    check("failed", 503, "no such file\n").await;
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "firetower_write_requests_total{outcome=\"held\"} 1",
        "firetower_write_requests_total{outcome=\"partial\"} 1",
        "firetower_write_samples_total 3",
        "firetower_write_refused_samples_total{reason=\"too_old\"} 3",
        "firetower_write_ignored_total{what=\"exemplars\"} 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn other_kinds_are_refused_by_their_headers() {
    let (router, _) = router();
    let check = async |encoding: &str, kind: &str, status: u16| {
        let answer = send(&router, [encoding, kind], Body::from("ok")).await;
        assert_eq!(answer.0, status, "{encoding} {kind}: {}", answer.1);
    };
    check("snappy", "application/x-protobuf;proto=prometheus.WriteRequest", 204).await;
    check("", "", 204).await;
    check("gzip", PROTOBUF, 415).await;
    check("snappy", "application/x-protobuf;proto=io.prometheus.write.v2.Request", 415).await;
    check("snappy", "application/json", 415).await;
}

#[tokio::test(start_paused = true)]
async fn large_slow_and_broken_bodies_are_refused() {
    let (router, _) = router();
    let check = async |body: Body, status: u16, text: &str| {
        let answer = send(&router, ["snappy", PROTOBUF], body).await;
        assert_eq!(answer, (status, text.to_owned()));
    };
    let piece = || Ok::<_, std::io::Error>("o".repeat(50));
    let pieces = |count: usize| Body::from_stream(stream::iter(std::iter::repeat_with(piece).take(count)));
    check(Body::from("o".repeat(BYTES_MAX)), 204, "").await;
    check(Body::from("o".repeat(BYTES_MAX + 1)), 413, "the body has more than 100 bytes\n").await;
    check(pieces(2), 204, "").await;
    check(pieces(3), 413, "the body has more than 100 bytes\n").await;
    check(Body::from_stream(stream::pending::<Result<&str, std::io::Error>>()), 408, "the body took too long\n").await;
    let broken = stream::iter([Ok("o"), Err(std::io::Error::other("reset"))]);
    check(Body::from_stream(broken), 400, "the body did not come to its end\n").await;
}

#[tokio::test(start_paused = true)]
async fn bodies_that_wait_for_room_are_told_to_come_again() {
    let (router, _) = router();
    // They hold all the room, and never end.
    let endless = || {
        let first = stream::iter([Ok::<_, std::io::Error>("o".repeat(BYTES_MAX))]);
        Body::from_stream(first.chain(stream::pending()))
    };
    let held = [endless(), endless()].map(|body| {
        let router = router.clone();
        tokio::spawn(async move { send(&router, ["snappy", PROTOBUF], body).await.0 })
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let waiting = tokio::time::timeout(Duration::from_secs(1), send(&router, ["", ""], Body::from("ok"))).await;
    assert!(waiting.is_err(), "there is no room");
    for held in held {
        assert_eq!(held.await.unwrap(), 408);
    }
    assert_eq!(send(&router, ["", ""], Body::from("ok")).await.0, 204);
}
