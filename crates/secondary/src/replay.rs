//! What one target gives to a window, from its raw samples alone: after a restart, and when something came late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use firetower_model::{CrossSum, MetricId, Sample, ShapeId, TargetId, TimeRange, Timestamp, Window, is_stale};
use firetower_store::{Error, ScrapeRow, ScrapeRows, Store};

use crate::plan::{Class, Column, Plans, metrics_of};
use crate::track::{PREDECESSOR_AGE_MAX, Row, Track, add_step, sum_of};

/// Returns the range of raw samples that a window's rows follow from.
pub(crate) fn range_behind(window: Window, interval: Duration) -> TimeRange {
    TimeRange { start: window.start() - interval.max(PREDECESSOR_AGE_MAX), end: window.end() }
}

/// A target's samples that are not in rows.
pub(crate) type Loose = Vec<(MetricId, Sample)>;

/// Adds to `sums` what a target gives to `window`; returns its scrapes inside: when, and how many seconds each took.
///
/// # Errors
/// If the store cannot be read, or cannot keep a new row key.
pub(crate) fn replay(
    store: &Store,
    plans: &mut Plans,
    (target, class): (TargetId, Class),
    loose: Option<&Loose>,
    (window, interval): (Window, Duration),
    sums: &mut Vec<CrossSum>,
) -> Result<Vec<(Timestamp, f64)>, Error> {
    let mut rows = store.rows(target, range_behind(window, interval))?;
    let Some(loose) = loose else { return replay_rows(store, plans, class, rows, (window, interval), sums) };
    let (mut samples, mut scrapes) = (Samples::default(), Vec::new());
    while let Some(row) = rows.next_row()? {
        scrapes.extend(scrape_inside(&row, window));
        for (metric, value) in metrics_of(store, row.shape).iter().zip(row.values) {
            if !is_stale(*value) {
                samples.push(*metric, Sample { at: row.at, value: *value });
            }
        }
    }
    loose.iter().for_each(|(metric, sample)| samples.push(*metric, *sample));
    samples.contribute(window, interval, sums, |metric| plans.column(class, metric))?;
    Ok(scrapes)
}

/// The same for a target whose samples are all in rows, which is nearly every one.
fn replay_rows(
    store: &Store,
    plans: &mut Plans,
    class: Class,
    mut rows: ScrapeRows<'_>,
    (window, interval): (Window, Duration),
    sums: &mut Vec<CrossSum>,
) -> Result<Vec<(Timestamp, f64)>, Error> {
    let (mut track, mut scrapes) = (Track::default(), Vec::new());
    let mut last: Option<HeldRow> = None;
    while let Some(row) = rows.next_row()? {
        scrapes.extend(scrape_inside(&row, window));
        let row = HeldRow::new(store, &row, last.as_ref());
        let previous = last.as_ref().map(HeldRow::as_row);
        if window.range().contains(row.at) {
            let plan = plans.plan(class, row.shape)?;
            track.follow(previous, row.as_row(), &plan, sums);
        } else {
            track.remember(previous, row.as_row());
        }
        last = Some(row);
    }
    let plan = last.as_ref().map(|last| plans.plan(class, last.shape)).transpose()?;
    let standing = last.as_ref().zip(plan.as_ref()).map(|(last, plan)| (last.as_row(), &plan[..]));
    track.contribute(standing, window, interval, sums, |metric| plans.column(class, metric))?;
    Ok(scrapes)
}

/// A row read back, with the metrics of its shape.
pub(crate) struct HeldRow {
    pub(crate) at: Timestamp,
    pub(crate) shape: ShapeId,
    values: Vec<f64>,
    metrics: Arc<[MetricId]>,
}

impl HeldRow {
    /// Holds `row`, which comes after `last`.
    pub(crate) fn new(store: &Store, row: &ScrapeRow<'_>, last: Option<&HeldRow>) -> HeldRow {
        let alike = last.filter(|last| last.shape == row.shape).map(|last| Arc::clone(&last.metrics));
        let metrics = alike.unwrap_or_else(|| metrics_of(store, row.shape));
        HeldRow { at: row.at, shape: row.shape, values: row.values.to_vec(), metrics }
    }

    /// Returns it as a row to follow.
    pub(crate) fn as_row(&self) -> Row<'_> {
        Row { at: self.at, shape: self.shape, values: &self.values, metrics: &self.metrics }
    }
}

/// Returns when a row's scrape was and how many seconds it took, if it lies inside `window`.
fn scrape_inside(row: &ScrapeRow<'_>, window: Window) -> Option<(Timestamp, f64)> {
    let seconds = *row.values.get(1)?;
    (window.range().contains(row.at) && !is_stale(seconds)).then_some((row.at, seconds))
}

/// The samples of one target, series by series, each in time order.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<MetricId, Vec<Sample>>);

impl Samples {
    /// Adds one sample; samples of a series may come in any order, and of two at one time the first stays.
    pub(crate) fn push(&mut self, metric: MetricId, sample: Sample) {
        let series = self.0.entry(metric).or_default();
        match series.binary_search_by_key(&sample.at, |other| other.at) {
            Ok(_) => {}
            Err(place) => series.insert(place, sample),
        }
    }

    /// Adds to `sums` what the target gives to `window`.
    pub(crate) fn contribute<E>(
        &self,
        window: Window,
        interval: Duration,
        sums: &mut Vec<CrossSum>,
        mut column_of: impl FnMut(MetricId) -> Result<Column, E>,
    ) -> Result<(), E> {
        for (metric, samples) in &self.0 {
            let column = column_of(*metric)?;
            contribute_series(samples, window, interval, column, sums);
        }
        Ok(())
    }
}

fn contribute_series(
    samples: &[Sample],
    window: Window,
    interval: Duration,
    column: Column,
    sums: &mut Vec<CrossSum>,
) {
    let mut before: Option<Sample> = None;
    for sample in samples.iter().filter(|sample| !is_stale(sample.value) && sample.at < window.end()) {
        if column.is_cumulative() && sample.at >= window.start() {
            let anchor = before.filter(|before| sample.at.since(before.at) <= PREDECESSOR_AGE_MAX);
            add_step(sum_of(sums, column), anchor.map(|before| before.value), sample.value);
        }
        before = Some(*sample);
    }
    if let Some(last) = before.filter(|last| last.at >= window.start() - interval) {
        sum_of(sums, column).add_value(last.value);
    }
}
