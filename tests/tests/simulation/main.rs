//! The whole tree in simulated network and time, over stores that lose what was not synced: one run for each seed.
//!
//! A seed says everything: how many targets there are, what they serve, what goes wrong when, and how the network orders
//! its messages. `SEED` is the first, `SEEDS` how many; one alone writes its log (`FIRETOWER_LOG` says how much of it).

mod check;
mod faults;
mod monitors;
mod network;
mod observe;
mod plan;
mod run;
mod served;
mod trace;

use std::env;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};

/// Seeds where nothing else is said; what `make test` has time for.
const SEEDS: u64 = 300;
/// Simulations at once; each is one thread.
const THREADS: usize = 2;
/// Seeds that are run twice, to see that nothing but the seed decides.
const REPEATED: u64 = 2;

fn main() -> ExitCode {
    // Cargo passes on the names of wanted tests to every test there is.
    let filters: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !filters.is_empty() && !filters.iter().any(|filter| "simulation".contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    match simulate() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulation: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all seeds; returns whether all was well.
fn simulate() -> Result<bool> {
    let first = number("SEED", 1)?;
    let count = number("SEEDS", if env::var_os("SEED").is_some() { 1 } else { SEEDS })?;
    if count == 1 {
        firetower_daemon::start_logging();
    }
    let started = Instant::now();
    let (next, violations) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(count as usize) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || !violations.lock().expect("no panics").is_empty() {
                        break;
                    }
                    if let Err(error) = check_seed(seed, seed < first + REPEATED.min(count - 1)) {
                        violations.lock().expect("no panics").push((seed, format!("{error:#}")));
                    }
                }
            });
        }
    });
    let violations = violations.into_inner().expect("no panics");
    for (seed, violation) in &violations {
        eprintln!("seed {seed}: {violation}");
        eprintln!("again, alone, with its log: SEED={seed} cargo test --release --workspace --test simulation");
    }
    let (ran, seconds) = (next.into_inner().min(first + count) - first, started.elapsed().as_secs_f64());
    eprintln!("{ran} seeds from {first} in {seconds:.1} s: {:.2} a second", ran as f64 / seconds);
    Ok(violations.is_empty())
}

/// Runs a seed, and once more if `is_repeated`: then both must have gone the same way.
fn check_seed(seed: u64, is_repeated: bool) -> Result<()> {
    let hash = run::run(seed)?;
    if is_repeated {
        let again = run::run(seed)?;
        anyhow::ensure!(hash == again, "two runs went different ways: {hash:016x} and {again:016x}");
    }
    Ok(())
}

fn number(name: &str, default: u64) -> Result<u64> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}
