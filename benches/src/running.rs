//! Programs that are started, to be measured or to measure with.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::measure::Process;
use crate::wait::wait_for;

/// How long a process may take to stop.
const STOP: Duration = Duration::from_secs(60);
/// How many of its last lines are quoted of a process that has ended.
const LAST_LINES: usize = 10;

/// Returns where the program `name` is: where it was `given`, or beside the one that asks.
///
/// # Errors
/// If it was not given and there is none beside.
pub fn beside(name: &str, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.into());
    }
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "no {}: build it, or say where it is", path.display());
    Ok(path)
}

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    output: PathBuf,
    child: Child,
}

impl Running {
    /// Starts it; what it says goes to the end of `NAME.out` in `directory`.
    ///
    /// # Errors
    /// If it cannot be started, or that file cannot be written to.
    pub fn start(name: &str, directory: &Path, command: &mut Command) -> Result<Running> {
        let path = directory.join(format!("{name}.out"));
        let output = File::options().create(true).append(true).open(&path)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Running { name: name.into(), output: path, child })
    }

    /// Returns it as a process to be read.
    pub fn process(&self) -> Process {
        Process { id: self.child.id() }
    }

    /// Returns what it has said so far.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn output(&self) -> Result<String> {
        std::fs::read_to_string(&self.output).with_context(|| format!("read {}", self.output.display()))
    }

    /// Makes sure that it still runs.
    ///
    /// # Errors
    /// That it has ended, and what it said last.
    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let output = self.output()?;
        let lines: Vec<&str> = output.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        bail!("{} has ended: {status}; it said:\n{}", self.name, last.join("\n"))
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().map(|_| ()).with_context(|| format!("wait for {}", self.name))
    }

    /// Takes the processor from it until [`Running::resume`].
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status()?;
        ensure!(kill.success(), "send {name} to {}", self.name);
        Ok(())
    }

    /// Sends SIGTERM and waits.
    ///
    /// # Errors
    /// If it takes more than a minute.
    pub fn stop(mut self) -> Result<()> {
        self.signal("TERM")?;
        wait_for(&format!("{} ends", self.name), STOP, || Ok(self.child.try_wait()?.map(|_| ())))
    }
}

impl Drop for Running {
    /// Ends it as `kill -9` does.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
