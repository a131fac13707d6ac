//! Each role in turn is killed with SIGKILL under load; afterwards the top says what the leaves hold, to the bit.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Layout, Tree, check_account, check_few_lost, check_served, now_ms, wait_for};

/// Seeds of who is killed when; `SEED` names another.
const SEEDS: [u64; 2] = [1, 2];
const KILLS: u64 = 16;
/// No monitor lives for longer than this, in milliseconds, before one is killed; it takes about as long to start.
const LIFE_MS_MAX: u64 = 900;

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
fn kills_at_random_moments_lose_or_double_nothing() -> Result<()> {
    let chosen = std::env::var("SEED").ok().map(|seed| seed.parse()).transpose().context("SEED")?;
    for seed in chosen.map_or(SEEDS.to_vec(), |seed| vec![seed]) {
        Tree::check(Layout::default(), |tree| {
            tree.wait_complete("global-0")?;
            let victims = tree.node_names();
            let mut state = seed;
            for _ in 0..KILLS {
                // The moment is what the seed chooses, also while one starts and is not ready.
                thread::sleep(Duration::from_millis(next(&mut state) % LIFE_MS_MAX));
                let victim = &victims[next(&mut state) as usize % victims.len()];
                tree.kill(victim)?;
                tree.launch(victim)?;
            }
            tree.wait_complete("global-0")?;
            tree.wait_exact("global-0", tree.grid())?;
            wait_for("accounts close", Duration::from_secs(30), || check_account(&tree.ask("global-0")).map(Some))?;
            Ok(())
        })
        .with_context(|| format!("SEED={seed}"))?;
    }
    Ok(())
}

/// A small step from one state of a generator to the next: SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
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
