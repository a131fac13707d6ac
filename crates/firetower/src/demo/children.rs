//! The demo's processes: started, waited for, stopped in order.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::plan::{DATA, Process, Stage};
use super::{POLL, Stop};
use crate::client::Client;

/// How long a process may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How long all processes of a stage may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// How long one look at a process may take.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// How many lines of a log are shown of a process that failed.
const LOG_LINES: usize = 8;

/// Running processes. They stop when their standard input closes, and so with this one, however it ends.
pub(super) struct Children {
    folder: PathBuf,
    running: Vec<Running>,
}

struct Running {
    process: Process,
    child: Child,
    log: PathBuf,
    is_ready: bool,
}

impl Children {
    /// No processes yet; their data and logs will be in `folder`.
    pub(super) fn new(folder: &Path) -> Children {
        Children { folder: folder.to_owned(), running: Vec::new() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a process of this same executable.
    pub(super) fn start(&mut self, process: &Process) -> anyhow::Result<()> {
        let executable = std::env::current_exe().context("find this executable")?;
        let file_name = process.name.replace([' ', ':', '(', ')'], "-");
        let own_folder = self.folder.join(&file_name);
        let log = self.folder.join(format!("{}.log", file_name.trim_end_matches('-')));
        if process.arguments.iter().any(|argument| argument == DATA) {
            fs::create_dir_all(&own_folder).with_context(|| format!("make {}", own_folder.display()))?;
        }
        let arguments =
            process.arguments.iter().map(|argument| if argument == DATA { own_folder.as_os_str() } else { argument });
        let output = File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let child = Command::new(executable)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().context("share a log file")?)
            .stderr(output)
            // A group of its own, so that Ctrl-C comes to the demo alone, which then stops them in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", process.name))?;
        self.running.push(Running { process: process.clone(), child, log, is_ready: false });
        Ok(())
    }

    /// Waits until every process answers that it does its work; `on_ready` gets each one's name and URL.
    ///
    /// # Errors
    /// If one ends or takes too long, with the end of its log.
    pub(super) fn wait_until_ready(
        &mut self,
        stop: &Stop,
        mut on_ready: impl FnMut(&str, &str) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !stop.is_asked() {
            self.check_alive()?;
            for running in self.running.iter_mut().filter(|running| !running.is_ready) {
                if running.answers_ready()? {
                    running.is_ready = true;
                    on_ready(&running.process.name, &running.process.access.url)?;
                }
            }
            let Some(late) = self.running.iter().find(|running| !running.is_ready) else { return Ok(()) };
            if deadline <= Instant::now() {
                bail!("{} is not ready after {} s{}", late.process.name, READY_WITHIN.as_secs(), late.end_of_log());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sees that every process runs.
    ///
    /// # Errors
    /// If one has ended, with the end of its log.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        for running in &mut self.running {
            if let Some(status) =
                running.child.try_wait().with_context(|| format!("look at {}", running.process.name))?
            {
                bail!("{} ended by itself: {status}{}", running.process.name, running.end_of_log());
            }
        }
        Ok(())
    }

    /// Kills the agents of a datacenter, as a power cut would; returns how many.
    pub(super) fn kill_agents(&mut self, datacenter: &str) -> anyhow::Result<usize> {
        let is_doomed = |running: &mut Running| running.process.is_agent && running.process.datacenter == datacenter;
        let doomed: Vec<Running> = self.running.extract_if(.., is_doomed).collect();
        let count = doomed.len();
        for mut running in doomed {
            running.child.kill().with_context(|| format!("kill {}", running.process.name))?;
            running.child.wait().with_context(|| format!("wait for {}", running.process.name))?;
        }
        Ok(count)
    }

    /// Stops secondaries, primaries, the global aggregator, then targets; returns the names of those that overran.
    pub(super) fn stop_in_order(&mut self) -> Vec<String> {
        let mut overran = Vec::new();
        for stage in Stage::ALL {
            let mut stopping: Vec<Running> =
                self.running.extract_if(.., |running| running.process.stage == stage).collect();
            for running in &mut stopping {
                drop(running.child.stdin.take());
            }
            let deadline = Instant::now() + STOP_WITHIN;
            while !stopping.is_empty() && Instant::now() < deadline {
                stopping.retain_mut(|running| matches!(running.child.try_wait(), Ok(None)));
                thread::sleep(POLL / 4);
            }
            for mut running in stopping {
                // It may have ended since; then there is nothing to kill.
                let _ = running.child.kill();
                let _ = running.child.wait();
                overran.push(running.process.name);
            }
        }
        overran
    }
}

impl Drop for Children {
    /// Kills what still runs, as after a panic.
    fn drop(&mut self) {
        for running in &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

impl Running {
    fn answers_ready(&self) -> anyhow::Result<bool> {
        let client = Client::with_timeout(&self.process.access, LOOK_WITHIN)?;
        Ok(matches!(client.text(self.process.ready_path, &[]), Ok((200, _))))
    }

    /// Returns the last lines of its log, each on a line of its own.
    fn end_of_log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let lines = &lines[lines.len().saturating_sub(LOG_LINES)..];
        lines.iter().map(|line| format!("\n    {line}")).collect()
    }
}
