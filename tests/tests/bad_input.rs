//! Malformed, slow and hung targets; a topology that is wrong.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Layout, RawSeries, Tree, firetower};

/// Targets 14 and 15 are malformed, 16 and 17 slow, 18 and 19 hung.
const MALFORMED: [usize; 2] = [14, 15];
const HUNG: [usize; 2] = [18, 19];

#[test]
fn bad_targets_do_not_delay_good_ones() -> Result<()> {
    let trouble = ["--malformed", "2", "--slow", "2", "--latency-ms", "300", "--hang", "2"];
    let layout =
        Layout { secondaries: 1, fleet: trouble.map(str::to_owned).to_vec(), interval_ms: 1_000, ..Layout::default() };
    Tree::check(layout, |tree| {
        let from_ms = tree.wait_complete("global-0")?;
        tree.wait_sampled("dub-s0", 4)?;
        let grid = tree.grid_since(from_ms);
        let raw = tree.raw()?;
        for one in &raw {
            check_target(one, grid.start_ms, grid.end_ms).with_context(|| format!("{:?}", one.labels))?;
        }
        let ups = raw.iter().filter(|one| one.label("__name__") == "up").count();
        ensure!(ups == 20, "{ups} targets have up");
        tree.wait_exact("global-0", grid)
    })
}

fn check_target(one: &RawSeries, start_ms: i64, end_ms: i64) -> Result<()> {
    let instance = one.label("instance");
    let target: usize = instance.trim_start_matches("host-").split(':').next().unwrap_or("").parse()?;
    let is_bad = MALFORMED.contains(&target) || HUNG.contains(&target);
    let inside: Vec<(i64, f64)> =
        one.samples.iter().filter(|(at, _)| (start_ms..end_ms).contains(at)).copied().collect();
    let is_own = one.label("__name__") == "up" || one.label("__name__").starts_with("scrape_");
    if !is_own {
        ensure!(!is_bad, "something of a bad page is stored");
        return Ok(());
    }
    if one.label("__name__") == "up" {
        let expected = if is_bad { 0.0 } else { 1.0 };
        ensure!(inside.iter().all(|(_, up)| *up == expected), "{inside:?}");
    }
    // A busy machine may miss a slot; a target that waits for others would miss most.
    let slots = (end_ms - start_ms) / 1_000;
    ensure!(inside.len() as i64 * 10 >= slots * 9, "{} of {slots} slots: {inside:?}", inside.len());
    Ok(())
}

#[test]
fn a_wrong_topology_is_refused_with_its_places() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("wrong.yaml");
    fs::write(
        &file,
        "firetower: 1\nglobal:\n  - { node: g, http: 127.0.0.1:1, grpc: 127.0.0.1:2, colour: red }\nregionz: []\n",
    )?;
    for role in ["secondary", "primary", "global"] {
        let mut command = Command::new(firetower()?);
        command.args([role, "--node", "g", "--topology"]).arg(&file).arg("--data").arg(directory.path().join("data"));
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{role} ended with {}: {said}", output.status);
        for place in ["wrong.yaml:3:54: ", "wrong.yaml:4:1: "] {
            ensure!(said.contains(place), "{role}: no {place:?} in\n{said}");
        }
        ensure!(said.contains("colour") && said.contains("regionz"), "{said}");
    }
    let output = Command::new(firetower()?).args(["check", "topology"]).arg(&file).output()?;
    ensure!(output.status.code() == Some(1), "check ended with {}", output.status);
    ensure!(String::from_utf8_lossy(&output.stderr).contains("wrong.yaml:4:1: "), "{output:?}");
    Ok(())
}
