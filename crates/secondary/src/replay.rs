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

fn contribute_series(samples: &[Sample], window: Window, interval: Duration, column: Column, sums: &mut Vec<CrossSum>) {
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

#[cfg(test)]
mod tests {
    use firetower_model::{Cross, STALE};
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(15);
    const INTERVAL: Duration = Duration::from_secs(10);

    /// Metrics of the two shapes that pages here have; each metric is a row, the even ones are counters.
    const SHAPES: [&[MetricId]; 2] =
        [&[MetricId(0), MetricId(1), MetricId(2)], &[MetricId(2), MetricId(1), MetricId(3), MetricId(4)]];

    #[derive(Clone, Debug)]
    struct Page {
        at: Timestamp,
        shape: usize,
        values: Vec<f64>,
    }

    impl Page {
        fn as_row(&self) -> Row<'_> {
            Row { at: self.at, shape: ShapeId(self.shape as u32), values: &self.values, metrics: SHAPES[self.shape] }
        }

        fn plan(&self) -> Vec<Column> {
            SHAPES[self.shape].iter().map(|metric| column(*metric)).collect()
        }
    }

    fn column(metric: MetricId) -> Column {
        Column::new(metric.0, metric.0.is_multiple_of(2))
    }

    fn pages() -> impl Strategy<Value = Vec<Page>> {
        let value = prop_oneof![1 => Just(STALE), 1 => Just(f64::NAN), 6 => (0u32..50).prop_map(f64::from)];
        let wait = prop_oneof![8 => 1_000i64..20_000, 1 => 20_000i64..400_000];
        let page = (wait, 0usize..2, prop::collection::vec(value, 4));
        prop::collection::vec(page, 0..40).prop_map(|drawn| {
            let mut at = 1_000_000;
            let page = |(wait, shape, mut values): (i64, usize, Vec<f64>)| {
                at += wait;
                values.truncate(SHAPES[shape].len());
                Page { at: Timestamp::from_millis(at), shape, values }
            };
            drawn.into_iter().map(page).collect()
        })
    }

    fn windows(pages: &[Page]) -> Vec<Window> {
        let Some((first, last)) = pages.first().zip(pages.last()) else { return Vec::new() };
        let first = Window::containing(first.at, WINDOW);
        let enough = last.at + 4 * INTERVAL;
        std::iter::successors(Some(first), |window| Some(window.next())).take_while(|w| w.start() < enough).collect()
    }

    fn finished(mut sums: Vec<CrossSum>) -> Vec<Cross> {
        sums.resize(5, CrossSum::EMPTY);
        sums.iter().map(CrossSum::finish).collect()
    }

    /// What the open windows come to, scrape by scrape.
    fn live(pages: &[Page]) -> Vec<Vec<Cross>> {
        let windows = windows(pages);
        let mut sums: Vec<Vec<CrossSum>> = windows.iter().map(|_| Vec::new()).collect();
        let (mut track, mut last, mut contributed): (Track, Option<&Page>, usize) = (Track::default(), None, 0);
        let mut contribute_until =
            |track: &mut Track, last: Option<&Page>, sums: &mut Vec<Vec<CrossSum>>, until: usize| {
                for at in contributed..until {
                    let plan = last.map(Page::plan).unwrap_or_default();
                    let standing = last.map(|last| (last.as_row(), &plan[..]));
                    let column_of = |metric| Ok::<_, std::convert::Infallible>(column(metric));
                    track.contribute(standing, windows[at], INTERVAL, &mut sums[at], column_of).unwrap();
                }
                contributed = contributed.max(until);
            };
        for page in pages {
            let at = windows.iter().position(|window| window.range().contains(page.at)).unwrap();
            contribute_until(&mut track, last, &mut sums, at);
            track.follow(last.map(Page::as_row), page.as_row(), &page.plan(), &mut sums[at]);
            last = Some(page);
        }
        contribute_until(&mut track, last, &mut sums, windows.len());
        sums.into_iter().map(finished).collect()
    }

    /// What they come to by the rules, series by series.
    fn by_the_rules(pages: &[Page]) -> Vec<Vec<Cross>> {
        let mut samples = Samples::default();
        for page in pages {
            for (metric, value) in SHAPES[page.shape].iter().zip(&page.values) {
                samples.push(*metric, Sample { at: page.at, value: *value });
            }
        }
        let sums = |window| {
            let mut sums = Vec::new();
            let column_of = |metric| Ok::<_, std::convert::Infallible>(column(metric));
            samples.contribute(window, INTERVAL, &mut sums, column_of).unwrap();
            finished(sums)
        };
        windows(pages).into_iter().map(sums).collect()
    }

    proptest! {
        #[test]
        fn windows_filled_live_are_those_of_the_raw_samples(pages in pages()) {
            prop_assert_eq!(live(&pages), by_the_rules(&pages));
        }
    }
}
