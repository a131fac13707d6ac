//! What must be at the top, recomputed from raw samples by the rules of ARCHITECTURE.md.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::answers::{Account, Answers, Dropped, Point, RawSeries, Row, RowKey, Rows};

/// Labels that say where a series is rather than what it is; no row keeps them.
const PLACE: [&str; 5] = ["__name__", "job", "instance", "region", "datacenter"];
/// A counter's step over a longer pause is not measured.
const PREDECESSOR_AGE_MAX_MS: i64 = 300_000;
/// Differences shown at most.
const SHOWN_MAX: usize = 10;

/// A row without series.
const EMPTY: Point =
    Point { series: 0, special: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, increase: 0.0, unanchored: 0 };

/// Which windows to look at, and how targets are scraped.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Start of the first window, in milliseconds.
    pub start_ms: i64,
    /// End of the last window.
    pub end_ms: i64,
    /// Length of a window.
    pub window_ms: i64,
    /// Time between two scrapes of a target.
    pub interval_ms: i64,
}

impl Grid {
    /// Returns the starts of the windows.
    pub fn starts(&self) -> impl Iterator<Item = i64> + use<> {
        (self.start_ms..self.end_ms).step_by(self.window_ms as usize)
    }
}

/// Joins series of the same labels that several leaves hold, in order of the labels.
pub fn join(parts: impl IntoIterator<Item = Vec<RawSeries>>) -> Vec<RawSeries> {
    let mut joined: BTreeMap<BTreeMap<String, String>, BTreeMap<i64, f64>> = BTreeMap::new();
    for series in parts.into_iter().flatten() {
        joined.entry(series.labels).or_default().extend(series.samples);
    }
    let series =
        |(labels, samples): (_, BTreeMap<i64, f64>)| RawSeries { labels, samples: samples.into_iter().collect() };
    joined.into_iter().map(series).collect()
}

/// Returns the rows that follow from `series`: in each window each series gives its last value, carried forward if it
/// is no older than one interval before the window, and each counter its steps whose later sample lies in the window.
pub fn expected_rows(series: &[RawSeries], grid: Grid) -> BTreeMap<Row, Point> {
    let mut rows = BTreeMap::new();
    for one in series {
        let key = key_of(one);
        let is_cumulative = key.name.ends_with("_total");
        for start in grid.starts() {
            add(one, is_cumulative, grid, start, &key, &mut rows);
        }
    }
    rows
}

fn add(series: &RawSeries, is_cumulative: bool, grid: Grid, start: i64, key: &RowKey, rows: &mut BTreeMap<Row, Point>) {
    let end = start + grid.window_ms;
    let samples = &series.samples;
    let upto = samples.partition_point(|(at, _)| *at < end);
    let from = samples.partition_point(|(at, _)| *at < start);
    let last = samples[..upto].last().filter(|(at, _)| *at >= start - grid.interval_ms);
    let Some((_, last)) = last else { return };
    let point = rows.entry((key.clone(), start)).or_insert(EMPTY);
    point.series += 1;
    if last.is_finite() {
        point.sum += last;
        point.min = point.min.min(*last);
        point.max = point.max.max(*last);
    } else {
        point.special += 1;
    }
    for at in from..upto {
        if !is_cumulative {
            break;
        }
        let (time, value) = samples[at];
        match at.checked_sub(1).map(|before| samples[before]).filter(|(t, _)| time - t <= PREDECESSOR_AGE_MAX_MS) {
            None => point.unanchored += 1,
            Some((_, before)) => point.increase += if value < before { value } else { value - before },
        }
    }
}

fn key_of(series: &RawSeries) -> RowKey {
    let kept = series.labels.iter().filter(|(name, _)| !PLACE.contains(&name.as_str()));
    RowKey {
        datacenter: series.label("datacenter").into(),
        job: series.label("job").into(),
        name: series.label("__name__").into(),
        labels: kept.map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

/// Returns `points` with the `dropped` labels taken out of their keys, in whatever window, and merged.
pub fn without(points: &BTreeMap<Row, Point>, dropped: &[Dropped]) -> BTreeMap<Row, Point> {
    let mut merged: BTreeMap<Row, Point> = BTreeMap::new();
    for ((key, start), point) in points {
        let is_kept = |label: &str| {
            !dropped
                .iter()
                .any(|of| (of.name.as_str(), of.job.as_str(), of.label.as_str()) == (&key.name, &key.job, label))
        };
        let labels = key.labels.iter().filter(|(label, _)| is_kept(label));
        let labels = labels.map(|(label, value)| (label.clone(), value.clone())).collect();
        let sum = merged.entry((RowKey { labels, ..key.clone() }, *start)).or_insert(EMPTY);
        sum.series += point.series;
        sum.special += point.special;
        sum.sum += point.sum;
        sum.min = sum.min.min(point.min);
        sum.max = sum.max.max(point.max);
        sum.increase += point.increase;
        sum.unanchored += point.unanchored;
    }
    merged
}

/// Checks that `rows` are the expected ones: bit for bit, but for durations, whose sums have rounding.
///
/// # Errors
/// With the first differences.
pub fn check_rows(rows: &Rows, expected: &BTreeMap<Row, Point>) -> Result<()> {
    let mut differences = Vec::new();
    for (row, want) in expected {
        match rows.points.get(row) {
            None => differences.push(format!("{row:?}: missing, expected {want:?}")),
            Some(got) if !is_same(&row.0.name, got, want) => {
                differences.push(format!("{row:?}:\n  got {got:?}\n want {want:?}"))
            }
            Some(_) => {}
        }
    }
    for row in rows.points.keys().filter(|row| !expected.contains_key(row)) {
        differences.push(format!("{row:?}: not expected: {:?}", rows.points[row]));
    }
    ensure!(
        differences.is_empty(),
        "{} of {} rows differ:\n{}",
        differences.len(),
        expected.len(),
        differences[..differences.len().min(SHOWN_MAX)].join("\n")
    );
    Ok(())
}

fn is_same(name: &str, got: &Point, want: &Point) -> bool {
    let counts = |point: &Point| (point.series, point.special, point.unanchored);
    let is_near = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    let is_equal = |a: f64, b: f64| if name.ends_with("_seconds") { is_near(a, b) } else { a.to_bits() == b.to_bits() };
    counts(got) == counts(want)
        && is_equal(got.sum, want.sum)
        && is_equal(got.min, want.min)
        && is_equal(got.max, want.max)
        && is_equal(got.increase, want.increase)
}

/// Checks that no slot was counted twice and none forgotten: in every window as many are reported as `up` has samples.
///
/// # Errors
/// With the first window in which they differ.
pub fn check_coverage(rows: &Rows, series: &[RawSeries], grid: Grid, datacenter: &str) -> Result<()> {
    let ups = series.iter().filter(|one| one.label("__name__") == "up" && one.label("datacenter") == datacenter);
    let slots: Vec<i64> = ups.flat_map(|up| slots_of(&up.samples, grid.interval_ms)).collect();
    for start in grid.starts() {
        let window = start..start + grid.window_ms;
        let made = slots.iter().filter(|slot| window.contains(slot)).count();
        let Some(coverage) = rows.coverage.get(&(datacenter.to_owned(), start)) else {
            ensure!(made == 0, "no coverage of {datacenter} at {start}, though {made} slots were scraped");
            continue;
        };
        ensure!(coverage.expected == coverage.reported + coverage.lost, "at {start}: {coverage:?}");
        ensure!(coverage.late <= coverage.reported, "at {start}: {coverage:?}");
        ensure!(coverage.reported == made as u64, "at {start}: {coverage:?}, but {made} scrapes are stored");
    }
    Ok(())
}

/// Returns the slots that samples stand for: most have their slot's time, a belated one the time of its own scrape.
fn slots_of(samples: &[(i64, f64)], interval_ms: i64) -> impl Iterator<Item = i64> {
    let mut phases: BTreeMap<i64, usize> = BTreeMap::new();
    for (at, _) in samples {
        *phases.entry(at.rem_euclid(interval_ms)).or_default() += 1;
    }
    let phase = phases.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(phase, _)| phase);
    samples.iter().map(move |(at, _)| at - (at - phase).rem_euclid(interval_ms))
}

/// Checks that few slots were missed, as may happen on a busy machine, while every secondary lived.
///
/// # Errors
/// If more than a twentieth was lost.
pub fn check_few_lost(rows: &Rows) -> Result<()> {
    let lost: u64 = rows.coverage.values().map(|coverage| coverage.lost).sum();
    let expected: u64 = rows.coverage.values().map(|coverage| coverage.expected).sum();
    ensure!(expected > 0 && lost * 20 <= expected, "{lost} of {expected} slots were lost: {:?}", rows.coverage);
    Ok(())
}

/// Checks that all accounts in a status close and nothing was dropped; returns them.
///
/// # Errors
/// With the first account that does not close.
pub fn check_account(answers: &Answers) -> Result<Vec<Account>> {
    let accounts = answers.accounts()?;
    for account in &accounts {
        ensure!(account.residual() == 0, "{account:?} does not close");
        ensure!(account.dropped == 0, "{account:?} has dropped samples");
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_belated_sample_stands_for_its_slot() {
        let samples = [(1_300, 1.0), (2_300, 1.0), (3_900, 1.0), (5_300, 1.0)];
        assert_eq!(slots_of(&samples, 1_000).collect::<Vec<_>>(), [1_300, 2_300, 3_300, 5_300]);
    }

    #[test]
    fn the_example_of_the_design_comes_out() {
        let series = |instance: &str, samples: &[(i64, f64)]| {
            let labels = [("__name__", "c_total"), ("job", "j"), ("instance", instance), ("datacenter", "dub")];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            RawSeries { labels, samples: samples.to_vec() }
        };
        let grid = Grid { start_ms: 15_000, end_ms: 45_000, window_ms: 15_000, interval_ms: 15_000 };
        let both = [series("a", &[(5_000, 10.0), (20_000, 14.0), (35_000, 1.0)]), series("b", &[(16_000, 7.0)])];
        let rows = expected_rows(&both, grid);
        let points: Vec<&Point> = rows.values().collect();
        let common = Point { series: 2, special: 0, sum: 21.0, min: 7.0, max: 14.0, increase: 4.0, unanchored: 1 };
        assert_eq!(*points[0], common);
        assert_eq!(*points[1], Point { sum: 8.0, min: 1.0, max: 7.0, increase: 1.0, unanchored: 0, ..common });
        let mut got = Rows { points: rows.clone(), ..Rows::default() };
        check_rows(&got, &rows).unwrap();
        got.points.values_mut().next().unwrap().sum += 1.0;
        assert!(check_rows(&got, &rows).is_err());
    }
}
