//! What one target gives to a window, from its raw samples alone: after a restart, and when something came late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use firetower_model::{CrossSum, MetricId, Sample, ShapeId, TargetId, TimeRange, Timestamp, Window, is_stale};
use firetower_store::{Error, ScrapeRow, ScrapeRows, Store};

use crate::plan::{Class, Column, Plans, metrics_of};
use crate::starts::{RowStarts, is_inside, start_columns};
use crate::track::{PREDECESSOR_AGE_MAX, Row, Track, add_step, sum_of};

/// Returns the range of raw samples that a window's rows follow from.
pub(crate) fn range_behind(window: Window, interval: Duration) -> TimeRange {
    TimeRange { start: window.start() - interval.max(PREDECESSOR_AGE_MAX), end: window.end() }
}

/// A target's samples that are not in rows.
pub(crate) type Loose = Vec<(MetricId, Sample)>;

/// Adds to `sums` what a target, this secondary's `since` then, gives to `window`; returns its scrapes inside: when, and how many seconds each took.
///
/// # Errors
/// If the store cannot be read, or cannot keep a new row key.
pub(crate) fn replay(
    store: &Store,
    plans: &mut Plans,
    (target, class, since): (TargetId, Class, Timestamp),
    loose: Option<&Loose>,
    (window, interval): (Window, Duration),
    sums: &mut Vec<CrossSum>,
) -> Result<Vec<(Timestamp, f64)>, Error> {
    let behind = range_behind(window, interval);
    let mut rows = store.rows(target, TimeRange { start: behind.start.max(since), ..behind })?;
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
    let loose = loose.iter().filter(|(_, sample)| sample.at >= since);
    loose.for_each(|(metric, sample)| samples.push(*metric, *sample));
    let starts = start_columns(store, &samples.metrics());
    samples.contribute((window, interval), &starts, sums, |metric| plans.column(class, metric, window.start()))?;
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
            let plan = plans.plan(class, row.shape, window.start())?;
            let columns = plans.starts(row.shape, &row.metrics, &plan);
            track.follow(previous, row.as_row(), (&plan, RowStarts { columns: &columns, window }), sums);
        } else {
            track.remember(previous, row.as_row());
        }
        last = Some(row);
    }
    let plan = last.as_ref().map(|last| plans.plan(class, last.shape, window.start())).transpose()?;
    let standing = last.as_ref().zip(plan.as_ref()).map(|(last, plan)| (last.as_row(), &plan[..]));
    track.contribute(standing, window, interval, sums, |metric| plans.column(class, metric, window.start()))?;
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

    /// Returns the metrics of the series, in their order.
    pub(crate) fn metrics(&self) -> Vec<MetricId> {
        self.0.keys().copied().collect()
    }

    /// Adds to `sums` what the target gives to `window`; `starts` has the places of [`Samples::metrics`].
    pub(crate) fn contribute<E>(
        &self,
        (window, interval): (Window, Duration),
        starts: &[u32],
        sums: &mut Vec<CrossSum>,
        mut column_of: impl FnMut(MetricId) -> Result<Column, E>,
    ) -> Result<(), E> {
        let all: Vec<&Vec<Sample>> = self.0.values().collect();
        for (place, (metric, samples)) in self.0.iter().enumerate() {
            let column = column_of(*metric)?;
            let created = starts.get(place).and_then(|start| all.get(*start as usize));
            let has_begun = |at: Timestamp| {
                let found = created.and_then(|all| Some(&all[all.binary_search_by_key(&at, |one| one.at).ok()?]));
                found.is_some_and(|created| is_inside(created.value, window))
            };
            contribute_series(samples, (window, interval), column, sums, has_begun);
        }
        Ok(())
    }
}

fn contribute_series(
    samples: &[Sample],
    (window, interval): (Window, Duration),
    column: Column,
    sums: &mut Vec<CrossSum>,
    has_begun: impl Fn(Timestamp) -> bool,
) {
    let mut before: Option<Sample> = None;
    for sample in samples.iter().filter(|sample| !is_stale(sample.value) && sample.at < window.end()) {
        if column.is_cumulative() && sample.at >= window.start() {
            let anchor = before.filter(|before| sample.at.since(before.at) <= PREDECESSOR_AGE_MAX);
            let anchor = anchor.map(|before| before.value);
            add_step(sum_of(sums, column), anchor, sample.value, || has_begun(sample.at));
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

    /// Metric 1 says when metric 2 began, in either shape and among all five, and nothing says when 0 and 4 did.
    const STARTS: [&[u32]; 2] = [&[9, 9, 1], &[1, 9, 9, 9]];
    const STARTS_OF_ALL: [u32; 5] = [9, 9, 1, 9, 9];

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
        Column::new(metric.0, metric.0.is_multiple_of(2), false)
    }

    fn pages() -> impl Strategy<Value = Vec<Page>> {
        // Pages lie a few minutes after second 1000, and so do these starts.
        let start = (1_000u32..1_300).prop_map(f64::from);
        let number = (0u32..50).prop_map(f64::from);
        let value = prop_oneof![1 => Just(STALE), 1 => Just(f64::NAN), 6 => number, 2 => start];
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
            let starts = RowStarts { columns: STARTS[page.shape], window: windows[at] };
            track.follow(last.map(Page::as_row), page.as_row(), (&page.plan(), starts), &mut sums[at]);
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
        let metrics = samples.metrics();
        let place_of = |metric: u32| metrics.iter().position(|other| other.0 == metric).map_or(9, |at| at as u32);
        let starts: Vec<u32> = metrics.iter().map(|metric| place_of(STARTS_OF_ALL[metric.0 as usize])).collect();
        let sums = |window| {
            let mut sums = Vec::new();
            let column_of = |metric| Ok::<_, std::convert::Infallible>(column(metric));
            samples.contribute((window, INTERVAL), &starts, &mut sums, column_of).unwrap();
            finished(sums)
        };
        windows(pages).into_iter().map(sums).collect()
    }

    #[test]
    fn a_counter_that_began_in_the_window_adds_its_whole_value() {
        let page = |second: i64, values: [f64; 3]| Page {
            at: Timestamp::from_millis(second * 1_000),
            shape: 0,
            values: values.to_vec(),
        };
        // Metric 2 is first seen at 7 in [990, 1005), then ends, and comes back after its predecessor is too old.
        let check = |created: [f64; 2], expected: [(f64, u64); 2]| {
            let pages = [
                page(1_000, [STALE, created[0], 7.0]),
                page(1_010, [STALE, created[0], STALE]),
                page(1_400, [STALE, created[1], 9.0]),
            ];
            let crosses = live(&pages);
            assert_eq!(crosses, by_the_rules(&pages));
            let of = |window: usize| (crosses[window][2].increase, crosses[window][2].unanchored);
            assert_eq!([of(0), of((1_395 - 990) / 15)], expected, "{created:?}");
        };
        check([999.5, 1_396.0], [(7.0, 0), (9.0, 0)]);
        check([990.0, 999.0], [(7.0, 0), (0.0, 1)]);
        check([989.999, 1_394.9], [(0.0, 1), (0.0, 1)]);
        check([1_005.0, STALE], [(0.0, 1), (0.0, 1)]);
        check([f64::NAN, f64::INFINITY], [(0.0, 1), (0.0, 1)]);
    }

    proptest! {
        #[test]
        fn windows_filled_live_are_those_of_the_raw_samples(pages in pages()) {
            prop_assert_eq!(live(&pages), by_the_rules(&pages));
        }
    }
}
