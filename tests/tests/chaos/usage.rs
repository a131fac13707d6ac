//! What a process holds: memory, files, connections, tasks.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use firetower_tests::Tree;

/// Files of a store come and go.
const FILES_MORE_MAX: u64 = 48;
/// Connections for HTTP come and go.
const SOCKETS_MORE_MAX: u64 = 4;
/// A store's buffers fill, and the rows of a longer time are held.
const MEMORY_MORE_MAX_KB: u64 = 128 << 10;
/// A second connection to each parent, and an HTTP request that is just being answered, have tasks.
const TASKS_MORE_MAX: u64 = 24;

/// What one process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) process: u32,
    pub(crate) memory_kb: u64,
    /// Files and sockets.
    pub(crate) files: u64,
    pub(crate) sockets: u64,
    pub(crate) tasks: u64,
}

impl Usage {
    /// Reads what the monitor `name` holds.
    ///
    /// # Errors
    /// If it does not run.
    pub(crate) fn of(tree: &Tree, name: &str) -> Result<Usage> {
        let process = tree.process_id(name)?;
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let memory_kb = line.trim().trim_end_matches(" kB").parse()?;
        let (mut files, mut sockets) = (0, 0);
        for file in fs::read_dir(format!("/proc/{process}/fd"))? {
            // It may be closed meanwhile.
            let target = file.and_then(|file| fs::read_link(file.path())).unwrap_or_default();
            files += 1;
            sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
        }
        let tasks = tree.ask(name).metric("firetower_process_tasks")?.context("no count of tasks")? as u64;
        Ok(Usage { process, memory_kb, files, sockets, tasks })
    }

    /// Checks that this is not much more than what the same process held `before`.
    ///
    /// # Errors
    /// With what it holds too much of.
    pub(crate) fn check(&self, name: &str, before: &Usage) -> Result<()> {
        let is_kept = |now: u64, before: u64, more: u64| now <= before + more;
        ensure!(is_kept(self.files, before.files, FILES_MORE_MAX), "{name} leaks files: {before:?}, now {self:?}");
        ensure!(
            is_kept(self.sockets, before.sockets, SOCKETS_MORE_MAX),
            "{name} leaks sockets: {before:?}, now {self:?}"
        );
        ensure!(
            is_kept(self.memory_kb, before.memory_kb, MEMORY_MORE_MAX_KB),
            "{name} grows: {before:?}, now {self:?}"
        );
        ensure!(is_kept(self.tasks, before.tasks, TASKS_MORE_MAX), "{name} leaks tasks: {before:?}, now {self:?}");
        Ok(())
    }
}

/// What each monitor's present process held when it was looked at first.
#[derive(Debug, Default)]
pub(crate) struct Baseline(pub(crate) BTreeMap<String, Usage>);

impl Baseline {
    /// Takes the readings of all processes that were started since the last call.
    ///
    /// # Errors
    /// If one does not run.
    pub(crate) fn note_new(&mut self, tree: &Tree) -> Result<()> {
        for name in tree.node_names() {
            let process = tree.process_id(&name)?;
            if self.0.get(&name).is_none_or(|known| known.process != process) {
                self.0.insert(name.clone(), Usage::of(tree, &name)?);
            }
        }
        Ok(())
    }
}
