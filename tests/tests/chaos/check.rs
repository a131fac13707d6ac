//! What must hold once everything is well again: what the leaves hold is at every top, once, bit for bit.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{
    Grid, RawSeries, Rows, Tree, check_coverage, check_rows, check_served, expected_rows, join, now_ms, wait_for,
};

use crate::accounts::{self, Hops};
use crate::act::Loss;
use crate::usage::{Baseline, Usage};

/// Windows without a fault before the end; each page served in them must be stored.
const QUIET_WINDOWS: i64 = 4;
/// How long before a data directory is lost, and after its node is back, windows may lack what was in it.
const UNSURE_BEFORE_MS: i64 = 8_000;
const UNSURE_AFTER_MS: i64 = 12_000;
/// How long before the lists are emptied windows belong to full lists, for sure.
const EMPTIED_BEFORE_MS: i64 = 2_000;
/// On a busy machine.
const SETTLED_LIMIT: Duration = Duration::from_secs(180);

/// What was compared, for the report.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) hops: Hops,
    pub(crate) globals: Vec<GlobalFigures>,
    pub(crate) raw_samples: usize,
    pub(crate) pages_served: usize,
    pub(crate) usages: Vec<(String, Usage, Usage)>,
}

/// What was compared at one global aggregator.
#[derive(Debug)]
pub(crate) struct GlobalFigures {
    pub(crate) name: String,
    pub(crate) windows: usize,
    pub(crate) windows_left_out: usize,
    pub(crate) rows: usize,
    pub(crate) expected: u64,
    pub(crate) reported: u64,
    pub(crate) lost: u64,
}

/// Waits until all is settled, and checks what must hold then, after `losses` and disks of `full` that had no room.
///
/// # Errors
/// With the first violation.
pub(crate) fn check(
    tree: &mut Tree,
    (losses, full): (&[Loss], &[String]),
    baseline: &Baseline,
    interval_ms: i64,
) -> Result<Figures> {
    let quiet_ms = now_ms();
    for name in tree.secondaries() {
        tree.wait_sampled(&name, QUIET_WINDOWS)?;
    }
    let quiet_end_ms = now_ms();
    let usages = check_usage(tree, baseline)?;
    let mut grid = tree.grid();
    tree.empty_lists()?;
    grid.end_ms = grid.end_ms.min((quiet_end_ms - EMPTIED_BEFORE_MS).div_euclid(grid.window_ms) * grid.window_ms);
    let mut hops = Hops::new();
    wait_for("everything is delivered", SETTLED_LIMIT, || {
        hops = accounts::read(tree)?;
        accounts::check_drained(&hops).map(Some)
    })?;
    let wiped: Vec<&str> = losses.iter().map(|loss| loss.node.as_str()).collect();
    accounts::check(tree, &hops, &wiped, full)?;
    let parts = losses.iter().map(|loss| loss.raw.clone());
    let raw = join(parts.chain([tree.raw()?]));
    let mut figures = Figures { hops, usages, ..Figures::default() };
    figures.raw_samples = raw.iter().map(|series| series.samples.len()).sum();
    for datacenter in tree.datacenters() {
        let here: Vec<RawSeries> =
            raw.iter().filter(|series| series.label("datacenter") == *datacenter).cloned().collect();
        let log = tree.log_of(datacenter)?;
        figures.pages_served += log.len();
        check_served(&tree.page(), &log, &here, quiet_ms, quiet_end_ms, interval_ms).context(*datacenter)?;
    }
    check_tops(tree, losses, &raw, grid, &mut figures)?;
    Ok(figures)
}

fn check_usage(tree: &Tree, baseline: &Baseline) -> Result<Vec<(String, Usage, Usage)>> {
    wait_for("everybody holds no more than before", SETTLED_LIMIT, || {
        let mut usages = Vec::new();
        for (name, before) in &baseline.0 {
            let now = Usage::of(tree, name)?;
            now.check(name, before)?;
            usages.push((name.clone(), *before, now));
        }
        Ok(Some(usages))
    })
}

/// Checks rows and coverage at each global aggregator, and that they are the same at all.
fn check_tops(tree: &Tree, losses: &[Loss], raw: &[RawSeries], grid: Grid, figures: &mut Figures) -> Result<()> {
    let expected = expected_rows(raw, grid);
    let tops: Vec<String> = tree.node_names().into_iter().filter(|name| tree.parents(name).is_empty()).collect();
    let mut all: Vec<(Rows, BTreeMap<String, Vec<i64>>)> = Vec::new();
    for name in &tops {
        let mut rows = tree.rows(name, grid)?;
        let sure: BTreeMap<String, Vec<i64>> = tree
            .datacenters()
            .iter()
            .map(|datacenter| {
                let is_sure = |start: &i64| is_sure(tree, losses, name, datacenter, *start, grid.window_ms);
                (datacenter.to_string(), grid.starts().filter(is_sure).collect())
            })
            .collect();
        let is_wanted = |datacenter: &str, start: i64| sure[datacenter].binary_search(&start).is_ok();
        rows.points.retain(|(key, start), _| is_wanted(&key.datacenter, *start));
        rows.coverage.retain(|(datacenter, start), _| is_wanted(datacenter, *start));
        let mut expected = expected.clone();
        expected.retain(|(key, start), _| is_wanted(&key.datacenter, *start));
        check_rows(&rows, &expected).with_context(|| format!("rows at {name}"))?;
        for (datacenter, starts) in &sure {
            for start_ms in starts {
                let window = Grid { start_ms: *start_ms, end_ms: start_ms + grid.window_ms, ..grid };
                check_coverage(&rows, raw, window, datacenter)
                    .with_context(|| format!("coverage of {datacenter} at {name}"))?;
            }
        }
        figures.globals.push(figures_of(name, &rows, &sure, grid));
        all.push((rows, sure));
    }
    let [(one, sure), (other, sure_too)] = &all[..] else { return Ok(()) };
    let is_common = |datacenter: &str, start: &i64| {
        sure[datacenter].binary_search(start).is_ok() && sure_too[datacenter].binary_search(start).is_ok()
    };
    let points = |rows: &Rows| {
        let common = rows.points.iter().filter(|((key, start), _)| is_common(&key.datacenter, start));
        common.map(|(row, point)| (row.clone(), *point)).collect::<Vec<_>>()
    };
    let coverage = |rows: &Rows| {
        let common = rows.coverage.iter().filter(|((datacenter, start), _)| is_common(datacenter, start));
        common.map(|(at, coverage)| (at.clone(), *coverage)).collect::<Vec<_>>()
    };
    ensure!(points(one) == points(other), "the rows of {tops:?} differ");
    ensure!(coverage(one) == coverage(other), "the coverage of {tops:?} differs");
    Ok(())
}

/// Tells whether a window must be whole at a global aggregator: no data directory was lost on its way.
fn is_sure(tree: &Tree, losses: &[Loss], global: &str, datacenter: &str, start: i64, window_ms: i64) -> bool {
    losses.iter().all(|loss| {
        let until_ms = loss.until_ms.unwrap_or(i64::MAX).saturating_add(UNSURE_AFTER_MS);
        let is_after = start >= until_ms;
        let is_before = start + window_ms <= loss.from_ms - UNSURE_BEFORE_MS;
        // What a global aggregator has lost, nobody else has any more.
        let is_own = loss.node == global;
        is_after || !is_own && (is_before || tree.datacenter(&loss.node) != datacenter)
    })
}

fn figures_of(name: &str, rows: &Rows, sure: &BTreeMap<String, Vec<i64>>, grid: Grid) -> GlobalFigures {
    let sum = |of: fn(&firetower_tests::Coverage) -> u64| rows.coverage.values().map(of).sum();
    let windows = sure.values().map(Vec::len).sum();
    GlobalFigures {
        name: name.to_owned(),
        windows,
        windows_left_out: grid.starts().count() * sure.len() - windows,
        rows: rows.points.len(),
        expected: sum(|coverage| coverage.expected),
        reported: sum(|coverage| coverage.reported),
        lost: sum(|coverage| coverage.lost),
    }
}
