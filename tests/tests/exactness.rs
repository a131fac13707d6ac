//! Each role in turn is killed with SIGKILL under load; afterwards the top says what the leaves hold, to the bit.

use std::time::Duration;

use anyhow::{Result, ensure};
use firetower_tests::{Layout, Tree, check_account, check_few_lost, check_served, now_ms, wait_for};

#[test]
fn no_kill_loses_or_doubles_anything() -> Result<()> {
    let layout = Layout::default();
    Tree::check(layout.clone(), |tree| {
        let quiet_ms = tree.wait_complete("global-0")?;
        tree.wait_sampled("dub-s0", 3)?;
        let quiet_end_ms = now_ms();
        // A live secondary tells that time goes by while another process is dead.
        for (victim, witness) in
            [("dub-p0", "dub-s0"), ("global-0", "dub-s0"), ("dub-s0", "dub-s1"), ("dub-s1", "dub-s0")]
        {
            tree.kill(victim)?;
            tree.wait_sampled(witness, 2)?;
            tree.restart(victim)?;
            tree.wait_complete("global-0")?;
        }
        let grid = tree.grid();
        tree.wait_exact("global-0", grid)?;

        let raw = tree.raw()?;
        check_served(&tree.page(), &tree.log()?, &raw, quiet_ms, quiet_end_ms, layout.interval_ms)?;
        let rows = tree.rows("global-0", grid)?;
        let lost: u64 = rows.coverage.values().map(|coverage| coverage.lost).sum();
        let slots: u64 = rows.coverage.values().map(|coverage| coverage.expected).sum();
        ensure!(lost < slots / 2, "{lost} of {slots} slots are lost");
        wait_for("accounts close", Duration::from_secs(30), || check_account(&tree.ask("global-0")).map(Some))?;
        Ok(())
    })
}

#[test]
fn kills_above_the_leaves_cost_no_sample() -> Result<()> {
    let layout = Layout { secondaries: 1, targets: 10, ..Layout::default() };
    Tree::check(layout.clone(), |tree| {
        let from_ms = tree.wait_complete("global-0")?;
        for victim in ["global-0", "dub-p0"] {
            tree.kill(victim)?;
            tree.wait_sampled("dub-s0", 2)?;
            tree.restart(victim)?;
        }
        tree.wait_complete("global-0")?;
        let grid = tree.grid_since(from_ms);
        tree.wait_exact("global-0", grid)?;
        check_few_lost(&tree.rows("global-0", grid)?)?;
        check_served(&tree.page(), &tree.log()?, &tree.raw()?, grid.start_ms, grid.end_ms, layout.interval_ms)
    })
}
