//! Links that fail: what was meanwhile comes behind what is fresh, what had to be dropped is counted, and both ends agree.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_benches::Fault;
use firetower_tests::{Layout, Tree, firetower, wait_for};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn layout() -> Layout {
    Layout { secondaries: 1, targets: 6, series: 40, proxied: true, ..Layout::default() }
}

/// Waits until the link from `child` to `parent` has failed once more than `before` times; returns how often it has.
fn wait_failed(tree: &Tree, child: &str, parent: &str, before: f64) -> Result<f64> {
    wait_for(&format!("{child} finds that {parent} is gone"), PATIENCE, || {
        Ok(Some(failures(tree, child, parent)?).filter(|now| *now > before))
    })
}

fn failures(tree: &Tree, child: &str, parent: &str) -> Result<f64> {
    let metric = format!("firetower_relay_dial_failures_total{{peer=\"{parent}\"}}");
    Ok(tree.ask(child).metric(&metric)?.unwrap_or(0.0))
}

/// Waits until every account closes, and both ends of each hop count the same: between two windows, that is.
fn wait_closed(tree: &Tree) -> Result<()> {
    wait_for("both ends agree", PATIENCE, || {
        let answers = tree.ask("global-0");
        for account in answers.accounts()? {
            ensure!(account.residual() == 0, "{account:?}");
        }
        let received = answers.received()?;
        ensure!(received.len() == 2, "{received:?}");
        for (hop, (applied, delivered)) in received {
            ensure!(Some(applied) == delivered, "{hop:?}: {applied} applied, {delivered:?} delivered");
        }
        Ok(Some(()))
    })?;
    let url = tree.ask("global-0").url();
    let shown = Command::new(firetower()?).args(["status", "--account", "--url", &url]).output()?;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.status.success() && text.contains("dub-s0") && text.contains("RESIDUAL"), "{text}");
    Ok(())
}

#[test]
fn backlog_comes_behind_what_is_fresh_and_every_hop_closes() -> Result<()> {
    Tree::check(layout(), |tree| {
        tree.wait_complete("global-0")?;
        let before = failures(tree, "dub-s0", "dub-p0")?;
        tree.proxy("dub-p0").set_fault(Fault::Hole);
        wait_failed(tree, "dub-s0", "dub-p0", before)?;
        tree.wait_sampled("dub-s0", 10)?;
        // Slow enough that the backlog takes a while.
        tree.proxy("dub-p0").set_rate(8_000);
        tree.proxy("dub-p0").set_fault(Fault::None);
        tree.wait_complete("global-0").context("a fresh window, over a slow link")?;
        tree.proxy("dub-p0").set_rate(0);
        let backlog = "firetower_relay_backlog_frames_total{peer=\"dub-p0\"}";
        wait_for("old frames went behind", PATIENCE, || {
            Ok(tree.ask("dub-s0").metric(backlog)?.filter(|frames| *frames >= 3.0))
        })?;
        let grid = tree.grid();
        tree.wait_exact("global-0", grid)?;
        wait_closed(tree)
    })
}

#[test]
fn what_a_small_outbox_drops_is_counted_and_named() -> Result<()> {
    let more = "outbox: { bytes: 8KiB, age: 1h }\n".to_owned();
    Tree::check(Layout { more, ..layout() }, |tree| {
        tree.wait_complete("global-0")?;
        tree.proxy("dub-p0").set_fault(Fault::Hole);
        let dropped = "firetower_relay_account_samples{parent=\"dub-p0\",term=\"dropped\",reason=\"outbox_full\"}";
        wait_for("the oldest frames are dropped", PATIENCE, || {
            Ok(tree.ask("dub-s0").metric(dropped)?.filter(|samples| *samples > 1_000.0))
        })?;
        tree.proxy("dub-p0").set_fault(Fault::None);
        tree.wait_complete("global-0")?;
        wait_closed(tree)?;
        wait_for("the primary has collected what was delivered to it", PATIENCE, || {
            let accounts = tree.ask("global-0").accounts()?;
            let below = accounts.iter().find(|account| account.dropped > 0).context("nothing was dropped")?;
            let above = accounts.iter().find(|account| account.dropped == 0).context("the primary has dropped some")?;
            ensure!(above.collected == below.delivered, "{below:?} below {above:?}");
            Ok(Some(()))
        })
    })
}

#[test]
fn every_fault_of_a_link_is_found_and_nothing_leaks() -> Result<()> {
    Tree::check(layout(), |tree| {
        tree.wait_complete("global-0")?;
        let mut failed = failures(tree, "dub-s0", "dub-p0")?;
        let open = (tree.open_files("dub-s0")?, tree.open_files("dub-p0")?);
        for fault in [Fault::DeafCaller, Fault::DeafCallee, Fault::Hole, Fault::Reset, Fault::Silent, Fault::Garbage] {
            tree.proxy("dub-p0").set_fault(fault);
            wait_failed(tree, "dub-s0", "dub-p0", failed).with_context(|| format!("{fault:?}"))?;
            tree.proxy("dub-p0").set_fault(Fault::None);
            tree.wait_complete("global-0").with_context(|| format!("after {fault:?}"))?;
            failed = failures(tree, "dub-s0", "dub-p0")?;
        }
        tree.proxy("dub-p0").set_rate(10_000);
        tree.wait_complete("global-0").context("over a slow link")?;
        tree.proxy("dub-p0").set_rate(0);
        wait_for("connections that ended are closed", PATIENCE, || {
            let now = (tree.open_files("dub-s0")?, tree.open_files("dub-p0")?);
            // Files of the store come and go.
            ensure!(now.0 <= open.0 + 8 && now.1 <= open.1 + 8, "{now:?} open, {open:?} before");
            Ok(Some(()))
        })?;
        let grid = tree.grid();
        tree.wait_exact("global-0", grid)?;
        wait_closed(tree)
    })
}

#[test]
fn a_lost_data_directory_is_counted_where_it_is_missed() -> Result<()> {
    Tree::check(Layout { proxied: false, ..layout() }, |tree| {
        for name in ["dub-p0", "dub-s0"] {
            tree.wait_complete("global-0")?;
            tree.kill(name)?;
            std::fs::remove_dir_all(tree.directory().join("data").join(name))?;
            tree.restart(name)?;
        }
        tree.wait_complete("global-0")?;
        wait_closed(tree)?;
        let status = tree.ask("global-0").json("/api/v1/status")?;
        let datacenter = &status["data"]["regions"][0]["datacenters"][0];
        // The new secondary knows nothing of the primary that was lost; the primary knows of the secondary that was.
        let from = &datacenter["primaries"][0]["received"][0];
        ensure!(from["applied_before"].as_u64() > Some(0) && from["incarnation_lost"].is_u64(), "{from}");
        let from = &status["data"]["received"][0];
        ensure!(from["applied_before"].as_u64() > Some(0), "the global aggregator has lost nothing: {from}");
        Ok(())
    })
}

#[test]
fn what_a_parent_has_lost_its_child_counts() -> Result<()> {
    Tree::check(Layout { proxied: false, ..layout() }, |tree| {
        tree.wait_complete("global-0")?;
        tree.kill("dub-p0")?;
        std::fs::remove_dir_all(tree.directory().join("data").join("dub-p0"))?;
        tree.restart("dub-p0")?;
        tree.wait_complete("global-0")?;
        let lost = "firetower_relay_account_samples{parent=\"dub-p0\",term=\"dropped\",reason=\"parent_lost\"}";
        wait_for("the secondary counts what was lost", PATIENCE, || {
            Ok(tree.ask("dub-s0").metric(lost)?.filter(|samples| *samples > 0.0))
        })?;
        wait_closed(tree)
    })
}
