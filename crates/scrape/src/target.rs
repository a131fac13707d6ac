//! Scrapes one target after its schedule, until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use firetower_daemon::{Clock, chain};
use firetower_model::{HttpAccess, OVER_LIMIT, STALE, Sample, Schedule, ShapeId, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::buffers::Buffers;
use crate::error::Error;
use crate::exposition::Format;
use crate::fetch::{Client, Connection, Fetched, PageLimits, Request, Wanted};
use crate::growth::Growth;
use crate::metrics::ScrapeMetrics;
use crate::page::{LEADING, PageCounts, PageShapes, ReadOptions, Resolve, TargetPage};

/// How large a page may be, inflated, where nothing else is said.
pub const BODY_SIZE_LIMIT: usize = 64 << 20;

/// How late a scrape may start, and its samples still carry the slot's time: this share of the interval, ...
const TOLERANCE_SHARE: u32 = 10;
/// ... and never more than this.
const TOLERANCE_MOST: Duration = Duration::from_secs(1);

/// How far ahead of its scrape the time that a line carries may be; samples further ahead are left out.
///
/// Source: Prometheus 3 `scrape/scrape.go`, `maxAheadTime`.
const AHEAD_MAX: Duration = Duration::from_secs(10 * 60);

/// What a target is scraped with.
#[derive(Clone, Debug)]
pub struct ScrapeOptions {
    /// The caller's handle of the target, which comes back with each [`Scrape`].
    pub index: u32,
    /// `scheme://host:port/path?params`, behind [`OVER_LIMIT`] if each scrape is to fail.
    pub url: String,
    /// How it is asked.
    pub http: HttpAccess,
    /// The header `Accept`: which formats are asked for, as [`crate::accept`] writes it.
    pub accept: Arc<str>,
    /// How a page is read whose `Content-Type` is missing or not known; `None` fails the scrape.
    pub fallback: Option<Format>,
    /// Whether pages may be compressed.
    pub is_compressed: bool,
    /// When it is due.
    pub schedule: Schedule,
    /// Slots before this are another's, or another time's.
    pub since: Timestamp,
    /// Slots from this moment on, in milliseconds since the unix epoch, are another's; it may come earlier while
    /// scraping runs.
    pub until_ms: Arc<AtomicI64>,
    /// Time between two scrapes.
    pub interval: Duration,
    /// How long a scrape may take, reading its page not included.
    pub timeout: Duration,
    /// Whether the time that a line carries is its sample's time.
    pub honor_timestamps: bool,
    /// Whether a series whose samples carry their own time ends with a marker when it is missing from a page.
    pub track_timestamps_staleness: bool,
    /// How many samples may be left after relabelling; 0 for any number.
    pub sample_limit: usize,
    /// Whether a target that is known with few samples may not suddenly bring many, see [`crate::GROWTH_FACTOR`].
    pub limits_growth: bool,
    /// Whether relabelling may drop lines of a page.
    pub drops_lines: bool,
    /// How large a page may be, inflated; 0 for [`BODY_SIZE_LIMIT`].
    pub body_size_limit: usize,
}

/// What all targets share; clones share it too.
#[derive(Clone, Debug)]
pub struct Scraper {
    /// Tells the time of slots.
    pub clock: Clock,
    /// Gets the pages.
    pub client: Client,
    /// Buffers of whoever is at work.
    pub buffers: Buffers,
    /// Shapes of alike pages.
    pub shapes: PageShapes,
    /// What is counted.
    pub metrics: ScrapeMetrics,
    /// Where scrapes go; a full queue holds its targets back, whose slots are then skipped and counted.
    pub scrapes: mpsc::Sender<Scrape>,
}

/// One scrape of one target.
#[derive(Debug)]
pub struct Scrape {
    /// The caller's handle of the target.
    pub index: u32,
    /// When it was due.
    pub slot: Timestamp,
    /// The time of its samples: `slot`, or its start if that was later than a tenth of the interval, at most 1 s.
    pub at: Timestamp,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, reading the page included.
    pub duration: Duration,
    /// Size of the body as it travelled.
    pub response_bytes: usize,
    /// The page, or why there is none.
    pub outcome: Result<Read, Failure>,
    /// Markers of series that end since there is no page, and that no marker in a row would end: (place in a row of
    /// the last page's shape, marker).
    pub ended: Vec<(u32, Sample)>,
}

/// A page that was read.
#[derive(Debug)]
pub struct Read {
    /// What `values` stand for.
    pub shape: ShapeId,
    /// One value for each of the [`crate::SYNTHETIC`] series, then one for each column of the page.
    /// To be given back with [`Buffers::give_row`].
    pub values: Vec<f64>,
    /// Samples whose line carried a time of its own: (place in `values`, sample).
    pub timed: Vec<(u32, Sample)>,
    /// What was on the page.
    pub counts: PageCounts,
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A word for it, one of a few.
    pub reason: &'static str,
    /// The whole story in one line.
    pub text: String,
}

/// Scrapes a target at each of its slots until `cancel` is, or its time is over, and sends what came of it to `scraper.scrapes`.
///
/// A slot that passes while a scrape still runs is skipped and counted, never made up for. A scrape in flight is
/// finished before it ends, which takes at most its timeout.
pub fn run_target(
    scraper: Scraper,
    options: ScrapeOptions,
    mut resolve: impl Resolve + Send,
    cancel: CancellationToken,
) -> impl Future<Output = ()> + Send {
    // What is only needed here would otherwise be held for as long as the target is scraped.
    let mut state = State::new(&scraper.client, &options);
    let ScrapeOptions { index, schedule, interval, since, until_ms, .. } = options;
    let tolerance = (interval / TOLERANCE_SHARE).min(TOLERANCE_MOST);
    let mut slot = first_kept(&scraper, interval, schedule.first_at_or_after(since), tolerance);
    async move {
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = scraper.clock.sleep_until(slot) => {}
            }
            // The process may have been stopped while it waited: what is scraped now is not of a slot that is over.
            if scraper.clock.now().since(slot) >= interval {
                slot = first_kept(&scraper, interval, slot, tolerance);
                continue;
            }
            if slot.as_millis() >= until_ms.load(Ordering::Relaxed) {
                return;
            }
            let started = scraper.clock.now();
            let is_late = started.since(slot) > tolerance;
            if is_late {
                scraper.metrics.late_starts.inc();
            }
            let begun = Instant::now();
            let fetched = state.fetch(&scraper).await;
            let at = if is_late { started } else { slot };
            let response_bytes = fetched.as_ref().map_or(0, |fetched| fetched.wire_bytes);
            let outcome = state.read(&scraper, fetched, at, &mut resolve);
            let ended = if outcome.is_err() { state.page.end_timed(at) } else { Vec::new() };
            let mut scrape =
                Scrape { index, slot, at, started, duration: Duration::ZERO, response_bytes, outcome, ended };
            scrape.finish(begun.elapsed(), &scraper.metrics);
            if scraper.scrapes.send(scrape).await.is_err() {
                return;
            }
            slot = first_kept(&scraper, interval, slot + interval, tolerance);
        }
    }
}

/// Returns `next` or the first slot after it that can still be kept, and counts those that cannot.
fn first_kept(scraper: &Scraper, interval: Duration, mut next: Timestamp, tolerance: Duration) -> Timestamp {
    let now = scraper.clock.now();
    while now.since(next) > tolerance {
        scraper.metrics.skipped_slots.inc();
        next = next + interval;
    }
    next
}

/// What is kept of a target between its scrapes.
struct State {
    request: Result<Request, Failure>,
    connection: Option<Connection>,
    page: TargetPage,
    /// The format of `page`.
    format: Format,
    fallback: Option<Format>,
    read_options: ReadOptions,
    track_timestamps_staleness: bool,
    body_size_limit: usize,
    growth: Option<Growth>,
    drops_lines: bool,
}

impl State {
    fn new(client: &Client, options: &ScrapeOptions) -> State {
        let limit = |limit: usize, default: Option<usize>| if limit == 0 { default } else { Some(limit) };
        State {
            request: prepare(client, options).map_err(Failure::from),
            connection: None,
            page: TargetPage::default(),
            format: Format::default(),
            fallback: options.fallback,
            read_options: ReadOptions {
                honor_timestamps: options.honor_timestamps,
                sample_limit: limit(options.sample_limit, None),
                ..ReadOptions::default()
            },
            track_timestamps_staleness: options.track_timestamps_staleness,
            body_size_limit: limit(options.body_size_limit, None).unwrap_or(BODY_SIZE_LIMIT),
            growth: options.limits_growth.then(Growth::default),
            drops_lines: options.drops_lines,
        }
    }

    /// Returns how many samples the next page may have.
    fn sample_limit(&self) -> Option<usize> {
        let limits = [self.read_options.sample_limit, self.growth.and_then(Growth::limit)];
        limits.into_iter().flatten().min()
    }

    /// Says of a page with too many samples which limit that was.
    fn explain(&self, error: Error) -> Failure {
        match (error, self.growth) {
            (Error::SampleLimit { limit }, Some(growth)) if growth.limit() == Some(limit) => growth.error(limit),
            (error, _) => error,
        }
        .into()
    }

    async fn fetch(&mut self, scraper: &Scraper) -> Result<Fetched, Failure> {
        let samples = self.sample_limit().filter(|_| !self.drops_lines);
        let limits = PageLimits { bytes: self.body_size_limit, samples };
        let request = self.request.as_ref().map_err(Failure::clone)?;
        let got = scraper.client.get(&mut self.connection, request, limits, &scraper.buffers).await;
        got.map_err(|error| self.explain(error))
    }

    fn read(
        &mut self,
        scraper: &Scraper,
        fetched: Result<Fetched, Failure>,
        at: Timestamp,
        resolve: &mut dyn Resolve,
    ) -> Result<Read, Failure> {
        let Fetched { mut lease, body, media_type, .. } = fetched?;
        let format = media_type.format(self.fallback).map_err(Error::Format)?;
        let (page, reader) = lease.page(body);
        let (mut values, mut timed) = (scraper.buffers.take_row(), Vec::new());
        values.resize(LEADING, STALE);
        if self.format != format {
            // A line may be well-formed in one format and not in the other, so none is taken for known.
            (self.page, self.format) = (TargetPage::default(), format);
        }
        let timed_end_at = self.track_timestamps_staleness.then_some(at);
        let sample_limit = self.sample_limit();
        let options = ReadOptions { format, timed_end_at, sample_limit, ..self.read_options };
        let read = reader.read(&mut self.page, &scraper.shapes, page, options, resolve, &mut values, &mut timed);
        match read {
            Ok((shape, counts)) => {
                self.growth.iter_mut().for_each(|growth| growth.note(counts.kept));
                let read = timed.len();
                timed.retain(|(_, sample)| sample.at <= at + AHEAD_MAX);
                scraper.metrics.ahead_samples.inc_by((read - timed.len()) as u64);
                Ok(Read { shape, values, timed, counts })
            }
            Err(error) => {
                scraper.buffers.give_row(values);
                Err(self.explain(error.into()))
            }
        }
    }
}

/// Makes the request that every scrape sends.
fn prepare(client: &Client, options: &ScrapeOptions) -> Result<Request, Error> {
    if options.url.starts_with(OVER_LIMIT) {
        return Err(Error::TargetLimit);
    }
    client.prepare(&Wanted {
        url: &options.url,
        http: &options.http,
        accept: &options.accept,
        is_compressed: options.is_compressed,
        notice: ("X-Prometheus-Scrape-Timeout-Seconds", options.timeout),
        timeout: options.timeout,
    })
}

impl Scrape {
    /// Notes how long it took, fills in the synthetic series and counts it.
    fn finish(&mut self, duration: Duration, metrics: &ScrapeMetrics) {
        self.duration = duration;
        let outcome = match &mut self.outcome {
            Ok(Read { values, counts, .. }) => {
                let counted = [counts.scraped, counts.kept, counts.added].map(|count| count as f64);
                values[0] = 1.0;
                values[1] = duration.as_secs_f64();
                values[2..LEADING].copy_from_slice(&counted);
                metrics.samples.inc_by(counts.kept as u64);
                metrics.repeated_samples.inc_by(counts.repeated as u64);
                "ok"
            }
            Err(failure) => failure.reason,
        };
        metrics.note(outcome, duration, self.response_bytes);
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { reason: error.reason(), text: chain(&error).to_string() }
    }
}

#[cfg(test)]
mod tests;
