//! Takes what others write to us: remote_write into the store.
//!
//! Such series belong to no scrape. Their samples are loose until their bucket is settled, and then lie in blocks like all
//! others. Their labels are split as those of scraped ones are not, `instance` alone as the target's, all else as the
//! metric's, so that they share neither ids nor windows nor coverage with what is scraped.

mod split;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use firetower_api::{NotTaken, Taken};
use firetower_daemon::{Clock, chain};
use firetower_model::{Kind, Sample};
use firetower_store::{Batch, Store};
use firetower_topology::{ReceiveLimits, Retention};
use firetower_wire::{WriteLimits, WriteRequest, WrittenSeries};
use tokio::sync::watch;

use self::split::{show, split};

/// How far ahead of our clock a sample may be, as one of a scrape. Prometheus's `maxAheadTime`.
const AHEAD_MAX: Duration = Duration::from_secs(10 * 60);
/// Series of one request.
const SERIES_MAX: usize = 200_000;
/// Samples of one request.
const SAMPLES_MAX: usize = 2_000_000;
/// Samples written at a time, so that what is on its way to the store stays small.
const BATCH_SAMPLES: usize = 20_000;

/// Takes write requests in.
pub(crate) struct Receiver {
    store: Store,
    clock: Clock,
    limits: ReceiveLimits,
    retention: watch::Receiver<Retention>,
    /// Labels that a series gets unless it has them.
    place: Vec<(&'static str, String)>,
    was_told_of_histograms: AtomicBool,
}

/// Counts what is refused, and remembers the first complaint.
#[derive(Default)]
struct Refused {
    bad_labels: u64,
    too_old: u64,
    too_far_ahead: u64,
    complaint: Option<String>,
}

impl Refused {
    /// Returns the complaint that is still to be made, if this is the first.
    fn complain(&mut self, complaint: impl FnOnce() -> String) {
        if self.complaint.is_none() {
            self.complaint = Some(complaint());
        }
    }
}

impl Receiver {
    /// Takes requests into `store`; `place` is the region and the datacenter, unless it has none.
    pub(crate) fn new(
        store: Store,
        clock: Clock,
        limits: ReceiveLimits,
        retention: watch::Receiver<Retention>,
        place: Option<(&str, &str)>,
    ) -> Receiver {
        let place = place.map(|(region, datacenter)| [("region", region), ("datacenter", datacenter)]);
        let place = place.into_iter().flatten().map(|(name, value)| (name, value.to_owned())).collect();
        Receiver { store, clock, limits, retention, place, was_told_of_histograms: AtomicBool::new(false) }
    }

    /// Returns how large a request may be, in bytes, compressed or not.
    pub(crate) fn bytes_max(&self) -> usize {
        usize::try_from(self.limits.bytes).unwrap_or(usize::MAX)
    }

    /// Takes one request, a block of snappy. What is taken is synced and can be read when this returns.
    pub(crate) fn take(&self, body: &[u8]) -> Result<Taken, NotTaken> {
        if self.store.is_held() {
            return Err(held());
        }
        let limits = WriteLimits { bytes: self.bytes_max(), series: SERIES_MAX, samples: SAMPLES_MAX };
        let request = WriteRequest::unpack(body, limits).map_err(|error| match error {
            firetower_wire::Error::TooLarge { .. } => NotTaken::TooLarge(error.to_string()),
            _ => NotTaken::Malformed(chain(&error).to_string()),
        })?;
        let mut refused = Refused::default();
        let samples = self.keep(&request, &mut refused).map_err(|error| self.not_kept(error))?;
        Ok(self.taken(&request, samples, refused))
    }

    /// Writes the samples of `request` and syncs them; returns how many.
    fn keep(&self, request: &WriteRequest, refused: &mut Refused) -> Result<u64, firetower_store::Error> {
        let (mut batch, mut waiting, mut kept) = (Batch::default(), 0, 0);
        let mut series = request.series();
        // It has been read through once: it is well-formed.
        while let Ok(Some(found)) = series.next_series() {
            let samples = self.put(found, &mut batch, refused)?;
            kept += samples as u64;
            waiting += samples;
            if waiting >= BATCH_SAMPLES {
                waiting = 0;
                self.store.commit(std::mem::take(&mut batch))?;
            }
        }
        if kept > 0 {
            self.store.commit(batch)?;
            self.store.sync()?;
        }
        Ok(kept)
    }

    /// Adds a series to `batch`; returns how many of its samples.
    fn put(
        &self,
        series: &WrittenSeries<'_>,
        batch: &mut Batch,
        refused: &mut Refused,
    ) -> Result<usize, firetower_store::Error> {
        let split = match split(&series.labels, &self.place) {
            Ok(split) => split,
            Err(fault) => {
                refused.bad_labels += series.samples.len() as u64;
                refused.complain(|| format!("series {}: {fault}", show(&series.labels)));
                return Ok(0);
            }
        };
        let samples = self.in_time(series, refused);
        if samples.is_empty() {
            return Ok(0);
        }
        let target = self.store.intern_target(&split.target)?;
        let metric = self.store.intern_metric(&split.metric, Kind::Unknown)?;
        let taken = self.store.put_samples(batch, (metric, target), &samples);
        if taken < samples.len() {
            refused.too_old += (samples.len() - taken) as u64;
            refused.complain(|| format!("series {}: a sample is older than what is kept", show(&series.labels)));
        }
        Ok(taken)
    }

    /// Returns the samples that are neither too old nor too far ahead.
    fn in_time(&self, series: &WrittenSeries<'_>, refused: &mut Refused) -> Vec<Sample> {
        let (now, length) = (self.clock.now(), self.window());
        let (first, last) = (now - length, now + AHEAD_MAX);
        let mut samples = series.samples.clone();
        samples.retain(|sample| {
            let complaint = match sample.at {
                at if at < first => {
                    refused.too_old += 1;
                    format!("is older than {length:?}")
                }
                at if at > last => {
                    refused.too_far_ahead += 1;
                    format!("is more than {AHEAD_MAX:?} ahead")
                }
                _ => return true,
            };
            let at = sample.at.as_seconds();
            refused.complain(|| format!("series {}: the sample of {at} {complaint}", show(&series.labels)));
            false
        });
        samples
    }

    /// Returns how old samples may be: no older than raw samples are kept.
    fn window(&self) -> Duration {
        let kept = self.retention.borrow().raw;
        self.limits.window.map_or(kept, |window| window.min(kept))
    }

    fn not_kept(&self, error: firetower_store::Error) -> NotTaken {
        if self.store.is_held() { held() } else { NotTaken::Failed(Box::new(error)) }
    }

    fn taken(&self, request: &WriteRequest, samples: u64, refused: Refused) -> Taken {
        let counts = request.counts;
        if counts.histograms > 0 && !self.was_told_of_histograms.swap(true, Ordering::Relaxed) {
            tracing::warn!("native histograms are written to us: they are dropped, and counted as ignored");
        }
        let counted = |pairs: [(&'static str, u64); 3]| pairs.into_iter().filter(|(_, count)| *count > 0).collect();
        let Refused { bad_labels, too_old, too_far_ahead, complaint } = refused;
        Taken {
            samples,
            refused: counted([("bad_labels", bad_labels), ("too_old", too_old), ("too_far_ahead", too_far_ahead)]),
            complaint,
            ignored: counted([
                ("exemplars", counts.exemplars as u64),
                ("histograms", counts.histograms as u64),
                ("metadata", counts.metadata as u64),
            ]),
        }
    }
}

fn held() -> NotTaken {
    NotTaken::Held("there is no room on the disk now".into())
}

#[cfg(test)]
mod tests;
