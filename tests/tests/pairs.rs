//! A pair of primaries and a pair of globals; one of each is dead for a while.

use anyhow::{Result, ensure};
use firetower_tests::{Layout, Tree, check_few_lost};

#[test]
fn both_of_a_pair_come_to_the_same_rows() -> Result<()> {
    let layout = Layout { globals: 2, primaries: 2, targets: 10, ..Layout::default() };
    Tree::check(layout, |tree| {
        let from_ms = tree.wait_complete("global-0")?.max(tree.wait_complete("global-1")?);
        for (primary, global) in [("dub-p0", "global-0"), ("dub-p1", "global-1")] {
            tree.kill(primary)?;
            tree.kill(global)?;
            tree.wait_sampled("dub-s0", 4)?;
            tree.restart(primary)?;
            tree.restart(global)?;
            tree.wait_complete(global)?;
        }
        let grid = tree.grid();
        for name in ["global-0", "global-1"] {
            tree.wait_exact(name, grid)?;
        }
        let (one, other) = (tree.rows("global-0", grid)?, tree.rows("global-1", grid)?);
        ensure!(one.points == other.points, "the rows of the two differ");
        ensure!(one.coverage == other.coverage, "{:?}\nis not\n{:?}", one.coverage, other.coverage);
        check_few_lost(&tree.rows("global-0", tree.grid_since(from_ms))?)
    })
}
