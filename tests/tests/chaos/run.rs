//! One run: a tree, its faults, and what must hold afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use firetower_benches::sleep;
use firetower_tests::{Layout, Tree};

use crate::act::{Loss, Ongoing};
use crate::check::check;
use crate::plan::{Fault, Kind, rounds};
use crate::report::{Report, invariants};
use crate::usage::Baseline;

/// How often it is looked at what goes on.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn layout() -> Layout {
    Layout {
        globals: 2,
        datacenters: 2,
        primaries: 2,
        secondaries: 2,
        targets: 10,
        series: 30,
        is_secure: true,
        has_hosts: true,
        has_disks: true,
        more: "store_memory: 16MiB\nretention: { free: 8MiB }\n".to_owned(),
        ..Layout::default()
    }
}

/// Runs `faults` faults of `seed`, and prints what became of them.
///
/// # Errors
/// With the first violation.
pub(crate) fn run(seed: u64, faults: usize) -> Result<()> {
    let started = Instant::now();
    Tree::check(layout(), |tree| {
        let mut report = Report::default();
        let ended = break_and_check(tree, seed, faults, &mut report);
        println!("\nseed {seed}:\n{}", report.faults());
        let compared = ended?;
        let seconds = started.elapsed().as_secs_f64();
        println!("{compared}seed {seed}: no violation after {faults} faults, in {seconds:.0} s");
        Ok(())
    })
}

/// Returns what was compared.
fn break_and_check(tree: &mut Tree, seed: u64, faults: usize, report: &mut Report) -> Result<String> {
    let rounds = rounds(tree, seed, faults);
    let is_full = |fault: &&Fault| fault.kind == Kind::FullDisk;
    let full: Vec<String> = rounds.iter().flatten().filter(is_full).map(|fault| fault.node.clone()).collect();
    wait_whole(tree)?;
    let (mut baseline, mut losses) = (Baseline::default(), Vec::new());
    baseline.note_new(tree)?;
    let mut done = 0;
    for round in rounds {
        let told: Vec<String> = round.iter().map(told).collect();
        println!("seed {seed}, {} of {faults}: {}", done + round.len(), told.join("; "));
        done += round.len();
        losses.extend(go_through(tree, round, report)?);
        wait_whole(tree).context("after a round of faults")?;
        baseline.note_new(tree)?;
    }
    let figures = check(tree, (&losses, &full), &baseline, layout().interval_ms)?;
    Ok(invariants(&figures))
}

fn told(fault: &Fault) -> String {
    let link = fault.parent.as_ref().map_or(String::new(), |parent| format!(" > {parent}"));
    format!("{}: {}{link}", fault.kind.name(), fault.node)
}

/// Brings the faults of a round about, and waits until all is well after each; returns what was lost.
fn go_through(tree: &mut Tree, round: Vec<Fault>, report: &mut Report) -> Result<Vec<Loss>> {
    let begin = |fault| Ongoing::begin(tree, fault);
    let mut ongoing = round.into_iter().map(begin).collect::<Result<Vec<_>>>()?;
    let mut losses = Vec::new();
    while !ongoing.is_empty() {
        tree.check_running()?;
        let mut left = Vec::new();
        for mut one in ongoing {
            if one.go_on(tree)? {
                report.add(&one);
                losses.extend(one.loss);
            } else {
                left.push(one);
            }
        }
        ongoing = left;
        sleep(LOOK_EVERY)?;
    }
    Ok(losses)
}

/// Waits until a window that began now is whole at each global aggregator.
fn wait_whole(tree: &Tree) -> Result<()> {
    let tops: Vec<String> = tree.node_names().into_iter().filter(|name| tree.parents(name).is_empty()).collect();
    tops.iter().try_for_each(|name| tree.wait_complete(name).map(drop))
}
