//! Processes that run seeds: one at a time, so that what goes on in one simulation is of no matter to another.

use std::env;
use std::io::{BufRead, BufReader, Lines, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::run::run;

/// Set for a worker.
const WORKER: &str = "SIMULATION_WORKER";
/// A multiple of the lists over which a runtime of tokio spreads its tasks by their numbers. It drops them list by list,
/// so that in a crash the order depends on them.
const TASK_LISTS: u64 = 64;

/// A process that runs seeds; it ends when this is dropped.
pub(crate) struct Worker {
    process: Child,
    seeds: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    pub(crate) fn start() -> Result<Worker> {
        let mut command = Command::new(env::current_exe()?);
        command.env(WORKER, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("start a worker")?;
        let answers = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Ok(Worker { seeds: process.stdin.take(), process, answers })
    }

    /// Runs `seed`, twice if `is_repeated`.
    ///
    /// # Errors
    /// If something is not as it must be.
    pub(crate) fn check(&mut self, seed: u64, is_repeated: bool) -> Result<()> {
        let seeds = self.seeds.as_mut().expect("it is piped");
        writeln!(seeds, "{seed} {is_repeated}").context("the worker has ended")?;
        let violation = self.answers.next().context("the worker has ended while it ran")??;
        ensure!(violation.is_empty(), violation);
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.seeds.take());
        let _ = self.process.wait();
    }
}

/// Tells whether this process is a worker.
pub(crate) fn is_worker() -> bool {
    env::var_os(WORKER).is_some()
}

/// Runs the seeds that standard input names, each on a line, and answers each with a line: empty if all is as it must be.
pub(crate) fn work() -> Result<()> {
    for line in stdin().lines() {
        let line = line?;
        let (seed, is_repeated) = line.split_once(' ').with_context(|| format!("{line:?} is no seed"))?;
        let ended = check_seed(seed.parse()?, is_repeated.parse()?);
        writeln!(
            stdout(),
            "{}",
            ended.map_or_else(|error| format!("{error:#}").replace('\n', "; "), |()| String::new())
        )?;
    }
    Ok(())
}

/// Runs a seed, and once more if `is_repeated`: then both must have gone the same way.
///
/// # Errors
/// If something is not as it must be.
pub(crate) fn check_seed(seed: u64, is_repeated: bool) -> Result<()> {
    align_tasks()?;
    let hash = run(seed)?;
    if is_repeated {
        align_tasks()?;
        let again = run(seed)?;
        if hash != again {
            bail!("two runs went different ways: {hash:016x} and {again:016x}");
        }
    }
    Ok(())
}

/// Takes numbers of tasks until the next one begins a round of lists.
fn align_tasks() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    loop {
        let id: u64 = runtime.spawn(async {}).id().to_string().parse()?;
        if (id + 1).is_multiple_of(TASK_LISTS) {
            return Ok(());
        }
    }
}
