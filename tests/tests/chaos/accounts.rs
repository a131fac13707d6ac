//! The accounts of all hops, as each end says.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use firetower_tests::Tree;

const ACCOUNT: &str = "firetower_relay_account_samples{";
const RESIDUAL: &str = "firetower_relay_account_residual_samples{";
const RECEIVED: &str = "firetower_relay_received_samples{";
const EXCESS: &str = "firetower_relay_received_excess_samples{";

/// One child's account with one parent, by its own count, beside the parent's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) collected: u64,
    pub(crate) delivered: u64,
    pub(crate) queued: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Of the child's present data directory, and of earlier ones.
    pub(crate) applied: u64,
    pub(crate) applied_before: u64,
}

/// All hops, by child and parent.
pub(crate) type Hops = BTreeMap<(String, String), Hop>;

/// Reads the accounts of all hops.
///
/// # Errors
/// If a monitor does not answer, or an account does not close: no moment excuses that.
pub(crate) fn read(tree: &Tree) -> Result<Hops> {
    let mut hops = Hops::new();
    tree.node_names().iter().try_for_each(|name| read_of(tree, name, &mut hops))?;
    Ok(hops)
}

/// Returns how many samples the monitor `name` has delivered and applied.
///
/// # Errors
/// Those of [`read`].
pub(crate) fn passed(tree: &Tree, name: &str) -> Result<u64> {
    let mut hops = Hops::new();
    read_of(tree, name, &mut hops)?;
    Ok(hops.values().map(|hop| hop.delivered + hop.applied).sum())
}

fn read_of(tree: &Tree, name: &str, hops: &mut Hops) -> Result<()> {
    let (status, page) = tree.ask(name).get("/metrics")?;
    ensure!(status == 200, "{name}: status {status}");
    page.lines().try_for_each(|line| read_line(name, line, hops))
}

fn read_line(name: &str, line: &str, hops: &mut Hops) -> Result<()> {
    let Some((series, value)) = line.rsplit_once(' ') else { return Ok(()) };
    let label = |key: &str| Some(series.split_once(&format!("{key}=\""))?.1.split_once('"')?.0.to_owned());
    let count = || value.parse::<f64>().map(|count| count as u64).with_context(|| line.to_owned());
    if series.starts_with(RESIDUAL) || series.starts_with(EXCESS) {
        ensure!(value.parse::<f64>() == Ok(0.0), "an account of {name} does not close: {line}");
    } else if series.starts_with(ACCOUNT) {
        let (parent, term) = (label("parent").context("parent")?, label("term").context("term")?);
        let hop = hops.entry((name.to_owned(), parent)).or_default();
        match term.as_str() {
            "collected" => hop.collected = count()?,
            "delivered" => hop.delivered = count()?,
            "queued" => hop.queued = count()?,
            _ => *hop.dropped.entry(label("reason").context("reason")?).or_default() += count()?,
        }
    } else if series.starts_with(RECEIVED) {
        let (child, term) = (label("child").context("child")?, label("term").context("term")?);
        let hop = hops.entry((child, name.to_owned())).or_default();
        match term.as_str() {
            "applied" => hop.applied = count()?,
            "applied_before" => hop.applied_before = count()?,
            _ => {}
        }
    }
    Ok(())
}

/// Checks that nothing is on its way and both ends of each hop count the same.
///
/// # Errors
/// With the first hop that is not there yet.
pub(crate) fn check_drained(hops: &Hops) -> Result<()> {
    for ((child, parent), hop) in hops {
        ensure!(hop.queued == 0, "{child} has {} samples on their way to {parent}", hop.queued);
        ensure!(hop.applied == hop.delivered, "{parent} applied other than {child} delivered: {hop:?}");
    }
    Ok(())
}

/// Checks the accounts once all is drained; `wiped` have lost their data directory some time, and the disk of `full` was full.
///
/// # Errors
/// With the first that is wrong.
pub(crate) fn check(tree: &Tree, hops: &Hops, wiped: &[&str], full: &[String]) -> Result<()> {
    for ((child, parent), hop) in hops {
        let dropped: u64 = hop.dropped.values().sum();
        let of = |reason: &str| hop.dropped.get(reason).copied().unwrap_or(0);
        let (parent_lost, disk_full) = (of("parent_lost"), of("disk_full"));
        let residual = i128::from(hop.collected) - i128::from(hop.delivered) - i128::from(dropped);
        ensure!(residual == 0, "the account of {child} with {parent} does not close: {hop:?}");
        // There may be no other loss than a parent's, and that of a secondary which had no room.
        ensure!(dropped == parent_lost + disk_full, "{child} has dropped samples for {parent}: {hop:?}");
        ensure!(disk_full == 0 || full.contains(child), "{child} had room for all samples: {hop:?}");
        ensure!(
            parent_lost == 0 || wiped.contains(&parent.as_str()),
            "{parent} has lost what it acknowledged: {hop:?}"
        );
        let below = tree.children(child);
        if !below.is_empty() && !wiped.contains(&child.as_str()) {
            let hops_below = below.iter().map(|name| &hops[&(name.clone(), child.clone())]);
            let applied: u64 = hops_below.map(|hop| hop.applied + hop.applied_before).sum();
            ensure!(hop.collected == applied, "{child} applied {applied} samples and collected others: {hop:?}");
        }
    }
    Ok(())
}
