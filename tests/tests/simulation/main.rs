//! The whole tree in simulated network and time, over stores that lose what was not synced: one run for each seed.
//!
//! A seed says everything: how many targets there are, what they serve, what goes wrong when, and how the network orders
//! its messages. `SEED` is the first, `SEEDS` how many; one alone writes its log (`FIRETOWER_LOG` says how much of it).
//! More are handed to worker processes.

mod check;
mod faults;
mod monitors;
mod network;
mod observe;
mod plan;
mod run;
mod served;
mod trace;
mod worker;

use std::env;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::worker::{Worker, check_seed, is_worker, work};

/// Seeds where nothing else is said; what `make test` has time for.
const SEEDS: u64 = 300;
/// Simulations at once; each is one thread.
const WORKERS: usize = 2;
/// One seed in so many, the first among them, is run twice, to see that nothing but the seed decides.
const REPEATED_EVERY: u64 = 50;

fn main() -> ExitCode {
    // Cargo passes on the names of wanted tests to every test there is.
    let filters: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !filters.is_empty() && !filters.iter().any(|filter| "simulation".contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    match if is_worker() { work() } else { simulate() } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulation: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all seeds, until one goes wrong.
fn simulate() -> Result<()> {
    let first = number("SEED", 1)?;
    let count = number("SEEDS", if env::var_os("SEED").is_some() { 1 } else { SEEDS })?;
    if count == 1 {
        firetower_daemon::start_logging();
        return check_seed(first, false).with_context(|| format!("seed {first}"));
    }
    let started = Instant::now();
    let (next, violations) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let run_some = || -> Result<()> {
        let mut worker = Worker::start()?;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count || !violations.lock().expect("no panics").is_empty() {
                return Ok(());
            }
            if let Err(error) = worker.check(seed, (seed - first).is_multiple_of(REPEATED_EVERY)) {
                violations.lock().expect("no panics").push((seed, format!("{error:#}")));
                return Ok(());
            }
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..WORKERS.min(count as usize)).map(|_| scope.spawn(run_some)).collect();
        running.into_iter().try_for_each(|one| one.join().expect("no panics"))
    })?;
    let violations = violations.into_inner().expect("no panics");
    for (seed, violation) in &violations {
        eprintln!("seed {seed}: {violation}");
        eprintln!("again, alone, with its log: SEED={seed} cargo test --release --workspace --test simulation");
    }
    let (ran, seconds) = (next.into_inner().min(first + count) - first, started.elapsed().as_secs_f64());
    eprintln!("{ran} seeds from {first} in {seconds:.1} s: {:.2} a second", ran as f64 / seconds);
    ensure!(violations.is_empty(), "not all is as it must be");
    Ok(())
}

fn number(name: &str, default: u64) -> Result<u64> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}
