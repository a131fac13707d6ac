//! SIGTERM drains in the order data flows; what was seen is there after the restart.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use firetower_tests::{Layout, RawSeries, Tree};

#[test]
fn a_stopped_tree_has_lost_nothing() -> Result<()> {
    Tree::check(Layout { targets: 10, ..Layout::default() }, |tree| {
        tree.wait_complete("global-0")?;
        tree.stop_fleet()?;
        tree.wait_sampled("dub-s0", 2)?;
        let (grid, before) = (tree.grid(), tree.raw()?);
        tree.wait_exact("global-0", grid)?;
        let rows = tree.rows("global-0", grid)?;
        for name in ["dub-s0", "dub-s1", "dub-p0", "global-0"] {
            let status = tree.stop(name)?;
            ensure!(status.code() == Some(0), "{name} ended with {status}");
        }
        for name in tree.node_names() {
            tree.restart(&name)?;
        }
        let after: BTreeMap<_, _> = tree.raw()?.into_iter().map(|series| (series.labels, series.samples)).collect();
        for RawSeries { labels, samples } in before {
            let kept = after.get(&labels).map_or(&[][..], Vec::as_slice);
            ensure!(samples.iter().all(|sample| kept.contains(sample)), "{labels:?}: {samples:?} became {kept:?}");
        }
        ensure!(tree.rows("global-0", grid)? == rows, "the rows changed by a restart");
        Ok(())
    })
}

#[test]
fn a_child_stops_without_its_parent_and_delivers_later() -> Result<()> {
    Tree::check(Layout { secondaries: 1, targets: 5, ..Layout::default() }, |tree| {
        tree.wait_complete("global-0")?;
        tree.kill("dub-p0")?;
        tree.wait_sampled("dub-s0", 2)?;
        let grid = tree.grid();
        let status = tree.stop("dub-s0")?;
        ensure!(status.code() == Some(0), "the secondary ended with {status}");
        tree.restart("dub-p0")?;
        tree.restart("dub-s0")?;
        tree.wait_exact("global-0", grid)
    })
}
