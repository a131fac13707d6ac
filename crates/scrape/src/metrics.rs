//! What scraping counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How a scrape ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `ok`, or the word for what went wrong ([`crate::Error::reason`]).
    pub outcome: &'static str,
}

/// What scraping counts; clones share it.
#[derive(Clone, Debug)]
pub struct ScrapeMetrics {
    /// Scrapes, by how they ended.
    pub scrapes: Family<Outcome, Counter>,
    /// How long scrapes took, reading the page included.
    pub duration: Histogram,
    /// Slots left out since the scrape before was still running.
    pub skipped_slots: Counter,
    /// Scrapes that began too late to carry their slot's time.
    pub late_starts: Counter,
    /// Bytes of bodies as they travelled.
    pub body_bytes: Counter,
    /// Samples left after relabelling.
    pub samples: Counter,
    /// Samples left out since their series had stood on the page before them.
    pub repeated_samples: Counter,
    /// Samples left out since the time that their line carries is too far ahead.
    pub ahead_samples: Counter,
}

impl ScrapeMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> ScrapeMetrics {
        let metrics = ScrapeMetrics {
            scrapes: Family::default(),
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            skipped_slots: Counter::default(),
            late_starts: Counter::default(),
            body_bytes: Counter::default(),
            samples: Counter::default(),
            repeated_samples: Counter::default(),
            ahead_samples: Counter::default(),
        };
        registry.register("firetower_scrape_scrapes", "Scrapes by how they ended", metrics.scrapes.clone());
        registry.register("firetower_scrape_duration_seconds", "Time that scrapes took", metrics.duration.clone());
        let mut add = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("firetower_scrape_{name}"), help, counter.clone());
        };
        add("skipped_slots", "Slots left out since the scrape before was still running", &metrics.skipped_slots);
        add("late_starts", "Scrapes that began too late to carry the time of their slot", &metrics.late_starts);
        add("body_bytes", "Bytes of bodies as they travelled", &metrics.body_bytes);
        add("samples", "Samples left after relabelling", &metrics.samples);
        add("repeated_samples", "Samples left out since their series had stood on the page", &metrics.repeated_samples);
        add("ahead_samples", "Samples left out since their own time is over 10 minutes ahead", &metrics.ahead_samples);
        metrics
    }

    /// Counts a scrape.
    pub(crate) fn note(&self, outcome: &'static str, duration: Duration, body_bytes: usize) {
        self.scrapes.get_or_create(&Outcome { outcome }).inc();
        self.duration.observe(duration.as_secs_f64());
        self.body_bytes.inc_by(body_bytes as u64);
    }
}

/// Where targets are listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Source {
    /// `file`, `http` or `dns`.
    pub source: &'static str,
}

impl Source {
    pub(crate) const FILE: Source = Source { source: "file" };
    pub(crate) const HTTP: Source = Source { source: "http" };
    pub(crate) const DNS: Source = Source { source: "dns" };
}

/// What discovery counts; clones share it.
#[derive(Clone, Debug)]
pub struct DiscoveryMetrics {
    /// Times that a list was read, by where it is.
    pub refreshes: Family<Source, Counter>,
    /// Times that a list could not be read, so that what was found before was kept.
    pub failures: Family<Source, Counter>,
    /// Lists of a job's targets that were longer than its `target_limit`.
    pub over_limit: Counter,
}

impl DiscoveryMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> DiscoveryMetrics {
        let metrics = DiscoveryMetrics {
            refreshes: Family::default(),
            failures: Family::default(),
            over_limit: Counter::default(),
        };
        let name = |name: &str| format!("firetower_discovery_{name}");
        registry.register(name("refreshes"), "Lists of targets read, by where they are", metrics.refreshes.clone());
        registry.register(name("failures"), "Lists of targets that could not be read", metrics.failures.clone());
        let help = "Lists of a job's targets longer than its target_limit";
        registry.register(name("over_target_limit"), help, metrics.over_limit.clone());
        metrics
    }
}
