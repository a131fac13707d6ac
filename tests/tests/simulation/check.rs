//! What must hold once everything has settled, read from the disks that are left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_model::{Account, Assignment, Select, TimeRange, Timestamp, is_stale};
use firetower_store::{DataDirectory, Options, Outbox, Receiver, RowQuery, RowTier, RowValue, Store};
use firetower_tests::{Coverage, Grid, Point, RawSeries, Row, RowKey, Rows, check_coverage, check_rows, expected_rows};

use crate::monitors::Site;
use crate::plan::{CALM, EMPTIED, FAULTS_FROM, INTERVAL, Node, Plan, Role, WINDOW};
use crate::served::{PAST_NAME, Served};

/// How long around the loss of a data directory its windows are not whole.
const LOSS: Duration = Duration::from_secs(10);
/// How long before the lists are emptied windows may be in the one list or the other.
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
    for datacenter in plan.datacenters.keys() {
        let mut leaves = Vec::new();
        for node in plan.of_role(Role::Secondary, datacenter) {
            let raw = left[node.name.as_str()].raw()?;
            check_served(plan, &raw, served).with_context(|| node.name.clone())?;
            // Samples that came too late are in no row.
            let raw = raw.into_iter().filter(|series| series.label("__name__") != PAST_NAME).map(without_ends);
            leaves.push(Leaf { shares: left[node.name.as_str()].shares()?, series: raw.collect() });
        }
        let all: Vec<RawSeries> = leaves.iter().flat_map(|leaf| leaf.series.iter().cloned()).collect();
        check_calm(plan, datacenter, &all, served)?;
        expected.insert(datacenter.as_str(), spans(&leaves, grid(plan)));
    }
    check_replicas(plan, &left, &expected, wiped)
}

/// What is left of a secondary: its shares, the oldest first, and its series.
struct Leaf {
    shares: Vec<Assignment>,
    series: Vec<RawSeries>,
}

impl Leaf {
    /// Returns the series of the targets that are its own from `at_ms` on until its next share holds, with the samples since
    /// they are that.
    fn own(&self, at_ms: i64) -> impl Iterator<Item = RawSeries> {
        let holding = self.shares.iter().rposition(|share| share.effective_from.as_millis() <= at_ms).unwrap_or(0);
        let shares = self.shares.get(..=holding).unwrap_or_default();
        self.series.iter().filter_map(move |series| {
            let instance = Some(series.label("instance"));
            let is_own = |share: &Assignment| share.targets.iter().any(|one| one.labels.get("instance") == instance);
            let broken = shares.iter().rposition(|share| !is_own(share));
            let since = match broken {
                Some(broken) => shares.get(broken + 1)?.effective_from.as_millis(),
                None => shares.first().map(|_| i64::MIN)?,
            };
            let mut own = series.clone();
            own.samples.retain(|(at, _)| *at >= since);
            Some(own)
        })
    }
}

/// Windows in which no target moves, the series that are in them, and the rows that these make.
struct Span {
    grid: Grid,
    series: Vec<RawSeries>,
    rows: BTreeMap<Row, Point>,
}

/// Cuts the windows of `grid` where a share of any leaf begins to hold.
fn spans(leaves: &[Leaf], grid: Grid) -> Vec<Span> {
    let starts = leaves.iter().flat_map(|leaf| &leaf.shares).map(|share| share.effective_from.as_millis());
    let mut cuts: BTreeSet<i64> = starts.filter(|at| (grid.start_ms..grid.end_ms).contains(at)).collect();
    cuts.extend([grid.start_ms, grid.end_ms]);
    let span = |(from, to): (&i64, &i64)| {
        let series: Vec<RawSeries> = leaves.iter().flat_map(|leaf| leaf.own(*from)).collect();
        let grid = Grid { start_ms: *from, end_ms: *to, ..grid };
        Span { rows: expected_rows(&series, grid), grid, series }
    };
    cuts.iter().zip(cuts.iter().skip(1)).map(span).collect()
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

    /// Returns which targets it was to scrape, the newest list last.
    fn shares(&self) -> Result<Vec<Assignment>> {
        let mut shares: Vec<Assignment> = Vec::new();
        for (_, bytes) in self.store.assignments()? {
            let share = firetower_wire::decode_assignment(&bytes)?;
            // Those that it takes the place of before they begin never hold.
            shares.retain(|earlier| earlier.effective_from < share.effective_from);
            shares.push(share);
        }
        Ok(shares)
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
    expected: &BTreeMap<&str, Vec<Span>>,
    wiped: &BTreeMap<String, Duration>,
) -> Result<()> {
    for of in left.values().filter(|of| of.node.role != Role::Secondary) {
        for (datacenter, spans) in expected {
            if of.node.role == Role::Primary && of.node.datacenter != *datacenter {
                continue;
            }
            let place = || format!("{} has of {datacenter}", of.node.name);
            let whole_from = whole_from(plan, of.node, datacenter, wiped);
            let is_whole = |start: i64| whole_from.is_none_or(|from| start >= from);
            let mut rows = of.rows(datacenter)?;
            // Where a primary has lost who had which targets, nobody tells a secondary that was away that some have moved.
            rows.points.retain(|(_, start), _| is_whole(*start));
            check_twice(&rows, u64::from(plan.datacenters[*datacenter]), plan).with_context(place)?;
            rows.points.retain(|(_, start), _| *start < grid(plan).end_ms);
            let expected = spans.iter().flat_map(|span| span.rows.clone());
            check_rows(&rows, &expected.filter(|((_, start), _)| is_whole(*start)).collect()).with_context(place)?;
            // Slots are expected from the first list on, which not all have read at the same moment.
            let first = window_at(plan, FAULTS_FROM);
            for Span { grid, series, .. } in spans {
                // The other primary may have read the list a little later, and expects fewer or more slots until then.
                let sure = grid.start_ms + if grid.start_ms > first { 2 * grid.window_ms } else { 0 };
                for start_ms in grid.starts().filter(|start| is_whole(*start) && *start >= first.max(sure)) {
                    let window = Grid { start_ms, end_ms: start_ms + grid.window_ms, ..*grid };
                    check_coverage(&rows, series, window, datacenter).with_context(place)?;
                }
            }
        }
    }
    Ok(())
}

/// Checks that no target is in a window twice, whoever scraped it: not one more than there are may be counted.
fn check_twice(rows: &Rows, targets: u64, plan: &Plan) -> Result<()> {
    for ((key, start), point) in rows.points.iter().filter(|((key, _), _)| key.name == "up") {
        let since = start - plan.begin_ms;
        ensure!(point.series <= targets, "{} of {targets} targets at {since} ms: {key:?}", point.series);
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
