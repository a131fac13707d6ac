//! Serves the pages of a whole fleet from one process, as cheaply as a socket allows.
//!
//! HTTP by hand: the answer to a `GET` is one write of head and page, connections stay open, and nothing is
//! allocated per target but a counter.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::log::{Log, Response};
use crate::page::Page;

/// A request longer than this is refused.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// How much of the log is lost at most if the fleet itself is killed.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// How long responses under way may take once the fleet is told to stop.
const DRAIN: Duration = Duration::from_secs(2);
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Which targets a fleet has, and how they answer. The last ones are hung, those before slow, those before malformed.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// Address of the first port; with port 0 the system chooses each.
    pub listen: SocketAddr,
    /// How many ports; target `i` is on port `i % ports`, under `/t/<i>/metrics`.
    pub ports: u16,
    /// How many targets.
    pub targets: usize,
    /// Whether to compress for clients that take gzip.
    pub gzip: bool,
    /// How many targets answer after `latency` only.
    pub slow: usize,
    /// How long the slow ones take.
    pub latency: Duration,
    /// How many targets never answer.
    pub hung: usize,
    /// How many targets show a page with a line that is no sample in the middle.
    pub malformed: usize,
    /// Where to write what was served.
    pub log: Option<PathBuf>,
}

/// A fleet that listens.
#[derive(Debug)]
pub struct Fleet {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: FleetOptions,
    page: Page,
    scrapes: Vec<AtomicU64>,
    log: Log,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Malformed,
    Slow,
    Hung,
}

impl Fleet {
    /// Opens the ports and the log.
    ///
    /// # Errors
    /// If a port is taken or the log cannot be made.
    pub async fn bind(options: FleetOptions, page: Page) -> io::Result<Fleet> {
        let mut listeners = Vec::new();
        for at in 0..options.ports {
            let port = if options.listen.port() == 0 { 0 } else { options.listen.port() + at };
            listeners.push(TcpListener::bind(SocketAddr::new(options.listen.ip(), port)).await?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let log = Log::create(options.log.as_deref())?;
        let scrapes = (0..options.targets).map(|_| AtomicU64::new(0)).collect();
        Ok(Fleet { listeners, addresses, shared: Arc::new(Shared { options, page, scrapes, log }) })
    }

    /// Returns the address of the first port, where `/served` is too.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Returns the fleet as Prometheus's `file_sd_configs` read it.
    pub fn file_sd(&self) -> serde_json::Value {
        let group = |target: usize| {
            serde_json::json!({
                "targets": [self.addresses[target % self.addresses.len()].to_string()],
                "labels": {
                    "__metrics_path__": format!("/t/{target}/metrics"),
                    "instance": format!("{}:9100", Page::node_name(target)),
                },
            })
        };
        (0..self.shared.options.targets).map(group).collect()
    }

    /// Serves until `stop` is cancelled, then finishes the responses under way.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        let mut listening = JoinSet::new();
        for listener in self.listeners {
            listening.spawn(accept_loop(listener, Arc::clone(&self.shared), stop.clone()));
        }
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = flush.tick() => self.shared.log.flush()?,
            }
        }
        let drained = tokio::time::timeout(DRAIN, async { while listening.join_next().await.is_some() {} });
        if drained.await.is_err() {
            eprintln!("fleet: responses under way took more than {DRAIN:?}");
        }
        self.shared.log.flush()
    }
}

async fn accept_loop(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared), stop.clone()));
                }
                Err(error) => {
                    eprintln!("fleet: accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Answers requests one after the other until the client leaves or the fleet stops; a client's faults end it silently.
async fn connection(mut stream: TcpStream, shared: Arc<Shared>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut request = Vec::new();
    loop {
        let head_bytes = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            read = read_head(&mut stream, &mut request) => match read {
                Ok(Some(bytes)) => bytes,
                Ok(None) | Err(_) => return,
            },
        };
        let answered = answer(&mut stream, &request[..head_bytes], &shared, &stop).await;
        if answered.is_err() {
            return;
        }
        request.drain(..head_bytes);
    }
}

/// Reads until `request` begins with a whole head and returns its length; `None` if the client has left.
async fn read_head(stream: &mut TcpStream, request: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(Some(end + 4));
        }
        if request.len() > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(request).await? == 0 {
            return Ok(None);
        }
    }
}

async fn answer(stream: &mut TcpStream, head: &[u8], shared: &Shared, stop: &CancellationToken) -> io::Result<()> {
    let requested_ms = now_ms();
    let head = String::from_utf8_lossy(head);
    let path = head.split(' ').nth(1).unwrap_or("");
    if path == "/served" {
        let (responses, samples) = shared.log.totals();
        let body = format!("{{\"responses\":{responses},\"samples\":{samples}}}\n");
        return stream.write_all(&message("200 OK", "application/json", "", body.as_bytes())).await;
    }
    let target =
        path.strip_prefix("/t/").and_then(|rest| rest.split_once("/metrics")).and_then(|(at, _)| at.parse().ok());
    let Some(target) = target.filter(|target| *target < shared.options.targets) else {
        return stream.write_all(&message("404 Not Found", "text/plain", "", b"no such target\n")).await;
    };
    let mood = shared.mood(target);
    match mood {
        Mood::Well | Mood::Malformed => {}
        Mood::Slow => tokio::time::sleep(shared.options.latency).await,
        Mood::Hung => return wait_until_left(stream, stop).await,
    }
    let is_gzip = shared.options.gzip && accepts_gzip(&head);
    let scrape = shared.scrapes[target].fetch_add(1, Ordering::Relaxed);
    stream.write_all(&shared.metrics(target, scrape, is_gzip)?).await?;
    let samples = if mood == Mood::Malformed { 0 } else { shared.page.lines().len() as u64 };
    shared.log.add(Response { target, scrape, requested_ms, samples })
}

/// Takes whatever the client sends until it closes the connection.
async fn wait_until_left(stream: &mut TcpStream, stop: &CancellationToken) -> io::Result<()> {
    let mut ignored = [0u8; 1024];
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            read = stream.read(&mut ignored) => if read? == 0 { break },
        }
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

impl Shared {
    fn mood(&self, target: usize) -> Mood {
        let from_end = self.options.targets - target;
        let FleetOptions { hung, slow, malformed, .. } = self.options;
        match from_end {
            n if n <= hung => Mood::Hung,
            n if n <= hung + slow => Mood::Slow,
            n if n <= hung + slow + malformed => Mood::Malformed,
            _ => Mood::Well,
        }
    }

    /// Returns the whole answer, head and page.
    fn metrics(&self, target: usize, scrape: u64, is_gzip: bool) -> io::Result<Vec<u8>> {
        let mut page = Vec::with_capacity(self.page.lines().len() * 120);
        self.page.render(target, scrape, &mut page);
        if self.mood(target) == Mood::Malformed {
            let middle = page.len() / 2;
            let line_at =
                page[middle..].iter().position(|byte| *byte == b'\n').map_or(page.len(), |end| middle + end + 1);
            page.splice(line_at..line_at, *b"this is { no sample\n");
        }
        if !is_gzip {
            return Ok(message("200 OK", EXPOSITION, "", &page));
        }
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zipped.write_all(&page)?;
        Ok(message("200 OK", EXPOSITION, "Content-Encoding: gzip\r\n", &zipped.finish()?))
    }
}

fn accepts_gzip(head: &str) -> bool {
    head.lines().any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("accept-encoding:") && line.contains("gzip")
    })
}

fn message(status: &str, content_type: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{more}Content-Length: {length}\r\n\r\n");
    let mut message = Vec::with_capacity(head.len() + length);
    message.extend_from_slice(head.as_bytes());
    message.extend_from_slice(body);
    message
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
