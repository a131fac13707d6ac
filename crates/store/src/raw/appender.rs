//! Writing scrapes.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use firetower_model::sample::STALE_BITS;
use firetower_model::{MetricId, PageRow, STALE, Sample, ShapeId, TargetId, Timestamp};

use crate::database::{Batch, Store};
use crate::error::Error;
use crate::raw::key::{Bucket, row_key};
use crate::raw::loose::LooseSample;
use crate::raw::row::{KEYFRAME_EVERY, NewRow};

/// Writes scrapes; a store has one at a time.
///
/// It knows where each target's last row left its series: 8 bytes a series, none for a target all of whose series have
/// ended. If a batch that it wrote into is not committed, make a new one: rows build on each other. While it is there, queries for
/// the newest samples find them here, also those of a batch that is not committed yet.
pub struct Appender {
    pub(crate) store: Store,
    /// The store's, too.
    last_rows: LastRows,
    scratch: Scratch,
}

/// Where each target's last row left it.
pub(crate) type LastRows = Arc<RwLock<HashMap<TargetId, Last>>>;

/// Where a target's last row left it.
pub(crate) struct Last {
    pub(crate) at: Timestamp,
    pub(crate) bucket: Bucket,
    pub(crate) shape: ShapeId,
    /// Distance of the last row from its keyframe.
    pub(crate) link: u8,
    pub(crate) live: u32,
    /// Empty if no series is live.
    pub(crate) values: Arc<[f64]>,
}

#[derive(Default)]
struct Scratch {
    row: Vec<u8>,
    changed: Vec<u64>,
    unmarked: Vec<u32>,
}

/// A target's last row in time.
#[derive(Clone, Debug)]
pub struct LastRow {
    /// When.
    pub at: Timestamp,
    /// What `values` stand for.
    pub shape: ShapeId,
    /// One value per metric of the shape, the staleness marker for those without one; empty if no metric has one.
    pub values: Arc<[f64]>,
}

/// What became of a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples stored, staleness markers that end a series included.
    pub samples: u32,
    /// Those of them that were stored loose.
    pub loose: u32,
    /// The target's last row has the same time, and this one was left out.
    pub is_repeated: bool,
}

impl Appender {
    pub(crate) fn new(store: Store, targets: HashMap<TargetId, Last>) -> Appender {
        let active: i64 = targets.values().map(|last| i64::from(last.live)).sum();
        store.raw.counters.active.store(active, Ordering::Relaxed);
        let last_rows = Arc::new(RwLock::new(targets));
        *store.raw.last_rows.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&last_rows);
        Appender { store, last_rows, scratch: Scratch::default() }
    }

    /// Returns the last row of `target` that is not settled yet, or was appended here.
    pub fn last(&self, target: TargetId) -> Option<LastRow> {
        let last_rows = self.last_rows.read().unwrap_or_else(PoisonError::into_inner);
        let last = last_rows.get(&target)?;
        Some(LastRow { at: last.at, shape: last.shape, values: Arc::clone(&last.values) })
    }

    /// Forgets targets whose last row is before `cutoff`.
    pub fn forget_before(&mut self, cutoff: Timestamp) {
        let active = &self.store.raw.counters.active;
        let mut last_rows = write(&self.last_rows);
        last_rows.retain(|_, last| {
            let is_kept = last.at >= cutoff;
            if !is_kept {
                active.fetch_sub(i64::from(last.live), Ordering::Relaxed);
            }
            is_kept
        });
        let kept = last_rows.len();
        last_rows.shrink_to(2 * kept);
    }

    /// Adds one scrape to `batch`.
    ///
    /// A metric that was live in the target's last row and is missing or stale in this one ends with a staleness marker.
    /// A row at the time of the last one is left out. One from before that, or from a bucket being settled, has its
    /// values stored loose, each replacing what was there at its moment; it ends nothing. So are `timed` samples.
    /// Of these, the ones that are older than what is kept are refused and counted.
    ///
    /// # Errors
    /// If the shape is not known, or has another number of metrics. Then nothing is added.
    pub fn append(&mut self, batch: &mut Batch, row: &PageRow) -> Result<Appended, Error> {
        let bucket = self.store.raw.length.bucket(row.at);
        let shape = row.shape;
        let last_rows = Arc::clone(&self.last_rows);
        let mut last_rows = write(&last_rows);
        let last = last_rows.get(&row.target);
        let is_same_shape = last.is_some_and(|last| last.shape == shape && last.values.len() == row.values.len());
        let metrics = if is_same_shape && row.timed.is_empty() { None } else { Some(self.shape_of(row)?) };
        let mut appended = Appended::default();
        if let Some(metrics) = metrics.as_deref().filter(|_| !row.timed.is_empty()) {
            appended.loose += self.put_timed(batch, row, metrics);
        }
        let last_at = last_rows.get(&row.target).map(|last| last.at);
        let is_late = last_at.is_some_and(|last| row.at < last) || !self.store.raw.gate.is_open(bucket);
        if last_at == Some(row.at) {
            appended.is_repeated = true;
        } else if is_late {
            let metrics = self.shape_of(row)?;
            appended.loose += self.put_late(batch, row, bucket, &metrics);
        } else {
            if let Some(metrics) = metrics.as_deref().filter(|_| !is_same_shape) {
                let last = last_rows.get_mut(&row.target).filter(|last| !last.values.is_empty());
                appended.loose += last.map_or(Ok(0), |last| self.change_shape(batch, row, bucket, last, metrics))?;
            }
            appended.samples += self.put_row(batch, row, bucket, &mut last_rows);
        }
        appended.samples += appended.loose;
        Ok(appended)
    }

    /// Writes the row after its target's last, which has the same shape if it has any values.
    fn put_row(
        &mut self,
        batch: &mut Batch,
        row: &PageRow,
        bucket: Bucket,
        last_rows: &mut HashMap<TargetId, Last>,
    ) -> u32 {
        let columns = row.values.len();
        let last = last_rows.entry(row.target).or_insert_with(|| Last {
            at: row.at,
            bucket,
            shape: row.shape,
            link: KEYFRAME_EVERY,
            live: 0,
            values: Arc::from([]),
        });
        let follows = last.bucket == bucket && last.values.len() == columns && last.link + 1 < KEYFRAME_EVERY;
        let link = if follows && columns > 0 { last.link + 1 } else { 0 };
        let scratch = &mut self.scratch;
        scratch.unmarked.clear();
        scratch.unmarked.extend(row.timed.iter().map(|(column, _)| *column));
        scratch.unmarked.sort_unstable();
        scratch.row.clear();
        let new =
            NewRow { link, shape: row.shape, previous: &last.values, values: &row.values, unmarked: &scratch.unmarked };
        let counts = new.put(&mut scratch.row, &mut scratch.changed);
        batch.0.put_cf(self.store.family("raw_rows"), row_key(bucket, row.target, row.at), &scratch.row);
        batch.1.row(bucket);
        if link == 0 {
            self.store.note_row(&mut batch.0, row.shape, row.target, bucket);
        }
        if counts.live == 0 {
            last.values = Arc::from([]);
        } else {
            match Arc::get_mut(&mut last.values).filter(|values| values.len() == columns) {
                Some(values) => values.copy_from_slice(&row.values),
                None => last.values = row.values.as_slice().into(),
            }
        }
        let counters = &self.store.raw.counters;
        counters.samples.fetch_add(u64::from(counts.live + counts.ended), Ordering::Relaxed);
        counters.active.fetch_add(i64::from(counts.live) - i64::from(last.live), Ordering::Relaxed);
        (last.at, last.bucket, last.shape, last.link, last.live) = (row.at, bucket, row.shape, link, counts.live);
        counts.live + counts.ended
    }

    /// Brings the last values into the order of the new shape, and ends those that are not in it.
    ///
    /// The row that follows is a keyframe.
    fn change_shape(
        &self,
        batch: &mut Batch,
        row: &PageRow,
        bucket: Bucket,
        last: &mut Last,
        metrics: &[MetricId],
    ) -> Result<u32, Error> {
        let old_shape = last.shape;
        let unknown = Error::UnknownShape { shape: old_shape };
        let old = self.store.shape_metrics(old_shape).filter(|old| old.len() == last.values.len()).ok_or(unknown)?;
        let mut carried = vec![STALE; metrics.len()];
        let mut gone = Vec::new();
        let mut columns = Columns::new(metrics);
        for (metric, value) in old.iter().zip(&*last.values).filter(|(_, value)| value.to_bits() != STALE_BITS) {
            match columns.find(*metric) {
                Some(column) => carried[column] = *value,
                None => gone.push(*metric),
            }
        }
        last.values = carried.into();
        last.link = KEYFRAME_EVERY;
        let ended = gone.len() as u32;
        for metric in gone {
            let sample = Sample { at: row.at, value: STALE };
            self.store.put_loose(batch, bucket, &LooseSample { metric, target: row.target, sample });
        }
        if ended > 0 {
            self.store.note_row(&mut batch.0, old_shape, row.target, bucket);
        }
        Ok(ended)
    }

    fn put_timed(&self, batch: &mut Batch, row: &PageRow, metrics: &[MetricId]) -> u32 {
        let mut samples = 0;
        for (column, sample) in &row.timed {
            let Some(metric) = metrics.get(*column as usize) else { continue };
            let bucket = self.store.raw.length.bucket(sample.at);
            if self.store.is_refused(bucket) {
                continue;
            }
            self.store.note_row(&mut batch.0, row.shape, row.target, bucket);
            self.store.put_loose(batch, bucket, &LooseSample { metric: *metric, target: row.target, sample: *sample });
            samples += 1;
        }
        samples
    }

    fn put_late(&self, batch: &mut Batch, row: &PageRow, bucket: Bucket, metrics: &[MetricId]) -> u32 {
        self.store.note_row(&mut batch.0, row.shape, row.target, bucket);
        let mut samples = 0;
        for (metric, value) in metrics.iter().zip(&row.values).filter(|(_, value)| value.to_bits() != STALE_BITS) {
            if self.store.is_refused(bucket) {
                continue;
            }
            let sample = Sample { at: row.at, value: *value };
            self.store.put_loose(batch, bucket, &LooseSample { metric: *metric, target: row.target, sample });
            samples += 1;
        }
        samples
    }

    fn shape_of(&self, row: &PageRow) -> Result<Arc<[MetricId]>, Error> {
        let metrics = self.store.shape_metrics(row.shape).ok_or(Error::UnknownShape { shape: row.shape })?;
        if metrics.len() != row.values.len() {
            return Err(Error::WrongColumns { shape: row.shape, expected: metrics.len(), found: row.values.len() });
        }
        Ok(metrics)
    }
}

fn write(last_rows: &LastRows) -> RwLockWriteGuard<'_, HashMap<TargetId, Last>> {
    last_rows.write().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Appender {
    /// What it knows may not have been committed.
    fn drop(&mut self) {
        write(&self.last_rows).clear();
    }
}

/// Finds the columns of metrics that are asked for nearly in order.
struct Columns<'a> {
    metrics: &'a [MetricId],
    next: usize,
    by_metric: HashMap<MetricId, usize>,
}

impl<'a> Columns<'a> {
    fn new(metrics: &'a [MetricId]) -> Columns<'a> {
        Columns { metrics, next: 0, by_metric: HashMap::new() }
    }

    fn find(&mut self, metric: MetricId) -> Option<usize> {
        // A few lines that came, or went, are passed over without looking anything up.
        let near = self.metrics.iter().skip(self.next).take(8).position(|next| *next == metric);
        let column = match near {
            Some(ahead) => self.next + ahead,
            None => {
                if self.by_metric.is_empty() {
                    self.by_metric.extend(self.metrics.iter().enumerate().map(|(column, metric)| (*metric, column)));
                }
                *self.by_metric.get(&metric)?
            }
        };
        self.next = column + 1;
        Some(column)
    }
}
