//! What must hold once everything has settled, read from the disks that are left.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_model::{Account, Select, TimeRange, Timestamp, is_stale};
use firetower_store::{DataDirectory, Options, Outbox, Receiver, RowQuery, RowTier, RowValue, Store};
use firetower_tests::{Coverage, Grid, Point, RawSeries, Row, RowKey, Rows, check_coverage, check_rows, expected_rows};

use crate::faults::Event;
use crate::monitors::Site;
use crate::plan::{CALM, EMPTIED, FAULTS_FROM, HEALED, INTERVAL, Node, Plan, Role, WINDOW};
use crate::served::{PAST_NAME, Served};

/// How long around the loss of a data directory its windows are not whole.
const LOSS: Duration = Duration::from_secs(10);
/// How far from the moment of a change of lists, by true time, windows may belong to the one list or the other.
const UNSURE: Duration = Duration::from_secs(4);
/// Points that are read at once.
const POINTS_MAX: usize = 1 << 20;

/// What is left of one node.
struct Left<'a> {
    node: &'a Node,
    store: Store,
    accounts: Vec<Account>,
    /// Raw samples applied, by child.
    applied: BTreeMap<String, u64>,
}

/// Checks all that is left; `wiped` says who has lost its data, and when it began anew.
///
/// # Errors
/// With the first thing that is wrong.
pub(crate) fn check(
    plan: &Plan,
    sites: &BTreeMap<String, Arc<Site>>,
    served: &Served,
    wiped: &BTreeMap<String, Duration>,
) -> Result<()> {
    let mut left = BTreeMap::new();
    for node in &plan.nodes {
        let disk = sites[&node.name].disk.clone();
        left.insert(node.name.as_str(), Left::open(plan, node, disk).with_context(|| format!("open {}", node.name))?);
    }
    check_accounts(plan, &left, wiped)?;
    let mut expected = BTreeMap::new();
    let grid = grid(plan);
    for datacenter in plan.datacenters.keys() {
        let mut series = Vec::new();
        for node in plan.of_role(Role::Secondary, datacenter) {
            let raw = left[node.name.as_str()].raw()?;
            check_served(plan, &raw, served).with_context(|| node.name.clone())?;
            // Samples that came too late are in no row.
            series.extend(raw.into_iter().filter(|series| series.label("__name__") != PAST_NAME).map(without_ends));
        }
        check_calm(plan, datacenter, &series, served)?;
        expected.insert(datacenter.as_str(), (series.clone(), expected_rows(&series, grid)));
    }
    check_replicas(plan, &left, &expected, wiped)
}

/// Returns all windows there may be until the lists are emptied.
fn grid(plan: &Plan) -> Grid {
    let window_ms = WINDOW.as_millis() as i64;
    let start_ms = window_at(plan, Duration::ZERO) - 60_000;
    let end_ms = window_at(plan, EMPTIED - UNSURE);
    Grid { start_ms, end_ms, window_ms, interval_ms: INTERVAL.as_millis() as i64 }
}

/// Returns the start of the window at a moment since the beginning, by true time.
fn window_at(plan: &Plan, at: Duration) -> i64 {
    let window_ms = WINDOW.as_millis() as i64;
    (plan.begin_ms + at.as_millis() as i64).div_euclid(window_ms) * window_ms
}

/// Returns the windows in which it is not sure, from outside, which list of targets holds.
fn unsure(plan: &Plan, datacenter: &str) -> Range<i64> {
    let changes = plan.events.iter().filter(|(at, event)| {
        let is_here = matches!(event, Event::List { datacenter: here, .. } if here == datacenter);
        is_here && *at >= FAULTS_FROM && *at < EMPTIED
    });
    let first = changes.map(|(at, _)| *at).min();
    first.map_or(0..0, |at| window_at(plan, at - UNSURE)..window_at(plan, HEALED + 2 * UNSURE))
}

impl<'a> Left<'a> {
    fn open(plan: &Plan, node: &'a Node, disk: firetower_store::ModelDisk) -> Result<Left<'a>> {
        let options = Options::new(Timestamp::from_millis(plan.begin_ms), 0);
        let store = Store::open_in(&DataDirectory::Model(disk), &options)?;
        let parents: Vec<String> = plan.parents(node).iter().map(|parent| parent.name.clone()).collect();
        let open_weight = store.open_windows()?.iter().map(|(_, record)| record.pending_weight).sum();
        let accounts = Outbox::open(&store, &parents)?.accounts(open_weight);
        let receiver = Receiver::open(&store)?;
        let applied = receiver
            .children()
            .map(|(child, applied)| (child.to_owned(), applied.weight + applied.weight_before))
            .collect();
        Ok(Left { node, store, accounts, applied })
    }

    /// Returns all series with all their samples, markers too.
    fn raw(&self) -> Result<Vec<RawSeries>> {
        let mut found = Vec::new();
        for batch in self.store.select(&[], TimeRange::ALL)? {
            for series in batch? {
                let labels = series.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                let samples = series.samples.iter().map(|sample| (sample.at.as_millis(), sample.value)).collect();
                found.push(RawSeries { labels, samples });
            }
        }
        Ok(found)
    }

    /// Returns how many samples came too late for their windows.
    fn past(&self) -> Result<u64> {
        let raw = self.raw()?;
        let past = raw.iter().filter(|series| series.label("__name__") == PAST_NAME);
        Ok(past.flat_map(|series| &series.samples).filter(|(_, value)| !is_stale(*value)).count() as u64)
    }

    fn rows(&self, datacenter: &str) -> Result<Rows> {
        let query = RowQuery {
            tier: RowTier::Window,
            name: None,
            job: None,
            datacenter: Some(datacenter),
            range: TimeRange::ALL,
            points_max: POINTS_MAX,
        };
        let answer = self.store.read_rows(&query)?;
        let mut rows = Rows::default();
        for series in answer.series {
            let labels = series.key.iter().filter(|(name, _)| !["__name__", "job"].contains(name));
            let key = RowKey {
                datacenter: series.datacenter.clone(),
                job: series.key.get("job").unwrap_or("").to_owned(),
                name: series.key.name().to_owned(),
                labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            };
            for (window, value) in series.points {
                let RowValue::Window(cross) = value else { continue };
                let point = Point {
                    series: cross.series,
                    special: cross.special,
                    sum: cross.sum,
                    min: cross.min,
                    max: cross.max,
                    increase: cross.increase,
                    unanchored: cross.unanchored,
                };
                rows.points.insert((key.clone(), window.start().as_millis()), point);
            }
        }
        for (datacenter, header) in answer.headers {
            let of = header.coverage;
            let coverage = Coverage { expected: of.expected, reported: of.reported, late: of.late, lost: of.lost };
            rows.coverage.insert((datacenter, header.window.start().as_millis()), coverage);
        }
        Ok(rows)
    }
}

/// Checks that each account closes, that nothing is on its way, and that both sides of each hop counted the same.
fn check_accounts(plan: &Plan, left: &BTreeMap<&str, Left<'_>>, wiped: &BTreeMap<String, Duration>) -> Result<()> {
    for of in left.values() {
        for account in &of.accounts {
            let name = &of.node.name;
            ensure!(account.residual() == 0, "the account of {name} does not close: {account:?}");
            ensure!(account.queued == 0, "{name} has something on its way: {account:?}");
            if wiped.contains_key(name) || wiped.contains_key(&account.parent) {
                continue;
            }
            let past = of.past()?;
            let dropped: u64 = account.dropped.iter().map(|(_, samples)| samples).sum();
            ensure!(
                dropped == past,
                "{name} has {past} samples that came too late, and not as many drops: {account:?}"
            );
            let applied = left[account.parent.as_str()].applied.get(name).copied().unwrap_or(0);
            ensure!(applied == account.delivered, "{} applied {applied} of {name}, not {account:?}", account.parent);
        }
        let is_whole = !wiped.contains_key(&of.node.name);
        if of.node.role == Role::Secondary && is_whole {
            let stored: u64 = of.raw()?.iter().map(|series| series.samples.len() as u64).sum();
            for account in &of.accounts {
                ensure!(account.collected == stored, "{} stored {stored} samples: {account:?}", of.node.name);
            }
        }
        if of.node.role == Role::Primary && is_whole {
            let applied: u64 = of.applied.values().sum();
            for account in &of.accounts {
                ensure!(account.collected == applied, "{} applied {applied} samples: {account:?}", of.node.name);
            }
        }
    }
    ensure!(left.len() == plan.nodes.len());
    Ok(())
}

/// Checks that what is stored was served, each page at most once and in order.
fn check_served(plan: &Plan, raw: &[RawSeries], served: &Served) -> Result<()> {
    for series in raw {
        let Some(read) = reader(series) else { continue };
        let pages = served.of(series.label("instance"));
        let mut pages = pages.iter();
        for (at, value) in series.samples.iter().filter(|(_, value)| !is_stale(*value)) {
            let is_served = pages.any(|page| read(page) as f64 == *value);
            let since_ms = at - plan.begin_ms;
            ensure!(is_served, "{:?} was not served as {value}, or not in this order, at {since_ms} ms", series.labels);
        }
    }
    Ok(())
}

/// Returns what a page says of a series, if that is different on each page.
fn reader(series: &RawSeries) -> Option<fn(&crate::served::Page) -> u64> {
    match (series.label("__name__"), series.label("kind")) {
        ("work_total", "a") => Some(|page| page.work[0]),
        ("work_total", "b") => Some(|page| page.work[1]),
        _ => None,
    }
}

/// Checks that everything served while nothing was wrong is stored.
fn check_calm(plan: &Plan, datacenter: &str, series: &[RawSeries], served: &Served) -> Result<()> {
    let host = Plan::targets_host(datacenter);
    for number in 0..plan.datacenters[datacenter] {
        let instance = crate::served::instance(&host, number);
        let of = series.iter().filter(|one| one.label("instance") == instance && one.label("kind") == "a");
        let stored: BTreeSet<u64> = of.flat_map(|one| &one.samples).map(|(_, value)| *value as u64).collect();
        let pages = served.of(&instance);
        let calm: Vec<_> = pages.iter().filter(|page| page.at >= CALM && page.at < EMPTIED).collect();
        ensure!(!calm.is_empty(), "{instance} was not asked once all was well");
        for page in calm.into_iter().filter(|page| !page.is_slow) {
            ensure!(stored.contains(&page.work[0]), "{instance}: {page:?} is lost");
        }
    }
    Ok(())
}

/// Returns the series without the markers that end it.
fn without_ends(mut series: RawSeries) -> RawSeries {
    series.samples.retain(|(_, value)| !is_stale(*value));
    series
}

/// Checks the rows of every primary and global aggregator.
fn check_replicas(
    plan: &Plan,
    left: &BTreeMap<&str, Left<'_>>,
    expected: &BTreeMap<&str, (Vec<RawSeries>, BTreeMap<Row, Point>)>,
    wiped: &BTreeMap<String, Duration>,
) -> Result<()> {
    for of in left.values().filter(|of| of.node.role != Role::Secondary) {
        for (datacenter, (series, expected)) in expected {
            if of.node.role == Role::Primary && of.node.datacenter != *datacenter {
                continue;
            }
            let whole_from = whole_from(plan, of.node, datacenter, wiped);
            let (grid, unsure) = (grid(plan), unsure(plan, datacenter));
            let is_sure = |start: i64| {
                let is_whole = whole_from.is_none_or(|from| start >= from);
                is_whole && start < grid.end_ms && !unsure.contains(&start)
            };
            let mut rows = of.rows(datacenter)?;
            rows.points.retain(|(_, start), _| is_sure(*start));
            let mut expected = expected.clone();
            expected.retain(|(_, start), _| is_sure(*start));
            let place = || format!("{} has of {datacenter}", of.node.name);
            check_rows(&rows, &expected).with_context(place)?;
            // Slots are expected from the first list on, which not all have read at the same moment.
            let first = window_at(plan, FAULTS_FROM);
            for start_ms in grid.starts().filter(|start| is_sure(*start) && *start >= first) {
                let window = Grid { start_ms, end_ms: start_ms + grid.window_ms, ..grid };
                check_coverage(&rows, series, window, datacenter).with_context(place)?;
            }
        }
    }
    Ok(())
}

/// Returns from when on the windows of a datacenter must be whole at a node, if data was lost on their way.
fn whole_from(plan: &Plan, at: &Node, datacenter: &str, wiped: &BTreeMap<String, Duration>) -> Option<i64> {
    let lossy = plan
        .nodes
        .iter()
        .filter(|node| node.name == at.name || node.role != Role::Global && node.datacenter == datacenter);
    let restarts = lossy.filter_map(|node| wiped.get(&node.name));
    restarts.max().map(|restart| window_at(plan, *restart + LOSS))
}
