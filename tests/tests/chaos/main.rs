//! The tree under faults, with real processes on hosts of their own: `make chaos`.
//!
//! A seed says which faults come in which order; how they fall in with what the processes do is not repeated, but faults,
//! places and lengths are. `FAULTS` says how many and `SEED` which; without either, a few of two seeds are run, as part of all
//! tests. It takes root, for namespaces.

#![expect(clippy::print_stdout, reason = "what it prints is what it is run for")]

mod accounts;
mod act;
mod check;
mod plan;
mod report;
mod run;
mod usage;

use std::env;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use firetower_benches::{exit_code, now_ms, stop_on_signals};

/// Seeds, run beside each other, and faults of each, where nothing is said.
const SEEDS: [u64; 2] = [1, 2];
const FEW_FAULTS: usize = 12;
/// Faults where only the seed is said.
const FAULTS: usize = 100;

fn main() -> ExitCode {
    // Cargo passes on the names of wanted tests to every test there is.
    let filters: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !filters.is_empty() && !filters.iter().any(|filter| "chaos".contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    exit_code(run_all())
}

fn run_all() -> Result<()> {
    stop_on_signals()?;
    let (faults, seed) = (number("FAULTS")?, number("SEED")?);
    if faults.is_none() && seed.is_none() {
        let run = |seed| move || run_seed(seed, FEW_FAULTS);
        return thread::scope(|scope| {
            let running = SEEDS.map(|seed| scope.spawn(run(seed)));
            running.into_iter().try_for_each(|one| one.join().expect("a run returns its errors"))
        });
    }
    run_seed(seed.unwrap_or(now_ms() as u64 % 1_000_000), faults.map_or(FAULTS, |faults| faults as usize))
}

fn run_seed(seed: u64, faults: usize) -> Result<()> {
    println!("chaos: seed {seed}, {faults} faults");
    run::run(seed, faults)
        .with_context(|| format!("seed {seed} (the same faults again: make chaos FAULTS={faults} SEED={seed})"))
}

fn number(name: &str) -> Result<Option<u64>> {
    let said = env::var(name).ok().filter(|text| !text.is_empty());
    said.map(|text| text.parse().with_context(|| format!("{name}={text} is no number"))).transpose()
}
