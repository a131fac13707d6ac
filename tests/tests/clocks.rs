//! Hosts whose clocks are wrong: times rise, nothing is lost, and it is said whose clock it is.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Layout, Tree, now_ms, wait_for};

const LIMIT: Duration = Duration::from_secs(90);

fn layout() -> Layout {
    Layout { secondaries: 1, targets: 8, ..Layout::default() }
}

/// Checks that each target's `up` has one sample a time, and that all are of about now.
fn check_times(tree: &Tree, slack_ms: i64) -> Result<()> {
    for up in tree.ask("dub-s0").series("up{job=\"fleet\"}[2h]")? {
        let times: Vec<i64> = up.samples.iter().map(|(at, _)| *at).collect();
        ensure!(times.is_sorted_by(|a, b| a < b), "{:?}: {times:?}", up.labels);
        let (first, last) = (times.first().context("no sample")?, times.last().context("no sample")?);
        let now = now_ms();
        let is_near = |at: i64| (now - 600_000..now + slack_ms).contains(&at);
        ensure!(is_near(*first) && is_near(*last), "{:?}: {first} to {last}, while it is {now}", up.labels);
    }
    Ok(())
}

fn ahead_seconds(tree: &Tree, parent: &str, child: &str) -> Result<Option<f64>> {
    tree.ask(parent).metric(&format!("firetower_clock_child_ahead_seconds{{child=\"{child}\"}}"))
}

#[test]
fn a_host_ten_minutes_off_takes_its_parents_time_at_the_start_and_jumps_are_of_no_matter() -> Result<()> {
    Tree::check(layout(), |tree| {
        tree.wait_complete("global-0")?;
        for name in ["dub-p0", "dub-s0"] {
            tree.stop(name)?;
            tree.set_system_clock(name, 600)?;
            tree.restart(name)?;
        }
        let from_ms = tree.wait_complete("global-0")?;
        for seconds in [3_600, -3_600, 600] {
            for name in ["dub-p0", "dub-s0"] {
                tree.set_system_clock(name, seconds)?;
            }
            tree.wait_sampled("dub-s0", 1)?;
        }
        tree.wait_exact("global-0", tree.grid_since(from_ms))?;
        for (parent, child) in [("global-0", "dub-p0"), ("dub-p0", "dub-s0")] {
            wait_for(&format!("{child} is near {parent}"), LIMIT, || {
                Ok(ahead_seconds(tree, parent, child)?.filter(|ahead| ahead.abs() < 1.0))
            })?;
        }
        check_times(tree, 5_000)
    })
}

#[test]
fn a_system_clock_that_was_set_back_makes_no_time_come_twice() -> Result<()> {
    Tree::check(layout(), |tree| {
        tree.wait_complete("global-0")?;
        tree.wait_sampled("dub-s0", 2)?;
        // Without a parent it has only the system's clock, and what it has stamped before.
        tree.stop("dub-p0")?;
        tree.stop("dub-s0")?;
        let stopped_ms = now_ms();
        tree.set_system_clock("dub-s0", -3_600)?;
        tree.restart("dub-s0")?;
        wait_for("samples after the restart", LIMIT, || {
            let ups = tree.ask("dub-s0").series("up{job=\"fleet\"}[2h]")?;
            let newest = ups.iter().flat_map(|up| &up.samples).map(|(at, _)| *at).max();
            Ok(newest.filter(|newest| *newest > stopped_ms))
        })?;
        check_times(tree, 5_000)?;
        tree.restart("dub-p0")?;
        tree.wait_complete("global-0")?;
        check_times(tree, 5_000)
    })
}

#[test]
fn windows_from_the_future_wait_for_their_time_and_are_not_lost() -> Result<()> {
    const AHEAD_SECONDS: i64 = 30;
    Tree::check(layout(), |tree| {
        tree.wait_complete("global-0")?;
        tree.stop("dub-p0")?;
        tree.stop("dub-s0")?;
        tree.set_system_clock("dub-s0", AHEAD_SECONDS)?;
        let from_ms = now_ms() + AHEAD_SECONDS * 1_000;
        tree.restart("dub-s0")?;
        tree.restart("dub-p0")?;
        wait_for("windows from the future", LIMIT, || {
            let early = tree.ask("dub-p0").metric("firetower_relay_early_windows_total{peer=\"dub-s0\"}")?;
            Ok(early.filter(|early| *early >= 2.0))
        })?;
        let ahead = wait_for("its clock is said to be ahead", LIMIT, || ahead_seconds(tree, "dub-p0", "dub-s0"))?;
        ensure!((ahead - AHEAD_SECONDS as f64).abs() < 5.0, "{ahead}");
        let status = tree.ask("global-0").json("/api/v1/status")?;
        let primary = &status["data"]["regions"][0]["datacenters"][0];
        let newest = primary["watermark"]["newest"].as_f64().context("watermark")?;
        ensure!(newest * 1e3 < now_ms() as f64 + 6_000.0, "the watermark is ahead of its time: {primary}");
        wait_for("their time has come", LIMIT, || Ok((now_ms() > from_ms + 8_000).then_some(())))?;
        let grid = tree.grid_since(from_ms + 4_000);
        tree.wait_exact("global-0", grid)
    })
}
