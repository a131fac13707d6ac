//! Reloads change what they should, say what they cannot, and cost an unchanged target no scrape.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Layout, Tree, wait_for};

const LIMIT: Duration = Duration::from_secs(60);
const INTERVAL_MS: i64 = 2_000;

fn layout() -> Layout {
    Layout { targets: 24, interval_ms: INTERVAL_MS, window_ms: 4_000, ..Layout::default() }
}

/// Writes the topology anew and has all monitors read it; returns what each said.
fn reload(tree: &Tree, text: &str) -> Result<BTreeMap<String, (u16, String)>> {
    fs::write(tree.topology(), text)?;
    tree.node_names().into_iter().map(|name| Ok((name.clone(), tree.ask(&name).post("/-/reload")?))).collect()
}

fn check_reloaded(said: &BTreeMap<String, (u16, String)>) -> Result<()> {
    for (name, answer) in said {
        ensure!(*answer == (200, "reloaded\n".to_owned()), "{name}: {answer:?}");
    }
    Ok(())
}

/// Waits until `count` targets of `job` have been scraped since `after_ms`.
fn wait_scraped(tree: &Tree, job: &str, count: usize, after_ms: i64) -> Result<()> {
    wait_for(&format!("{count} targets of {job}"), LIMIT, || {
        let mut found = 0;
        for name in tree.secondaries() {
            let ups = tree.ask(&name).series(&format!("up{{job=\"{job}\"}}[1m]"))?;
            found += ups.iter().filter(|up| up.samples.iter().any(|(at, _)| *at > after_ms)).count();
        }
        Ok((found >= count).then_some(()))
    })
}

/// Checks that each target was asked once for each of its slots, but for those that its secondary says it skipped.
fn check_slots(tree: &Tree) -> Result<()> {
    let mut asked: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for response in tree.log()? {
        asked.entry(response.target).or_default().push(response.requested_ms);
    }
    let mut missed = 0;
    for (target, mut times) in asked {
        times.sort_unstable();
        let span = times.last().context("asked at least once")? - times[0];
        let slots = (span + INTERVAL_MS / 2) / INTERVAL_MS + 1;
        let asked = times.len() as i64;
        ensure!(asked <= slots, "target {target} was asked {asked} times in {slots} slots: {times:?}");
        missed += slots - asked;
    }
    let mut skipped = 0.0;
    for name in tree.secondaries() {
        skipped += tree.ask(&name).metric("firetower_scrape_skipped_slots_total")?.unwrap_or(0.0);
    }
    ensure!(missed as f64 <= skipped, "{missed} slots were missed, {skipped} are said to be skipped");
    Ok(())
}

#[test]
fn other_jobs_come_change_and_go_and_no_scrape_is_lost() -> Result<()> {
    Tree::check(layout(), |tree| {
        tree.wait_complete("global-0")?;
        let plain = fs::read_to_string(tree.topology())?;
        let with = |interval: &str, ports: &[u16]| {
            let targets: Vec<String> = ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
            let targets = targets.join(", ");
            format!(
                "{plain}          - job_name: other\n            scrape_interval: {interval}\n            scrape_timeout: 1s\n            static_configs: [ {{ targets: [ {targets} ] }} ]\n"
            )
        };
        check_reloaded(&reload(tree, &with("1s", &[1, 2, 3]))?)?;
        wait_scraped(tree, "other", 3, 0)?;
        check_reloaded(&reload(tree, &with("3s", &[1, 2, 3, 4, 5, 6, 7, 8, 9]))?)?;
        wait_scraped(tree, "other", 9, 0)?;
        let kept = with("3s", &[1, 2, 4]) + "retention: { raw: 2h }\n";
        check_reloaded(&reload(tree, &kept)?)?;
        for said in reload(tree, &kept.replace("[ '127.0.0.1:1', ", "[ '127.0.0.1:1' }, "))?.values() {
            ensure!(
                said.0 == 500 && said.1.contains("topology.yaml:1") && said.1.ends_with("nothing was changed\n"),
                "{said:?}"
            );
        }
        let held = "reloaded\nchanged, and held after a restart only: ";
        let said = reload(tree, &(kept + "rows: { per_job: 7000 }\nstore_memory: 128MiB\n"))?;
        ensure!(said["dub-s0"].1 == format!("{held}store_memory, rows\n"), "{said:?}");
        ensure!(said["global-0"].1 == format!("{held}store_memory\n"), "{said:?}");
        check_reloaded(&reload(tree, &plain)?)?;
        // The first steps of a target that has moved have no predecessor where it is now.
        tree.wait_complete("global-0")?;
        let from_ms = tree.wait_complete("global-0")?;
        tree.wait_exact("global-0", tree.grid_since(from_ms))?;
        tree.stop_fleet()?;
        check_slots(tree)
    })
}

#[test]
fn secondaries_leave_and_come_back_and_no_scrape_is_lost() -> Result<()> {
    Tree::check(Layout { secondaries: 3, ..layout() }, |tree| {
        tree.wait_complete("global-0")?;
        let all = fs::read_to_string(tree.topology())?;
        let leaver = all.split("{ node: dub-s2").nth(1).and_then(|rest| rest.split(" }").next()).context("dub-s2")?;
        let without = all.replace(&format!(", {{ node: dub-s2{leaver} }}"), "");
        ensure!(without != all, "{all}");
        let said = reload(tree, &without)?;
        ensure!(said["dub-p0"] == (200, "reloaded\n".to_owned()), "{said:?}");
        let text = "dub-s2 is no secondary of the topology any more\nnothing was changed\n";
        ensure!(said["dub-s2"] == (500, text.to_owned()), "{said:?}");
        wait_for("dub-s2 has no targets", LIMIT, || {
            let targets = tree.ask("dub-s2").metric("firetower_targets{state=\"online\"}")?;
            Ok((targets == Some(0.0)).then_some(()))
        })?;
        tree.wait_complete("global-0")?;
        check_reloaded(&reload(tree, &all)?)?;
        wait_for("dub-s2 has targets again", LIMIT, || {
            let targets = tree.ask("dub-s2").metric("firetower_targets{state=\"online\"}")?;
            Ok(targets.filter(|targets| *targets > 0.0))
        })?;
        tree.wait_complete("global-0")?;
        let back_ms = tree.wait_complete("global-0")?;
        tree.wait_exact("global-0", tree.grid_since(back_ms))?;
        tree.stop_fleet()?;
        check_slots(tree)
    })
}

#[test]
fn a_signal_reloads_and_a_broken_file_is_refused_with_its_place() -> Result<()> {
    Tree::check(Layout { secondaries: 1, targets: 2, ..layout() }, |tree| {
        tree.wait_complete("global-0")?;
        let plain = fs::read_to_string(tree.topology())?;
        fs::write(tree.topology(), plain.replace("regions:", "regionz:"))?;
        for name in tree.node_names() {
            tree.signal(&name, "HUP")?;
            wait_for(&format!("{name} refuses"), LIMIT, || {
                let said = tree.said(&name)?;
                let is_refused = said.contains("reload refused, nothing was changed");
                Ok((is_refused && said.contains("topology.yaml:4:1: unknown key")).then_some(()))
            })?;
        }
        fs::write(tree.topology(), plain)?;
        for name in tree.node_names() {
            tree.signal(&name, "HUP")?;
            wait_for(&format!("{name} reloads"), LIMIT, || Ok(tree.said(&name)?.contains("reloaded").then_some(())))?;
        }
        tree.wait_complete("global-0").map(drop)
    })
}
