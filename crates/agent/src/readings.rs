//! What is read of this host, and how reading fared.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use firetower_daemon::{Clock, chain};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::collect::{Collector, Error, FILESYSTEM, QUICK};
use crate::page::{Kind, Page};
use crate::status::{CpuTicks, Status};

/// How many pages are read at the same time; further ones wait for their turn.
const PAGES_MAX: usize = 4;

/// This host's readings; clones share what they know.
#[derive(Clone, Debug)]
pub struct Readings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    filesystem_timeout: Duration,
    pages: Semaphore,
    /// Held while the filesystems are asked, so that a mount that hangs holds one thread and not one for each page.
    filesystems: Arc<Semaphore>,
    cpu_usage: Mutex<Option<f64>>,
    pages_total: AtomicU64,
    collectors: Vec<Health>,
}

/// How a collector fared.
#[derive(Debug)]
struct Health {
    name: &'static str,
    is_failing: AtomicBool,
    failures_total: AtomicU64,
}

/// What one collector brought.
struct Outcome {
    collector: Collector,
    result: Result<Page, Error>,
    took: Duration,
}

impl Readings {
    /// Returns readings that leave filesystems out once they have taken `filesystem_timeout`.
    pub fn new(filesystem_timeout: Duration) -> Readings {
        let collectors = QUICK.iter().chain([&FILESYSTEM]);
        let health = |collector: &Collector| Health {
            name: collector.name,
            is_failing: AtomicBool::new(false),
            failures_total: AtomicU64::new(0),
        };
        Readings(Arc::new(Inner {
            filesystem_timeout,
            pages: Semaphore::new(PAGES_MAX),
            filesystems: Arc::new(Semaphore::new(1)),
            cpu_usage: Mutex::new(None),
            pages_total: AtomicU64::new(0),
            collectors: collectors.map(health).collect(),
        }))
    }

    /// Measures the share of CPU time in use every `interval`, until `cancel` is cancelled.
    pub async fn watch_cpu(&self, clock: Clock, interval: Duration, cancel: CancellationToken) {
        let mut earlier = None;
        let mut next = clock.now();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = clock.sleep_until(next) => {}
            }
            next = clock.now() + interval;
            let ticks = CpuTicks::read().ok();
            let usage = ticks.zip(earlier).and_then(|(later, earlier)| later.usage_since(earlier));
            *self.0.cpu_usage.lock().unwrap_or_else(PoisonError::into_inner) = usage;
            earlier = ticks;
        }
    }

    /// Reads how full this host is.
    ///
    /// # Errors
    /// If the host tells nothing at all.
    pub(crate) async fn status(&self) -> Result<Status, Error> {
        let cpu_usage = *self.0.cpu_usage.lock().unwrap_or_else(PoisonError::into_inner);
        blocking(move || Status::read(cpu_usage)).await
    }

    /// Reads a whole page; a collector that fails is left out of it and said to have failed.
    pub(crate) async fn page(&self) -> String {
        let _turn = self.0.pages.acquire().await;
        self.0.pages_total.fetch_add(1, Ordering::Relaxed);
        let quick = async { blocking(|| Ok(QUICK.map(gather))).await };
        let (quick, filesystem) = tokio::join!(quick, self.gather_filesystems());
        let mut outcomes: Vec<Outcome> = quick.map(Vec::from).unwrap_or_else(|_| QUICK.map(Outcome::panicked).into());
        outcomes.push(filesystem);

        let mut page = Page::default();
        for outcome in &outcomes {
            self.note(outcome);
            if let Ok(part) = &outcome.result {
                page.append(part);
            }
        }
        write_outcomes(&mut page, &outcomes);
        self.write_own(&mut page);
        page.into_text()
    }

    async fn gather_filesystems(&self) -> Outcome {
        let started = Instant::now();
        let filesystems = Arc::clone(&self.0.filesystems);
        let reading = async {
            let permit = filesystems.acquire_owned().await.ok();
            blocking(move || {
                let outcome = gather(FILESYSTEM);
                drop(permit);
                Ok(outcome)
            })
            .await
        };
        match tokio::time::timeout(self.0.filesystem_timeout, reading).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome { collector: FILESYSTEM, result: Err(error), took: started.elapsed() },
            Err(_) => Outcome { collector: FILESYSTEM, result: Err(Error::TimedOut), took: started.elapsed() },
        }
    }

    /// Counts a failure, and logs the first one of a row.
    fn note(&self, outcome: &Outcome) {
        let Some(health) = self.0.collectors.iter().find(|health| health.name == outcome.collector.name) else {
            return;
        };
        let was_failing = health.is_failing.swap(outcome.result.is_err(), Ordering::Relaxed);
        if let Err(error) = &outcome.result {
            health.failures_total.fetch_add(1, Ordering::Relaxed);
            if !was_failing {
                tracing::warn!(collector = health.name, error = %chain(error), "collector failed");
            }
        }
    }

    fn write_own(&self, page: &mut Page) {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.family("firetower_agent_build_info", Kind::Gauge, "The agent's version.").line(&version, 1);
        let pages = self.0.pages_total.load(Ordering::Relaxed);
        page.single("firetower_agent_pages_total", Kind::Counter, "Pages of metrics that were asked for.", pages);
        let help = "Readings that a collector failed to take.";
        let mut failures = page.family("firetower_agent_collector_failures_total", Kind::Counter, help);
        for health in &self.0.collectors {
            failures.line(&[("collector", health.name)], health.failures_total.load(Ordering::Relaxed));
        }
    }
}

impl Outcome {
    fn panicked(collector: Collector) -> Outcome {
        Outcome { collector, result: Err(Error::Panicked), took: Duration::ZERO }
    }
}

fn gather(collector: Collector) -> Outcome {
    let started = Instant::now();
    let mut page = Page::default();
    let result = (collector.collect)(&mut page).map(|()| page);
    Outcome { collector, result, took: started.elapsed() }
}

fn write_outcomes(page: &mut Page, outcomes: &[Outcome]) {
    let help = "How long a collector took, in seconds.";
    let mut durations = page.family("node_scrape_collector_duration_seconds", Kind::Gauge, help);
    for outcome in outcomes {
        durations.line(&[("collector", outcome.collector.name)], outcome.took.as_secs_f64());
    }
    let help = "Whether a collector brought its readings.";
    let mut successes = page.family("node_scrape_collector_success", Kind::Gauge, help);
    for outcome in outcomes {
        successes.line(&[("collector", outcome.collector.name)], u8::from(outcome.result.is_ok()));
    }
}

/// Runs what may block apart from the tasks.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(read).await.unwrap_or(Err(Error::Panicked))
}

#[cfg(test)]
mod tests;
