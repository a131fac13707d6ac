use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use firetower_daemon::{Clock, Connector};
use firetower_model::{Kind, Labels, MetricId, Schedule, ShapeId, Timestamp, is_stale};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Failure, Read, Scrape, ScrapeOptions, Scraper, run_target};
use crate::{Buffers, Client, LEADING, LabelLimit, Line, PageShapes, Protocol, Resolve, ScrapeMetrics, Tls, accept};

/// The first letter of a metric's name is its id.
struct Letters;

impl Resolve for Letters {
    fn relabel(&mut self, line: &Line<'_>) -> Result<Option<Labels>, LabelLimit> {
        Ok(Some(Labels::new(line.labels.iter().map(|(name, value)| (name, value)))))
    }

    fn metric(&mut self, labels: &Labels, _: Kind) -> Option<MetricId> {
        labels.name().bytes().next().map(|letter| MetricId(letter.into()))
    }

    fn shape(&mut self, metrics: &[MetricId]) -> Option<(ShapeId, Arc<[MetricId]>)> {
        let whole = (0..LEADING as u32).map(MetricId).chain(metrics.iter().copied());
        Some((ShapeId(metrics.len() as u32), whole.collect()))
    }

    fn sharing_key(&self) -> Option<u64> {
        Some(0)
    }
}

/// Answers each connection's first request after a while, and then closes it; the n-th with the n-th answer.
fn connector(answers: Vec<(Duration, &'static str)>) -> Connector {
    let answers = std::sync::Mutex::new(answers.into_iter());
    Connector::new(move |_| {
        let answer = answers.lock().unwrap().next();
        async move {
            let (ours, mut theirs) = duplex(64 << 10);
            tokio::spawn(async move {
                let mut request = [0; 2048];
                let _ = theirs.read(&mut request).await;
                let Some((wait, page)) = answer else { return std::future::pending().await };
                tokio::time::sleep(wait).await;
                let type_line = if page.starts_with("<") { "" } else { "Content-Type: text/plain\r\n" };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\n{type_line}Connection: close\r\nContent-Length: {}\r\n\r\n{page}",
                    page.len()
                );
                let _ = theirs.write_all(answer.as_bytes()).await;
            });
            Ok(Box::new(ours) as firetower_daemon::Stream)
        }
    })
}

struct Bench {
    registry: Registry,
    scrapes: mpsc::Receiver<Scrape>,
    until_ms: Arc<AtomicI64>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Scrapes every 10 s with a timeout of 8 s, from time 0; the slots lie 3 s after each ten.
fn start(answers: Vec<(Duration, &'static str)>, url: &str) -> Bench {
    start_with(answers, url, |options| options)
}

fn start_with(
    answers: Vec<(Duration, &'static str)>,
    url: &str,
    change: impl FnOnce(ScrapeOptions) -> ScrapeOptions,
) -> Bench {
    let until_ms = Arc::new(AtomicI64::new(i64::MAX));
    let mut registry = Registry::default();
    let (sender, scrapes) = mpsc::channel(4);
    let scraper = Scraper {
        clock: Clock::starting_at(Timestamp::from_millis(0)),
        client: Client::new(connector(answers), Tls::none()),
        buffers: Buffers::default(),
        shapes: PageShapes::default(),
        metrics: ScrapeMetrics::register(&mut registry),
        scrapes: sender,
    };
    let options = ScrapeOptions {
        index: 7,
        url: url.into(),
        http: Default::default(),
        accept: accept(&[Protocol::Text0]).into(),
        fallback: None,
        is_compressed: true,
        schedule: Schedule::new(3_000, Duration::from_secs(10)),
        since: Timestamp::from_millis(0),
        until_ms: Arc::clone(&until_ms),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(8),
        honor_timestamps: true,
        track_timestamps_staleness: false,
        sample_limit: 2,
        limits_growth: false,
        drops_lines: false,
        body_size_limit: 0,
    };
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run_target(scraper, change(options), Letters, cancel.clone()));
    Bench { registry, scrapes, until_ms, cancel, task }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn scrapes_come_at_their_slots_with_the_synthetic_series() {
    let pages = vec![(SECOND, "a 1\nb 2\n"), (2 * SECOND, "b 3\n"), (SECOND, "a\n"), (SECOND, "a 1\nb 1\nc 1\n")];
    let mut bench = start(pages, "http://h:1/metrics");
    let check = |scrape: Scrape, slot: i64, seconds: f64, expected: Result<&[f64], Failure>| {
        assert_eq!((scrape.index, scrape.slot, scrape.at, scrape.started), (7, scrape.slot, scrape.slot, scrape.slot));
        assert_eq!(scrape.slot, Timestamp::from_millis(slot));
        assert!((scrape.duration.as_secs_f64() - seconds).abs() < 0.1, "{:?}", scrape.duration);
        match (scrape.outcome, expected) {
            (Ok(Read { values, counts, .. }), Ok(expected)) => {
                assert_eq!(values[1], scrape.duration.as_secs_f64());
                assert_eq!(values[2..LEADING], [counts.scraped as f64, counts.kept as f64, counts.added as f64]);
                let written: Vec<f64> =
                    values.iter().map(|value| if is_stale(*value) { -1.0 } else { *value }).collect();
                assert_eq!((written[0], &written[LEADING..]), (1.0, expected));
            }
            (outcome, expected) => assert_eq!(outcome.err(), expected.err()),
        }
    };
    let fault = |reason, text: &str| Err(Failure { reason, text: text.into() });
    check(bench.scrapes.recv().await.unwrap(), 3_000, 1.0, Ok(&[1.0, 2.0]));
    check(bench.scrapes.recv().await.unwrap(), 13_000, 2.0, Ok(&[-1.0, 3.0]));
    let malformed = fault("page", "malformed page: line 1: a value must follow the name");
    check(bench.scrapes.recv().await.unwrap(), 23_000, 1.0, malformed);
    let too_many = fault("sample_limit", "sample_limit of 2 samples is exceeded");
    check(bench.scrapes.recv().await.unwrap(), 33_000, 1.0, too_many);
    check(bench.scrapes.recv().await.unwrap(), 43_000, 8.0, fault("timeout", "no whole answer within 8s"));
    bench.cancel.cancel();
    bench.task.await.unwrap();
    let mut text = String::new();
    encode(&mut text, &bench.registry).unwrap();
    for line in [
        "firetower_scrape_scrapes_total{outcome=\"ok\"} 2",
        "firetower_scrape_scrapes_total{outcome=\"timeout\"} 1",
        "firetower_scrape_duration_seconds_count 5",
        "firetower_scrape_samples_total 3",
        "firetower_scrape_skipped_slots_total 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_target_may_not_suddenly_bring_far_more() {
    let page = |lines: usize| -> &'static str { "a 1\n".repeat(lines).leak() };
    let sizes = [3, 500, 3, 5_001, 5_000, 50_001, 400_000, 3];
    let pages = sizes.map(|lines| (SECOND, page(lines))).into();
    let mut bench = start_with(pages, "http://h:1/metrics", |options| ScrapeOptions {
        sample_limit: 0,
        limits_growth: true,
        ..options
    });
    let mut read = async || bench.scrapes.recv().await.unwrap().outcome.map(|read| read.counts.kept);
    let too_many = |limit: usize, most: usize| {
        let text = format!(
            "growth limit of {limit} samples is exceeded, the target never had more than {most}: a sample_limit of \
             its job lifts that"
        );
        Err(Failure { reason: "growth_limit", text })
    };
    for kept in [3, 500, 3] {
        assert_eq!(read().await, Ok(kept));
    }
    assert_eq!(read().await, too_many(5_000, 500));
    assert_eq!(read().await, Ok(5_000));
    assert_eq!(read().await, too_many(50_000, 5_000));
    assert_eq!(read().await, too_many(50_000, 5_000), "of a page so large that it is counted while it comes");
    assert_eq!(read().await, Ok(3), "the connection is made anew");
}

#[tokio::test(start_paused = true)]
async fn slots_that_cannot_be_kept_are_skipped_not_queued() {
    let mut bench = start(vec![(SECOND, "a 1\n"); 9], "http://h:1/metrics");
    tokio::time::sleep(68 * SECOND).await;
    // Four are in the queue and the fifth waited for it from 44 s on; the slots at 53 s and 63 s passed by.
    let mut slots = Vec::new();
    for _ in 0..7 {
        slots.push(bench.scrapes.recv().await.unwrap().slot.as_millis() / 1000);
    }
    assert_eq!(slots, [3, 13, 23, 33, 43, 73, 83]);
    let mut text = String::new();
    encode(&mut text, &bench.registry).unwrap();
    assert!(text.contains("firetower_scrape_skipped_slots_total 2"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn slots_that_went_by_while_the_process_was_stopped_are_skipped() {
    let mut bench = start(vec![(SECOND, "a 1\n"); 2], "http://h:1/metrics");
    // It waits for 3 s, and is only let go on at 25 s.
    tokio::task::yield_now().await;
    tokio::time::advance(25 * SECOND).await;
    let scrape = bench.scrapes.recv().await.unwrap();
    assert_eq!((scrape.slot.as_millis(), scrape.at.as_millis()), (33_000, 33_000));
    let mut text = String::new();
    encode(&mut text, &bench.registry).unwrap();
    assert!(text.contains("firetower_scrape_skipped_slots_total 3"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn slots_from_the_end_on_are_not_scraped() {
    let mut bench = start(vec![(SECOND, "a 1\n"); 9], "http://h:1/metrics");
    assert_eq!(bench.scrapes.recv().await.unwrap().slot, Timestamp::from_millis(3_000));
    bench.until_ms.store(23_000, Ordering::Relaxed);
    assert_eq!(bench.scrapes.recv().await.unwrap().slot, Timestamp::from_millis(13_000));
    assert!(bench.scrapes.recv().await.is_none());
    bench.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn samples_far_ahead_of_their_time_are_left_out() {
    let page = "a 1 603000\nb 1 99999999999999\n";
    let mut bench = start(vec![(SECOND, page)], "http://h:1/metrics");
    let Read { timed, .. } = bench.scrapes.recv().await.unwrap().outcome.unwrap();
    let times: Vec<i64> = timed.iter().map(|(_, sample)| sample.at.as_millis()).collect();
    assert_eq!(times, [603_000]);
}

#[tokio::test(start_paused = true)]
async fn a_scrape_in_flight_is_finished_before_the_end() {
    let mut bench = start(vec![(5 * SECOND, "a 1\n")], "http://h:1/metrics");
    tokio::time::sleep(4 * SECOND).await;
    bench.cancel.cancel();
    assert!(bench.scrapes.recv().await.unwrap().outcome.is_ok());
    bench.task.await.unwrap();
    assert!(bench.scrapes.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_none_fails_each_scrape() {
    for (url, reason) in [("h:1", "url"), ("over-target-limit+http://h:1/", "target_limit")] {
        let mut bench = start(Vec::new(), url);
        for _ in 0..2 {
            assert_eq!(bench.scrapes.recv().await.unwrap().outcome.unwrap_err().reason, reason);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_does_not_name_its_format_fails() {
    let mut bench = start(vec![(SECOND, "<html>")], "http://h:1/metrics");
    let failure = bench.scrapes.recv().await.unwrap().outcome.unwrap_err();
    assert_eq!(failure.reason, "content_type");
    assert!(failure.text.contains("no fallback_scrape_protocol"), "{}", failure.text);
}
