//! Where pages come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use firetower_benches::Page;

use crate::node::Node;

/// Hosts whose pages are read one after the other.
pub(crate) enum Pages {
    /// A folder of files a host, in the order of their names; of so many only the first is read.
    Recorded {
        /// Files by host.
        hosts: Vec<Vec<PathBuf>>,
        /// Distance between two that are read.
        every: usize,
    },
    /// Simulated servers.
    Nodes(Vec<Node>),
    /// The fleet that benchmarks are served from, whose values are evenly random over wide ranges.
    Random {
        /// What their pages are.
        page: Page,
        /// How many.
        hosts: usize,
    },
}

impl Pages {
    /// Finds the recorded pages in `directory`.
    ///
    /// # Errors
    /// If there are none.
    pub(crate) fn recorded(directory: &Path, every: usize) -> Result<Pages> {
        let list = |path: &Path| -> Result<Vec<PathBuf>> {
            let entries = std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))?;
            let mut found = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
            found.sort();
            Ok(found)
        };
        let hosts = list(directory)?.iter().map(|host| list(host)).collect::<Result<Vec<_>>>()?;
        ensure!(!hosts.is_empty(), "{} has no folders", directory.display());
        Ok(Pages::Recorded { hosts, every })
    }

    /// Returns how many hosts there are.
    pub(crate) fn hosts(&self) -> usize {
        match self {
            Pages::Recorded { hosts, .. } => hosts.len(),
            Pages::Nodes(nodes) => nodes.len(),
            Pages::Random { hosts, .. } => *hosts,
        }
    }

    /// Returns how many pages the shortest host has; `None` if they never end.
    pub(crate) fn scrapes(&self) -> Option<usize> {
        match self {
            Pages::Recorded { hosts, every } => hosts.iter().map(|files| files.len().div_ceil(*every)).min(),
            Pages::Nodes(_) | Pages::Random { .. } => None,
        }
    }

    /// Fills `page` with what `host` says at its `scrape`th scrape; scrapes come in order.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(&mut self, host: usize, scrape: usize, page: &mut Vec<u8>) -> Result<()> {
        page.clear();
        match self {
            Pages::Recorded { hosts, every } => {
                let file = &hosts[host][scrape * *every];
                *page = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
            }
            Pages::Nodes(nodes) => {
                nodes[host].pass();
                nodes[host].render(page);
            }
            Pages::Random { page: fleet, .. } => {
                fleet.render(host, scrape as u64, page);
            }
        }
        Ok(())
    }
}
