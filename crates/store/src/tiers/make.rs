//! Making the spans of a bucket: while it is settled, and again when samples came afterwards.

use firetower_model::{MetricId, SpanTier};

use super::block::{Place, SpanBlockWriter};
use super::pieces::{Piece, cut, roll_up};
use super::timing::{RowTimes, times};
use super::{family, step_ms};
use crate::database::Store;
use crate::engine::WriteBatch;
use crate::raw::key::{Bucket, Group, block_key};

/// Stands in a block's key where the times of rows are kept; metrics do not get that far.
pub(crate) const ROW_TIMES: MetricId = MetricId(u32::MAX);

/// A block takes no more metrics once it has so many series, since series learn from each other; more of them would make
/// it slow to read one.
const BLOCK_SERIES: u64 = 64;

/// Returns about how many bytes the spans of a metric with so many series need while they are made, beside these.
pub(crate) fn spans_bytes(series: u64) -> u64 {
    size_of::<MetricSpans>() as u64 * series.min(BLOCK_SERIES) / BLOCK_SERIES
}

/// The spans of some metrics of one group of targets over one bucket.
pub(crate) struct SpanWriters {
    bucket: Bucket,
    group: Group,
    start: i64,
    rows: RowTimes,
    is_rows_new: bool,
    blocks: Vec<MetricSpans>,
    /// Per metric: which block it is in, and where there.
    places: Vec<(usize, usize)>,
    five: Vec<Piece>,
    hours: Vec<Piece>,
    finite: Vec<i64>,
}

/// A block of each tier.
struct MetricSpans {
    metrics: Vec<MetricId>,
    writers: [SpanBlockWriter; 2],
}

impl SpanWriters {
    /// Begins with the first metrics of a group, or with more of them; of each there are about so many series.
    pub(crate) fn new(store: &Store, bucket: Bucket, group: Group, metrics: &[(MetricId, u64)]) -> SpanWriters {
        let mut blocks: Vec<Vec<MetricId>> = Vec::new();
        let (mut places, mut block_series) = (Vec::new(), 0);
        for (metric, series) in metrics {
            match blocks.last_mut().filter(|_| block_series < BLOCK_SERIES) {
                Some(block) => block.push(*metric),
                None => {
                    blocks.push(vec![*metric]);
                    block_series = 0;
                }
            }
            block_series += series;
            places.push((blocks.len() - 1, blocks[blocks.len() - 1].len() - 1));
        }
        let block = |metrics: Vec<MetricId>| MetricSpans {
            writers: SpanTier::ALL.map(|_| SpanBlockWriter::new(metrics.len())),
            metrics,
        };
        SpanWriters {
            bucket,
            group,
            start: store.raw.length.start(bucket).as_millis(),
            rows: RowTimes::default(),
            is_rows_new: true,
            blocks: blocks.into_iter().map(block).collect(),
            places,
            five: Vec::new(),
            hours: Vec::new(),
            finite: Vec::new(),
        }
    }

    /// Begins with the metrics of a block that is made again; `rows` were kept when it was first made.
    pub(crate) fn again(
        store: &Store,
        bucket: Bucket,
        group: Group,
        metrics: &[MetricId],
        rows: RowTimes,
    ) -> SpanWriters {
        let metrics: Vec<(MetricId, u64)> = metrics.iter().map(|metric| (*metric, 0)).collect();
        SpanWriters { rows, is_rows_new: false, ..SpanWriters::new(store, bucket, group, &metrics) }
    }

    /// Says when the rows of the target at `place` were; its series follow.
    pub(crate) fn rows(&mut self, place: u8, row_times: &[i64]) {
        if let Some(times) = times(row_times) {
            self.rows.0.insert(place, times);
        }
    }

    /// Adds the series that the target at `place` has of the metric at `at`, in time order. Targets come in order, and the
    /// metrics of each.
    pub(crate) fn add(&mut self, at: usize, place: u8, times: &[i64], values: &[f64]) {
        let (block, at) = self.places[at];
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
        let (rows, writers) = (self.rows.0.get(&place), &mut self.blocks[block].writers);
        for ((writer, pieces), tier) in writers.iter_mut().zip([&self.five, &self.hours]).zip(SpanTier::ALL) {
            writer.add(Place { step_ms: step_ms(tier), start: self.start }, (at, place), pieces, finite, rows);
        }
    }

    /// Adds the blocks, and the times of rows unless they are kept already, to `batch`.
    pub(crate) fn finish(self, store: &Store, batch: &mut WriteBatch) {
        let mut is_any = false;
        for block in self.blocks {
            for (writer, tier) in block.writers.into_iter().zip(SpanTier::ALL) {
                let place = Place { step_ms: step_ms(tier), start: self.start };
                if let Some((first, bytes)) = writer.finish(&block.metrics, place) {
                    batch.put_cf(store.family(family(tier)), block_key(self.bucket, self.group, first), bytes);
                    is_any = true;
                }
            }
        }
        // Times alone would look like spans of samples that are gone.
        if is_any && self.is_rows_new && !self.rows.0.is_empty() {
            let key = block_key(self.bucket, self.group, ROW_TIMES);
            let bytes = self.rows.to_bytes(self.start);
            SpanTier::ALL.into_iter().for_each(|tier| batch.put_cf(store.family(family(tier)), key, &bytes));
        }
    }
}
