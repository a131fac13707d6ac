//! Samples on their own: late ones, those with a time of their own, those that were written to us.

use std::sync::atomic::Ordering;

use firetower_model::{MetricId, Sample, TargetId, TimeRange};

use crate::database::{Batch, Store};
use crate::error::Error;
use crate::raw::key::{Bucket, loose_key, read_loose_key};

const FLOAT: u8 = 0;

/// A sample that is in no row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LooseSample {
    /// Of what.
    pub metric: MetricId,
    /// Of whom.
    pub target: TargetId,
    /// When and how much; may be a staleness marker.
    pub sample: Sample,
}

pub(crate) fn read_loose_value(value: &[u8]) -> Option<f64> {
    let (kind, bits) = value.split_first()?;
    (*kind == FLOAT).then_some(f64::from_bits(u64::from_le_bytes(bits.try_into().ok()?)))
}

impl Store {
    /// Adds samples of one series to `batch`, in any order; each replaces one at the same moment.
    ///
    /// Returns how many were: those that are older than what is kept are refused and counted.
    pub fn put_samples(&self, batch: &mut Batch, (metric, target): (MetricId, TargetId), samples: &[Sample]) -> usize {
        let (mut noted, mut taken) = (None, 0);
        for sample in samples {
            let bucket = self.raw.length.bucket(sample.at);
            if self.is_refused(bucket) {
                continue;
            }
            if noted.replace(bucket) != Some(bucket) {
                self.note_lone(&mut batch.0, metric, target, bucket);
            }
            self.put_loose(batch, bucket, &LooseSample { metric, target, sample: *sample });
            taken += 1;
        }
        taken
    }

    /// Tells whether a sample of `bucket` is older than what is kept, and counts it if so.
    pub(crate) fn is_refused(&self, bucket: Bucket) -> bool {
        let is_refused = !self.raw.gate.is_taken(bucket);
        self.raw.counters.refused.fetch_add(u64::from(is_refused), Ordering::Relaxed);
        is_refused
    }

    /// Adds a loose sample whose (shape, target) or (metric, target) pair is noted already, and which is not refused.
    pub(crate) fn put_loose(&self, batch: &mut Batch, bucket: Bucket, sample: &LooseSample) {
        let mut value = [FLOAT; 9];
        value[1..].copy_from_slice(&sample.sample.value.to_bits().to_le_bytes());
        let key = loose_key(bucket, sample.metric, sample.target, sample.sample.at);
        batch.0.put_cf(self.family("raw_loose"), key, value);
        batch.1.loose(bucket);
        self.raw.counters.loose.fetch_add(1, Ordering::Relaxed);
        self.raw.counters.samples.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the loose samples inside `range` that are in no block, and those of the bucket being settled: by bucket, then metric, target and time.
    pub fn loose(&self, range: TimeRange) -> impl Iterator<Item = Result<LooseSample, Error>> {
        let buckets = self.raw.length.buckets(range).unwrap_or((Bucket(1), Bucket(0)));
        let mut options = self.reading();
        options.set_iterate_lower_bound(buckets.0.to_bytes());
        if buckets.1 < Bucket(i32::MAX) {
            options.set_iterate_upper_bound(buckets.1.next().to_bytes());
        }
        let mut entries = self.db.raw_iterator_cf_opt(self.family("raw_loose"), options);
        let is_empty = buckets.0 > buckets.1;
        if !is_empty {
            entries.seek_to_first();
        }
        std::iter::from_fn(move || {
            while !is_empty && entries.valid() {
                let entry = entries.item().map(|(key, value)| read_entry(key, value));
                entries.next();
                match entry {
                    Some(Ok(loose)) if !range.contains(loose.sample.at) => {}
                    Some(found) => return Some(found),
                    None => break,
                }
            }
            entries.status().map_err(Error::at("read loose samples")).err().map(Err)
        })
    }
}

fn read_entry(key: &[u8], value: &[u8]) -> Result<LooseSample, Error> {
    let found = read_loose_key(key).zip(read_loose_value(value));
    let ((_, metric, target, at), value) = found.ok_or_else(|| Error::corrupt("loose sample", key))?;
    Ok(LooseSample { metric, target, sample: Sample { at, value } })
}
