//! The targets of a datacenter: one host, a port each, and a record of all they have served.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firetower_daemon::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};

use crate::trace::Trace;

/// The port of the first target; the others follow.
const FIRST_PORT: u16 = 9100;
/// One page in so many is not answered in time, ...
const SLOW_EVERY: u64 = 40;
/// ... and one in so many fails.
const FAILED_EVERY: u64 = 40;
/// How long a slow page takes: longer than the timeout of a scrape.
const SLOW: Duration = Duration::from_millis(700);
/// How old the one sample of a page is that has a time of its own: older than the time for which windows may change.
const PAST: Duration = Duration::from_secs(30);
/// Its name.
pub(crate) const PAST_NAME: &str = "past";
/// A request may not be longer.
const REQUEST_BYTES_MAX: usize = 4096;

/// One page as it was served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Page {
    /// Since the start of the simulation.
    pub(crate) at: Duration,
    /// Of `work_total`, by kind.
    pub(crate) work: [u64; 2],
    /// Of `level`.
    pub(crate) level: u64,
    /// Whether it came too late for whoever asked.
    pub(crate) is_slow: bool,
}

/// What each target has served, in order, by its `instance`; clones are the same record.
#[derive(Clone, Default)]
pub(crate) struct Served(Arc<Mutex<BTreeMap<String, Vec<Page>>>>);

impl Served {
    pub(crate) fn of(&self, instance: &str) -> Vec<Page> {
        self.0.lock().expect("no panics").get(instance).cloned().unwrap_or_default()
    }
}

/// Returns the `instance` of a target.
pub(crate) fn instance(host: &str, number: u16) -> String {
    format!("{host}:{}", FIRST_PORT + number)
}

/// Serves `count` targets on the host at work, for ever.
pub(crate) async fn serve(
    host: String,
    count: u16,
    (begin_ms, served): (i64, Served),
    random: Random,
    trace: Trace,
) -> io::Result<()> {
    let mut targets = Vec::new();
    for number in 0..count {
        let listener = TcpListener::bind(("0.0.0.0", FIRST_PORT + number)).await?;
        let target = Target {
            instance: instance(&host, number),
            begin_ms,
            served: served.clone(),
            random: random.clone(),
            trace: trace.clone(),
            page: Arc::new(Mutex::new(Page { at: Duration::ZERO, work: [0; 2], level: 0, is_slow: false })),
        };
        targets.push(tokio::spawn(target.accept(listener)));
    }
    for target in targets {
        target.await.map_err(io::Error::other)??;
    }
    Ok(())
}

#[derive(Clone)]
struct Target {
    instance: String,
    begin_ms: i64,
    served: Served,
    random: Random,
    trace: Trace,
    page: Arc<Mutex<Page>>,
}

impl Target {
    async fn accept(self, listener: TcpListener) -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            // A connection ends with its client; what went wrong on it is the client's to say.
            drop(tokio::spawn(self.clone().answer(stream)));
        }
    }

    /// Answers one request after the other.
    async fn answer(self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        loop {
            while !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await? == 0 || request.len() > REQUEST_BYTES_MAX {
                    return Ok(());
                }
            }
            request.clear();
            let is_slow = self.random.below(SLOW_EVERY) == 0;
            if is_slow {
                tokio::time::sleep(SLOW).await;
            }
            let answer = if self.random.below(FAILED_EVERY) == 0 {
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned()
            } else {
                self.page(is_slow)
            };
            stream.write_all(answer.as_bytes()).await?;
        }
    }

    /// Returns the next page, and keeps it.
    fn page(&self, is_slow: bool) -> String {
        let mut page = self.page.lock().expect("no panics");
        page.at = turmoil::sim_elapsed().unwrap_or_default();
        page.work[0] += 1 + self.random.below(1_000);
        page.work[1] += 1 + self.random.below(10);
        page.is_slow = is_slow;
        page.level = self.random.below(1_000);
        let Page { work: [a, b], level, .. } = *page;
        self.trace.note(&format!("{} serves {a} {b} {level} at {:?}", self.instance, page.at));
        self.served.0.lock().expect("no panics").entry(self.instance.clone()).or_default().push(*page);
        let mut text = String::new();
        let past_ms = self.begin_ms + page.at.as_millis() as i64 - PAST.as_millis() as i64;
        let body = format!(
            "{PAST_NAME} {level} {past_ms}\n# TYPE work_total counter\nwork_total{{kind=\"a\"}} {a}\nwork_total{{kind=\"b\"}} {b}\n# TYPE level gauge\nlevel {level}\n"
        );
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length:";
        write!(text, "{head} {}\r\n\r\n{body}", body.len()).expect("a string takes everything");
        text
    }
}
