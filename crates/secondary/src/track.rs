//! What one target adds to the windows, scrape by scrape.

use std::collections::HashMap;
use std::time::Duration;

use firetower_model::{CrossSum, MetricId, ShapeId, Timestamp, Window, is_stale, step_increase};

use crate::plan::Column;
use crate::starts::RowStarts;

/// How old a counter's earlier sample may be for its increase to be measured from it.
///
/// Also how far back the raw samples are read after a restart.
pub(crate) const PREDECESSOR_AGE_MAX: Duration = Duration::from_secs(300);

/// A row of values that stands until the next.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) at: Timestamp,
    pub(crate) shape: ShapeId,
    pub(crate) values: &'a [f64],
    pub(crate) metrics: &'a [MetricId],
}

/// A value that was last before its series went stale.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ended {
    value: f64,
    at: Timestamp,
}

/// What is remembered of one target beside its last row: values of the series that ended lately.
#[derive(Debug, Default)]
pub(crate) struct Track {
    ended: HashMap<MetricId, Ended>,
}

impl Track {
    /// Follows from `previous` to `row`: adds the increases of `row`'s window to `sums`, and remembers what ended.
    pub(crate) fn follow(
        &mut self,
        previous: Option<Row<'_>>,
        row: Row<'_>,
        (plan, starts): (&[Column], RowStarts<'_>),
        sums: &mut Vec<CrossSum>,
    ) {
        match previous {
            Some(previous) if previous.shape == row.shape => {
                self.follow_alike(previous, row, (plan, starts), sums);
            }
            _ => self.follow_changed(previous, row, (plan, starts), sums),
        }
    }

    fn follow_alike(
        &mut self,
        previous: Row<'_>,
        row: Row<'_>,
        (plan, starts): (&[Column], RowStarts<'_>),
        sums: &mut Vec<CrossSum>,
    ) {
        let is_anchor = row.at.since(previous.at) <= PREDECESSOR_AGE_MAX;
        for (at, column) in plan.iter().enumerate() {
            let (before, value) = (previous.values[at], row.values[at]);
            if is_stale(value) {
                if !is_stale(before) {
                    self.ended.insert(row.metrics[at], Ended { value: before, at: previous.at });
                }
                continue;
            }
            let before =
                if is_stale(before) { self.revive(row.metrics[at], row.at) } else { is_anchor.then_some(before) };
            if column.is_cumulative() {
                add_step(sum_of(sums, *column), before, value, || starts.has_begun(at, row.values));
            }
        }
    }

    fn follow_changed(
        &mut self,
        previous: Option<Row<'_>>,
        row: Row<'_>,
        (plan, starts): (&[Column], RowStarts<'_>),
        sums: &mut Vec<CrossSum>,
    ) {
        self.end_all(previous);
        for (at, ((metric, value), column)) in row.metrics.iter().zip(row.values).zip(plan).enumerate() {
            if is_stale(*value) {
                continue;
            }
            let before = self.revive(*metric, row.at);
            if column.is_cumulative() {
                add_step(sum_of(sums, *column), before, *value, || starts.has_begun(at, row.values));
            }
        }
    }

    /// Adds to `sums` what stands at the end of `window`: the values of `last` and of what ended, unless too old.
    ///
    /// `ended_column` tells where a metric's values go.
    pub(crate) fn contribute<E>(
        &mut self,
        last: Option<(Row<'_>, &[Column])>,
        window: Window,
        interval: Duration,
        sums: &mut Vec<CrossSum>,
        mut ended_column: impl FnMut(MetricId) -> Result<Column, E>,
    ) -> Result<(), E> {
        let oldest = window.start() - interval;
        if let Some((row, plan)) = last.filter(|(row, _)| row.at >= oldest) {
            for (value, column) in row.values.iter().zip(plan) {
                if !is_stale(*value) {
                    sum_of(sums, *column).add_value(*value);
                }
            }
        }
        if self.ended.is_empty() {
            return Ok(());
        }
        let forgotten = window.start() - interval.max(PREDECESSOR_AGE_MAX);
        self.ended.retain(|_, ended| ended.at >= forgotten);
        let standing = self.ended.iter().filter(|(_, ended)| ended.at >= oldest);
        let mut standing: Vec<(MetricId, f64)> = standing.map(|(metric, ended)| (*metric, ended.value)).collect();
        // In order, so that the same happens in the same order: a metric may get its row here.
        standing.sort_unstable_by_key(|(metric, _)| *metric);
        for (metric, value) in standing {
            sum_of(sums, ended_column(metric)?).add_value(value);
        }
        Ok(())
    }

    /// Follows from `previous` to `row` without adding anything: remembers what ended, forgets what came back.
    pub(crate) fn remember(&mut self, previous: Option<Row<'_>>, row: Row<'_>) {
        if let Some(previous) = previous.filter(|previous| previous.shape == row.shape) {
            for ((metric, before), value) in row.metrics.iter().zip(previous.values).zip(row.values) {
                match (is_stale(*before), is_stale(*value)) {
                    (false, true) => drop(self.ended.insert(*metric, Ended { value: *before, at: previous.at })),
                    (true, false) => drop(self.ended.remove(metric)),
                    _ => {}
                }
            }
            return;
        }
        self.end_all(previous);
        for (metric, value) in row.metrics.iter().zip(row.values) {
            if !is_stale(*value) {
                self.ended.remove(metric);
            }
        }
    }

    /// Remembers every value of `row` as one that ended.
    pub(crate) fn end_all(&mut self, row: Option<Row<'_>>) {
        let Some(row) = row else { return };
        for (metric, value) in row.metrics.iter().zip(row.values) {
            if !is_stale(*value) {
                self.ended.insert(*metric, Ended { value: *value, at: row.at });
            }
        }
    }

    /// Forgets what ended before `cutoff`.
    pub(crate) fn forget_before(&mut self, cutoff: Timestamp) {
        self.ended.retain(|_, ended| ended.at >= cutoff);
        self.ended.shrink_to(2 * self.ended.len());
    }

    fn revive(&mut self, metric: MetricId, at: Timestamp) -> Option<f64> {
        if self.ended.is_empty() {
            return None;
        }
        let ended = self.ended.remove(&metric)?;
        (at.since(ended.at) <= PREDECESSOR_AGE_MAX).then_some(ended.value)
    }
}

/// Returns the sum of the row that `column` adds to.
pub(crate) fn sum_of(sums: &mut Vec<CrossSum>, column: Column) -> &mut CrossSum {
    if column.row() >= sums.len() {
        sums.resize(column.row() + 1, CrossSum::EMPTY);
    }
    &mut sums[column.row()]
}

/// Adds a counter's step from `before` to `value`.
///
/// Without a `before` it is all of `value` if the counter has begun in the window, else it is counted that there is none.
pub(crate) fn add_step(sum: &mut CrossSum, before: Option<f64>, value: f64, has_begun: impl FnOnce() -> bool) {
    match before {
        Some(before) => sum.add_increase(step_increase(before, value)),
        None if has_begun() => sum.add_increase(value),
        None => sum.add_unanchored(),
    }
}
