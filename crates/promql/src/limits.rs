//! How much a query may need, and how much it did.

use std::cell::Cell;

use crate::error::Error;

/// How much a query may need; all are inclusive.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Samples and values held at a time. Prometheus's `--query.max-samples`.
    pub samples: u64,
    /// Series read, each as often as it is read.
    pub series: u64,
    /// Points of a series in the answer. Prometheus's own limit.
    pub points: u64,
    /// Points of time at which a subquery is evaluated.
    pub steps: u64,
    /// How deeply expressions may be nested.
    pub depth: u64,
}

impl Limits {
    /// What Prometheus allows, the series of two full secondaries, and subqueries of nearly a year of minutes.
    pub const PROMETHEUS: Limits =
        Limits { samples: 50_000_000, series: 10_000_000, points: 11_000, steps: 500_000, depth: 200 };
}

/// How much a query needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Samples that were read.
    pub samples: u64,
    /// Series that were read.
    pub series: u64,
    /// The most samples and values that were held at a time.
    pub samples_peak: u64,
}

/// Counts what a query needs while it is evaluated.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    held: Cell<u64>,
    usage: Cell<Usage>,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Meter {
        Meter { limits, held: Cell::new(0), usage: Cell::default() }
    }

    /// Counts a series with `samples` that was read.
    pub(crate) fn read(&self, samples: usize) -> Result<(), Error> {
        let mut usage = self.usage.get();
        usage.series += 1;
        usage.samples += samples as u64;
        self.usage.set(usage);
        at_most("series", usage.series, self.limits.series)
    }

    /// Counts what others read.
    pub(crate) fn adopt(&self, read: Usage) {
        let mut usage = self.usage.get();
        usage.series += read.series;
        usage.samples += read.samples;
        self.usage.set(usage);
    }

    /// Counts values that stay in memory until [`Meter::release`].
    pub(crate) fn hold(&self, values: usize) -> Result<(), Error> {
        let held = self.held.get() + values as u64;
        self.held.set(held);
        let mut usage = self.usage.get();
        usage.samples_peak = usage.samples_peak.max(held);
        self.usage.set(usage);
        at_most("samples", held, self.limits.samples)
    }

    /// Counts values that are no longer in memory.
    pub(crate) fn release(&self, values: usize) {
        self.held.set(self.held.get().saturating_sub(values as u64));
    }

    /// Refuses an answer with more than the allowed points a series.
    pub(crate) fn points(&self, count: usize) -> Result<(), Error> {
        at_most("points a series", count as u64, self.limits.points)
    }

    /// Refuses a subquery with more than the allowed steps.
    pub(crate) fn steps(&self, count: usize) -> Result<(), Error> {
        at_most("steps of a subquery", count as u64, self.limits.steps)
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage.get()
    }
}

fn at_most(what: &'static str, count: u64, most: u64) -> Result<(), Error> {
    if count <= most { Ok(()) } else { Err(Error::TooMany { what, most }) }
}
