//! Making the spans of a bucket: while it is settled, and again when samples came afterwards.

use firetower_model::{MetricId, SpanTier};
use rocksdb::WriteBatch;

use super::block::{Place, SpanBlockWriter};
use super::pieces::{Piece, cut, roll_up};
use super::timing::{RowTimes, times};
use super::values::SpanValues;
use super::{family, step_ms};
use crate::database::Store;
use crate::raw::key::{Bucket, Group, block_key};

/// Stands in a block's key where the times of rows are kept; metrics do not get that far.
pub(crate) const ROW_TIMES: MetricId = MetricId(u32::MAX);

/// Bytes that a metric of one group needs while its spans are made, beside these.
pub(crate) const METRIC_BYTES: u64 = 2 * size_of::<SpanValues>() as u64;

/// The spans of some metrics of one group of targets over one bucket.
pub(crate) struct SpanWriters {
    bucket: Bucket,
    group: Group,
    start: i64,
    rows: RowTimes,
    is_rows_new: bool,
    /// One of each tier, for each metric.
    writers: Vec<[SpanBlockWriter; 2]>,
    five: Vec<Piece>,
    hours: Vec<Piece>,
    finite: Vec<i64>,
}

impl SpanWriters {
    /// Begins with the first metrics of a group, or with more of them.
    pub(crate) fn new(store: &Store, bucket: Bucket, group: Group, metrics: usize) -> SpanWriters {
        SpanWriters {
            bucket,
            group,
            start: store.raw.length.start(bucket).as_millis(),
            rows: RowTimes::default(),
            is_rows_new: true,
            writers: std::iter::repeat_with(Default::default).take(metrics).collect(),
            five: Vec::new(),
            hours: Vec::new(),
            finite: Vec::new(),
        }
    }

    /// Begins with a metric whose spans are made again; `rows` were kept when they were first made.
    pub(crate) fn again(store: &Store, bucket: Bucket, group: Group, rows: RowTimes) -> SpanWriters {
        SpanWriters { rows, is_rows_new: false, ..SpanWriters::new(store, bucket, group, 1) }
    }

    /// Says when the rows of the target at `place` were; its series follow.
    pub(crate) fn rows(&mut self, place: u8, row_times: &[i64]) {
        if let Some(times) = times(row_times) {
            self.rows.0.insert(place, times);
        }
    }

    /// Adds a series of the target at `place`, in time order, to the metric at `at`. Targets come in order.
    pub(crate) fn add(&mut self, at: usize, place: u8, times: &[i64], values: &[f64]) {
        let Some(writers) = self.writers.get_mut(at) else { return };
        let [five_ms, hour_ms] = SpanTier::ALL.map(step_ms);
        self.five.clear();
        self.hours.clear();
        cut(times, values, five_ms, &mut self.five);
        roll_up(&self.five, five_ms, hour_ms, &mut self.hours);
        let mut finite = times;
        if values.iter().any(|value| !value.is_finite()) {
            let is_finite = times.iter().zip(values).filter(|(_, value)| value.is_finite());
            self.finite.clear();
            self.finite.extend(is_finite.map(|(at, _)| *at));
            finite = &self.finite;
        }
        let rows = self.rows.0.get(&place);
        for ((writer, pieces), tier) in writers.iter_mut().zip([&self.five, &self.hours]).zip(SpanTier::ALL) {
            writer.add(Place { step_ms: step_ms(tier), start: self.start }, place, pieces, finite, rows);
        }
    }

    /// Adds the blocks of `metrics`, and the times of rows unless they are kept already, to `batch`.
    pub(crate) fn finish(self, store: &Store, metrics: &[MetricId], batch: &mut WriteBatch) {
        for (metric, writers) in metrics.iter().zip(self.writers) {
            for (writer, tier) in writers.into_iter().zip(SpanTier::ALL).filter(|(writer, _)| !writer.is_empty()) {
                let block = writer.finish(Place { step_ms: step_ms(tier), start: self.start });
                batch.put_cf(store.family(family(tier)), block_key(self.bucket, self.group, *metric), block);
            }
        }
        if self.is_rows_new && !self.rows.0.is_empty() {
            let key = block_key(self.bucket, self.group, ROW_TIMES);
            let bytes = self.rows.to_bytes(self.start);
            SpanTier::ALL.into_iter().for_each(|tier| batch.put_cf(store.family(family(tier)), key, &bytes));
        }
    }
}
