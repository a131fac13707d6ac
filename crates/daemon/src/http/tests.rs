use std::time::Duration;

use axum::routing::get;
use prometheus_client::encoding::text::encode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A server whose connections the test opens, in simulated time.
struct Bench {
    registry: Registry,
    connect: mpsc::Sender<(Stream, Peer)>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Bench {
    fn start() -> Bench {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry);
        let router = Router::new()
            .route("/", get(async || "fine"))
            .route("/large", get(async || "x".repeat(4 << 20)))
            .route("/slow", get(async || tokio::time::sleep(100 * SECOND).await));
        let (connect, connections) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let task = tokio::spawn(serve_http(Listener::of_channel(connections), router, metrics, cancel.clone()));
        Bench { registry, connect, cancel, task }
    }

    async fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(4 << 10);
        self.connect.send((Box::new(theirs) as Stream, Peer::at("client:1"))).await.unwrap();
        ours
    }

    /// Sends a request on a new connection.
    async fn send(&self, request: impl AsRef<[u8]>) -> DuplexStream {
        let mut stream = self.connect().await;
        let _ = stream.write_all(request.as_ref()).await;
        stream
    }

    fn cut(&self, reason: &str) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let start = format!("firetower_http_cut_connections_total{{reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().unwrap())
    }
}

/// Returns the status line that comes; nothing if the connection ends without.
async fn status(stream: &mut DuplexStream) -> String {
    let mut line = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        if byte == b'\n' {
            break;
        }
        line.push(byte);
    }
    String::from_utf8_lossy(&line).trim().to_owned()
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn who_asks_slowly_or_wrongly_is_cut_off_with_a_reason() {
    let bench = Bench::start();
    let mut slow = bench.send("GET / HTTP/1.1\r\nX: ").await;
    let drip = async {
        while slow.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SECOND).await;
        }
    };
    drip.await;
    assert_eq!(bench.cut("slow"), 1);
    let long = "x".repeat(100 << 10);
    for (request, answer, reason) in [
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "431", "large_head"),
        (format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"), "431", "large_head"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200)), "431", "large_head"),
        ("\u{1}\u{2}garbage\r\n\r\n".to_owned(), "400", "malformed"),
    ] {
        let before = bench.cut(reason);
        let mut stream = bench.connect().await;
        let (mut reads, mut writes) = tokio::io::split(&mut stream);
        let mut said = String::new();
        let _ = tokio::join!(writes.write_all(request.as_bytes()), reads.read_to_string(&mut said));
        assert!(said.contains(answer), "{reason}: {said:?}");
        assert_eq!(bench.cut(reason), before + 1, "{reason}");
    }
    let mut fine = bench.send(ASK).await;
    assert_eq!(status(&mut fine).await, "HTTP/1.1 200 OK");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_cut_off() {
    let bench = Bench::start();
    let mut stream = bench.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await;
    tokio::time::sleep(STALL_LIMIT - SECOND).await;
    assert_eq!(status(&mut stream).await, "HTTP/1.1 200 OK", "it has its time");
    tokio::time::sleep(STALL_LIMIT + 2 * SECOND).await;
    assert_eq!(bench.cut("stalled"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_takes_the_place_of_who_waits_and_of_nobody_at_work() {
    let bench = Bench::start();
    let mut worker = bench.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut flood = Vec::new();
    for _ in 0..3 * CONNECTIONS_MAX {
        flood.push(bench.connect().await);
    }
    let mut fine = bench.send(ASK).await;
    assert_eq!(status(&mut fine).await, "HTTP/1.1 200 OK");
    assert_eq!(bench.cut("crowded"), (2 * CONNECTIONS_MAX + 2) as u64);
    assert_eq!(status(&mut flood[0]).await, "", "the first to wait was the first to be cut");
    assert_eq!(status(&mut worker).await, "HTTP/1.1 200 OK");
}

#[tokio::test(start_paused = true)]
async fn answers_under_way_are_given_before_the_end() {
    let bench = Bench::start();
    let mut idle = bench.connect().await;
    let mut worker = bench.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    tokio::time::sleep(SECOND).await;
    bench.cancel.cancel();
    assert_eq!(status(&mut idle).await, "");
    assert_eq!(status(&mut worker).await, "HTTP/1.1 200 OK");
    bench.task.await.unwrap();
}
