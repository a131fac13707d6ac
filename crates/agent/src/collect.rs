//! The collectors: each reads one part of the host and writes it under node_exporter's names.
//!
//! Reading and writing are apart, so that what is written is tested on fixed input.

use std::io;

use procfs::ProcError;

use crate::page::Page;

pub(crate) mod cpu;
pub(crate) mod diskstats;
pub(crate) mod filefd;
pub(crate) mod filesystem;
pub(crate) mod loadavg;
pub(crate) mod meminfo;
pub(crate) mod netdev;
pub(crate) mod stat;
pub(crate) mod time;
pub(crate) mod uname;
pub(crate) mod vmstat;

/// Reads one part of the host; its name is that of node_exporter's collector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collector {
    /// The name on the page.
    pub(crate) name: &'static str,
    /// Writes the readings; what it wrote before it failed is thrown away.
    pub(crate) collect: fn(&mut Page) -> Result<(), Error>,
}

/// Those that the kernel answers from its own memory, in the order of the page.
pub(crate) const QUICK: [Collector; 10] = [
    Collector { name: "cpu", collect: cpu::collect },
    Collector { name: "diskstats", collect: diskstats::collect },
    Collector { name: "filefd", collect: filefd::collect },
    Collector { name: "loadavg", collect: loadavg::collect },
    Collector { name: "meminfo", collect: meminfo::collect },
    Collector { name: "netdev", collect: netdev::collect },
    Collector { name: "stat", collect: stat::collect },
    Collector { name: "time", collect: time::collect },
    Collector { name: "uname", collect: uname::collect },
    Collector { name: "vmstat", collect: vmstat::collect },
];

/// The one that asks whoever serves each mounted filesystem, and so may hang.
pub(crate) const FILESYSTEM: Collector = Collector { name: "filesystem", collect: filesystem::collect };

/// Why a part of the host could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("read a file of /proc")]
    Proc(#[from] ProcError),
    #[error("read {path}")]
    Read { path: &'static str, source: io::Error },
    #[error("{path} has a line that is not understood: {line:?}")]
    Malformed { path: &'static str, line: String },
    #[error("filesystems did not answer in time")]
    TimedOut,
    #[error("the reading panicked")]
    Panicked,
}

#[cfg(test)]
mod tests;
