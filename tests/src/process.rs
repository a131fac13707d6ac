//! A child process with its output in files, never left behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::wait::wait_for;

/// A running child process; it is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stderr: PathBuf,
    stdout: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to `NAME.stdout` and `NAME.stderr` in `directory`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, directory: &Path, command: &mut Command) -> Result<Process> {
        let (stdout, stderr) = (directory.join(format!("{name}.stdout")), directory.join(format!("{name}.stderr")));
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        command.stdin(Stdio::null()).stdout(append(&stdout)?).stderr(append(&stderr)?);
        let child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Process { name: name.into(), child, stderr, stdout })
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it and its predecessors of this name wrote to stderr.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Returns what it and its predecessors of this name wrote to stdout.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// Returns the end of what it wrote to stderr.
    pub fn last_lines(&self) -> String {
        last_lines(&self.stderr())
    }

    /// Fails if it has ended by itself, with what it said last.
    ///
    /// # Errors
    /// If it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            anyhow::bail!("{} has ended: {status}\n{}", self.name, last_lines(&self.stderr()));
        }
        Ok(())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// If it had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.check_running()?;
        self.child.kill().with_context(|| format!("kill {}", self.name))?;
        self.child.wait().with_context(|| format!("await {}", self.name))?;
        Ok(())
    }

    /// Sends SIGTERM, and returns without waiting.
    ///
    /// # Errors
    /// If it had ended before.
    pub fn terminate(&mut self) -> Result<()> {
        self.check_running()?;
        self.signal("TERM")
    }

    /// Sends a signal by its name, and returns without waiting.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.id())]).status()?;
        ensure!(status.success(), "signal {}: {status}", self.name);
        Ok(())
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If it has not within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        wait_for(&what, limit, || Ok(self.child.try_wait()?))
            .with_context(|| format!("stderr of {}:\n{}", self.name, last_lines(&self.stderr())))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
