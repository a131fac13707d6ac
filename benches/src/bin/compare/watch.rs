//! A process watched while it scrapes a fleet.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use firetower_benches::{Percentiles, Process, Reading, now_ms, sleep, sleep_until, wait_for};

use crate::run::Fleet;

/// What was seen of a process in some time.
pub(crate) struct Watched {
    /// When its watching began, before it had scraped anything.
    pub(crate) started: Instant,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// Processor time used meanwhile.
    pub(crate) cpu_seconds: f64,
    /// What it had used at the end.
    pub(crate) to: Reading,
    /// Samples served meanwhile.
    pub(crate) samples: u64,
    /// Samples served at the end.
    pub(crate) samples_from_start: u64,
    /// Resident memory, each second.
    pub(crate) resident: Vec<f64>,
}

impl Watched {
    pub(crate) fn resident_mean(&self) -> f64 {
        Percentiles::new(self.resident.clone()).mean()
    }

    pub(crate) fn per_million(&self) -> f64 {
        self.cpu_seconds / self.samples as f64 * 1e6
    }
}

/// Lets a peer run warm, then reads each second for `seconds` what it uses.
pub(crate) fn watch(
    (warmup_seconds, seconds): (u64, u64),
    fleet: &Fleet,
    process: Process,
    check: &mut dyn FnMut() -> Result<()>,
) -> Result<Watched> {
    let started = Instant::now();
    wait_for("the first scrape", Duration::from_secs(60), || {
        check()?;
        Ok((fleet.samples()? > 0).then_some(()))
    })?;
    sleep(Duration::from_secs(warmup_seconds))?;
    let (from_ms, from, samples_before) = (now_ms(), process.read()?, fleet.samples()?);
    let mut resident = Vec::new();
    for second in 1..=seconds {
        sleep_until(from_ms + (second * 1_000) as i64)?;
        check()?;
        resident.push(process.read()?.resident_bytes as f64);
    }
    let (to_ms, to, samples_after) = (now_ms(), process.read()?, fleet.samples()?);
    ensure!(samples_after > samples_before, "nothing was scraped for {seconds} s");
    Ok(Watched {
        started,
        from_ms,
        to_ms,
        cpu_seconds: to.cpu_seconds - from.cpu_seconds,
        to,
        samples: samples_after - samples_before,
        samples_from_start: samples_after,
        resident,
    })
}
