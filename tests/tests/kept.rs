//! Labels with too many values are dropped while everything runs, and dies; no sum changes by it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Layout, Pods, Tree, now_ms, wait_for};

const TARGETS: usize = 12;
const LIMIT: Duration = Duration::from_secs(60);
const NODES: [&str; 4] = ["dub-p0", "dub-p1", "dub-s0", "dub-s1"];

/// Waits until all monitors of the datacenter have decided to drop `labels` of each name; returns from when on.
fn wait_dropped(tree: &Tree, labels: &[&str]) -> Result<i64> {
    wait_for(&format!("{labels:?} are dropped"), LIMIT, || {
        let kept = NODES.iter().map(|node| tree.kept(node)).collect::<Result<Vec<_>>>()?;
        ensure!(kept.iter().all(|one| *one == kept[0]), "not yet the same: {kept:?}");
        let of_all = kept[0].iter().filter(|dropped| labels.contains(&dropped.label.as_str()));
        let from: Vec<i64> = of_all.filter_map(|dropped| dropped.from_ms).collect();
        ensure!(from.len() == 2 * labels.len(), "{kept:?}");
        from.into_iter().max().map(Some).context("no label")
    })
}

#[test]
fn sums_survive_whatever_is_dropped_and_whoever_dies() -> Result<()> {
    let pods = Pods::start(TARGETS)?;
    let layout = Layout {
        primaries: 2,
        targets: TARGETS,
        addresses: pods.addresses().to_vec(),
        more: "rows: { kept_label_values: 8, per_job: 1000 }\n".into(),
        ..Layout::default()
    };
    Tree::check(layout, |tree| {
        tree.wait_complete("global-0")?;
        // No secondary has more than eight zones, all together have twelve.
        wait_dropped(tree, &["zone"])?;
        pods.churn();
        let dropped_ms = wait_dropped(tree, &["id", "pod", "zone"])?;
        wait_for("the decision holds", LIMIT, || Ok((now_ms() > dropped_ms).then_some(())))?;
        for (victim, witness) in [("dub-p0", "dub-s0"), ("dub-p1", "dub-s0"), ("dub-s0", "dub-s1")] {
            tree.kill(victim)?;
            tree.wait_sampled(witness, 2)?;
            tree.restart(victim)?;
            tree.wait_complete("global-0")?;
        }
        let dropped = tree.kept("dub-p0")?;
        for node in NODES {
            ensure!(tree.kept(node)? == dropped, "{node} has come to another decision than dub-p0");
        }
        let grid = tree.grid();
        tree.wait_exact_without("global-0", grid, &dropped)?;

        let names: BTreeSet<&str> = dropped.iter().map(|dropped| dropped.label.as_str()).collect();
        ensure!(names == BTreeSet::from(["id", "pod", "zone"]), "{dropped:?}");
        let late = tree.rows("global-0", tree.grid_since(dropped_ms))?;
        let keys: BTreeSet<_> = late.points.keys().map(|(key, _)| key).collect();
        let with_dropped = keys.iter().find(|key| names.iter().any(|label| key.labels.contains_key(*label)));
        ensure!(with_dropped.is_none(), "{with_dropped:?} is there after it was dropped");
        ensure!(keys.iter().any(|key| key.labels.contains_key("namespace")), "{keys:?}");
        Ok(())
    })
}
