//! The whole tree on real input: everything is up, whole, and adds up to the bit.

use std::time::Duration;

use anyhow::{Result, ensure};
use firetower_tests::{Layout, Tree, check_account, check_served, wait_for};

#[test]
fn everything_that_is_scraped_is_at_the_top() -> Result<()> {
    let layout = Layout::default();
    Tree::check(layout.clone(), |tree| {
        let from_ms = tree.wait_complete("global-0")?;
        for name in tree.secondaries() {
            tree.wait_sampled(&name, 2)?;
        }
        let grid = tree.grid();
        tree.wait_exact("global-0", grid)?;

        let rows = tree.rows("global-0", tree.grid_since(from_ms))?;
        let ups: Vec<_> = rows.points.iter().filter(|((key, _), _)| key.name == "up").collect();
        ensure!(!ups.is_empty(), "no row of up");
        for (row, point) in ups {
            ensure!(point.series == 20 && point.sum == 20.0 && point.min == 1.0, "{row:?}: {point:?}");
        }
        check_served(&tree.page(), &tree.log()?, &tree.raw()?, grid.start_ms, grid.end_ms, layout.interval_ms)?;
        wait_for("accounts close", Duration::from_secs(20), || check_account(&tree.ask("global-0")).map(Some))?;
        check_health(tree, layout.targets)
    })
}

fn check_health(tree: &Tree, targets: usize) -> Result<()> {
    wait_for("every target is online", Duration::from_secs(20), || {
        let health = tree.ask("global-0").json("/health/summary")?;
        let counts = ["total_nodes", "online_nodes", "offline_nodes", "degraded_nodes"].map(|key| health[key].as_u64());
        ensure!(counts == [targets as u64, targets as u64, 0, 0].map(Some), "{health}");
        Ok(Some(()))
    })
}
