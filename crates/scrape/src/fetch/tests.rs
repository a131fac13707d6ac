mod access;

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firetower_daemon::{Connector, Listener, Stream, chain};
use firetower_model::HttpAccess;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::{Client, Connection, Fetched, PageLimits, Tls, Wanted};
use crate::buffers::Buffers;
use crate::error::Error;
use crate::exposition::{Format, MediaType};

/// Answers `GET`s with what `answer` makes of their paths; pauses of 20 ms stand at `|`. An answer that ends with `!`
/// closes its connection.
struct Server {
    address: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
        Server::start_over(None, answer).await
    }

    async fn start_tls(acceptor: TlsAcceptor, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
        Server::start_over(Some(acceptor), answer).await
    }

    async fn start_over(
        acceptor: Option<TlsAcceptor>,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Server {
        let mut listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_address().to_owned();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counted, seen, answer) = (Arc::clone(&connections), Arc::clone(&requests), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await;
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, seen, answer) = (acceptor.clone(), Arc::clone(&seen), Arc::clone(&answer));
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, seen, answer).await,
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            serve(Box::new(stream), seen, answer).await;
                        }
                    }
                });
            }
        });
        Server { address, connections, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(
    mut stream: Stream,
    seen: Arc<Mutex<Vec<String>>>,
    answer: Arc<impl Fn(&str) -> Vec<u8> + Send + Sync + 'static>,
) {
    let mut received = Vec::new();
    loop {
        while !received.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => received.push(byte),
                Err(_) => return,
            }
        }
        let request = String::from_utf8(std::mem::take(&mut received)).unwrap();
        let path = request.split(' ').nth(1).unwrap().to_owned();
        seen.lock().unwrap().push(request);
        let answer = answer(&path);
        let (answer, is_last) = answer.strip_suffix(b"!").map_or((&answer[..], false), |answer| (answer, true));
        for (at, part) in answer.split(|byte| *byte == b'|').enumerate() {
            if at > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if stream.write_all(part).await.is_err() {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}

struct Puller {
    client: Client,
    buffers: Buffers,
    kept: Option<Connection>,
    http: HttpAccess,
    is_compressed: bool,
}

impl Puller {
    fn new() -> Puller {
        let client = Client::new(Connector::tcp(), Tls::none());
        Puller { client, buffers: Buffers::default(), kept: None, http: HttpAccess::default(), is_compressed: true }
    }

    async fn get(&mut self, url: &str) -> Result<(String, MediaType), Error> {
        self.get_within(url, Duration::from_secs(10)).await
    }

    async fn get_within(&mut self, url: &str, timeout: Duration) -> Result<(String, MediaType), Error> {
        let request = self.client.prepare(&Wanted {
            url,
            http: &self.http,
            accept: "text/plain",
            is_compressed: self.is_compressed,
            notice: ("X-Prometheus-Scrape-Timeout-Seconds", timeout),
            timeout,
        })?;
        let limits = PageLimits { bytes: 1000, samples: None };
        let Fetched { mut lease, body, media_type, .. } =
            self.client.get(&mut self.kept, &request, limits, &self.buffers).await?;
        Ok((String::from_utf8(lease.page(body).0.to_vec()).unwrap(), media_type))
    }
}

fn gzip(page: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(page).unwrap();
    encoder.finish().unwrap()
}

fn plain(page: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{page}", page.len()).into_bytes()
}

#[tokio::test]
async fn one_connection_serves_scrape_after_scrape() {
    let server = Server::start(|_| plain("a 1\n")).await;
    let mut puller = Puller::new();
    for _ in 0..3 {
        assert_eq!(puller.get(&server.url("/m?x=y")).await.unwrap().0, "a 1\n");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let request = server.requests.lock().unwrap()[0].clone();
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        "GET /m?x=y HTTP/1.1",
        &format!("Host: {}", server.address),
        &format!("User-Agent: Firetower/{version}"),
        "Accept-Encoding: gzip",
        "X-Prometheus-Scrape-Timeout-Seconds: 10",
    ] {
        assert!(request.contains(&format!("{line}\r\n")), "{request}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_once() {
    let server = Server::start(|_| [plain("a 1\n"), b"!".to_vec()].concat()).await;
    let mut puller = Puller::new();
    for connections in 1..4 {
        assert_eq!(puller.get(&server.url("/")).await.unwrap().0, "a 1\n");
        assert_eq!(server.connections.load(Ordering::SeqCst), connections);
        assert!(puller.kept.is_some(), "nothing says that the connection ends");
    }
    let mute = Server::start(|_| b"!".to_vec()).await;
    let error = Puller::new().get(&mute.url("/")).await.unwrap_err();
    assert!(matches!(error, Error::Closed { .. }), "{error:?}");
}

#[tokio::test]
async fn bodies_end_in_each_way_that_http_has() {
    let packed = gzip(b"a 1\n");
    let gzipped = [
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len()).as_bytes(),
        &packed,
    ]
    .concat();
    let server = Server::start(move |path| match path {
        "/gzip" => gzipped.clone(),
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1;x=y\r\n| \r|\n2|\r\n1\n\r\n0\r\nTrailer: x\r\n\r\n".to_vec(),
        "/close" => b"HTTP/1.0 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0\r\n\r\na |1\n!".to_vec(),
        "/early" => b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\na| 1\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na!".to_vec(),
    })
    .await;
    let mut puller = Puller::new();
    for (path, media_type, is_kept) in [
        ("/gzip", MediaType::Missing, true),
        ("/chunked", MediaType::Missing, true),
        ("/close", MediaType::Known(Format::OpenMetrics), false),
        ("/early", MediaType::Missing, false),
        ("/chunked", MediaType::Missing, true),
    ] {
        assert_eq!(puller.get(&server.url(path)).await.unwrap(), ("a 1\n".to_owned(), media_type), "{path}");
        assert_eq!(puller.kept.is_some(), is_kept, "{path}");
    }
    assert!(matches!(puller.get(&server.url("/cut")).await, Err(Error::Cut)));
}

#[tokio::test]
async fn faults_have_a_word_and_a_story() {
    let large = "x".repeat(1001);
    let bomb = gzip(&vec![0; 1 << 20]);
    let server = Server::start(move |path| match path {
        "/503" => b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/large" => plain(&large),
        "/chunked" => {
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{large}\r\n0\r\n\r\n").into_bytes()
        }
        "/endless" => format!("HTTP/1.1 200 OK\r\n\r\n{large}").into_bytes(),
        "/bomb" => [
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len()).as_bytes(),
            &bomb,
        ]
        .concat(),
        "/packed" => b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\na 1\n".to_vec(),
        "/br" => b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n".to_vec(),
        "/loop" => b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/away" => b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/head" => [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 70 << 10]].concat(),
        "/headers" => [&b"HTTP/1.1 200 OK\r\n"[..], &b"a: b\r\n".repeat(9_000)].concat(),
        "/interim" => b"HTTP/1.1 100 Continue\r\n\r\n".repeat(9_000),
        "/negative" => b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\na 1\n".to_vec(),
        "/lengths" => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\na 1\n".to_vec(),
        "/long" => b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\na 1\n!".to_vec(),
        "/size" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_vec(),
        "/overrun" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na 1\n\r\n".to_vec(),
        "/extension" => [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;"[..], &[b'x'; 99 << 10]].concat(),
        _ => b"what?\r\n\r\n".to_vec(),
    })
    .await;
    #[rustfmt::skip]
    let cases = [
        ("/503", "http_status", "server returned HTTP status 503 Service Unavailable"),
        ("/large", "body_size", "body exceeds body_size_limit of 1000 bytes"),
        ("/chunked", "body_size", "body exceeds body_size_limit of 1000 bytes"),
        ("/endless", "body_size", "body exceeds body_size_limit of 1000 bytes"),
        ("/bomb", "body_size", "body exceeds body_size_limit of 1000 bytes"),
        ("/packed", "gzip", "the gzip body cannot be inflated: bad header"),
        ("/br", "http", "the answer cannot be read: content-encoding \"br\" was not asked for"),
        ("/loop", "redirects", "stopped after 10 redirects"),
        ("/away", "url", "\"ftp://x/\" is not a URL to scrape: its scheme is neither http nor https"),
        ("/head", "http", "the answer cannot be read: its head is too long"),
        ("/headers", "http", "the answer cannot be read: too many headers"),
        ("/interim", "http", "the answer cannot be read: its head is too long"),
        ("/negative", "http", "the answer cannot be read: content-length \"-4\" is no number"),
        ("/lengths", "http", "the answer cannot be read: it has more than one content-length"),
        ("/long", "receive", "the answer ends too early"),
        ("/size", "http", "the answer cannot be read: a chunk has no size"),
        ("/overrun", "http", "the answer cannot be read: a chunk is longer than its size"),
        ("/extension", "http", "the answer cannot be read: the head of a chunk is too long"),
        ("/what", "http", "the answer cannot be read: invalid HTTP version"),
    ];
    for (path, word, story) in cases {
        let error = Puller::new().get(&server.url(path)).await.expect_err(path);
        assert_eq!((error.reason(), chain(&error).to_string().as_str()), (word, story), "{path}");
    }
    let nobody = Puller::new().get("http://127.0.0.1:1/").await.unwrap_err();
    assert_eq!((nobody.reason(), nobody.to_string().as_str()), ("connect", "connect to 127.0.0.1:1"));
    let closing = Connector::new(|_| async { Ok(Box::new(tokio::io::duplex(64).0) as Stream) });
    let mut puller = Puller { client: Client::new(closing, Tls::none()), ..Puller::new() };
    let not_tls = puller.get("https://h/").await.unwrap_err();
    assert_eq!((not_tls.reason(), not_tls.to_string().as_str()), ("tls", "agree on TLS with h"));
}

#[tokio::test]
async fn redirects_are_followed_and_the_first_connection_stays() {
    let server = Server::start(|path| match path {
        "/a/old" => b"HTTP/1.1 301 Moved\r\nLocation: new?x\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/a/new?x" => b"HTTP/1.1 307 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => plain("a 1\n"),
    })
    .await;
    let mut puller = Puller::new();
    for connections in [3, 5] {
        assert_eq!(puller.get(&server.url("/a/old")).await.unwrap().0, "a 1\n");
        assert_eq!(server.connections.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn a_slow_drip_ends_at_the_timeout() {
    let server = Server::start(|_| [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), b"a|".repeat(500)].concat()).await;
    let begun = std::time::Instant::now();
    let error = Puller::new().get_within(&server.url("/"), Duration::from_millis(200)).await.unwrap_err();
    assert_eq!((error.reason(), error.to_string().as_str()), ("timeout", "no whole answer within 200ms"));
    assert!(begun.elapsed() < Duration::from_secs(5));
}
