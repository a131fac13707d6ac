//! Whether there is room on the disk, and what is done while there is not.
//!
//! Some of the disk stays free. Below that the oldest raw samples go, and below a quarter of it nothing new is taken in: the
//! rest is for what keeps the account, and for merging files. If others fill the disk nevertheless, what cannot be written
//! waits in memory.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::database::Store;
use crate::engine::is_full;
use crate::error::Error;

/// Unless said otherwise a twentieth of the file system stays free, but no more than this, in bytes.
const FREE_BYTES_MAX: u64 = 1 << 30;
const FREE_SHARE: u64 = 20;
/// Nothing is taken in while less than this part of that is free, and until twice as much is.
const HELD_SHARE: u64 = 4;

/// Written to see whether a disk takes anything; opening a store writes about as much.
const PROBE_BYTES: usize = 1 << 20;

/// Room on the disk, as it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// How much is to stay free, in bytes, if that is configured.
    wanted: Option<u64>,
    free: AtomicU64,
    is_short: AtomicBool,
}

/// How the disk of a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskState {
    /// Bytes that are free on it.
    pub free_bytes: u64,
    /// Bytes that are to stay free.
    pub reserve_bytes: u64,
    /// Bytes of memory with what could not be written yet.
    pub waiting_bytes: u64,
    /// Why nothing new is taken in, if that is so, and what can be done.
    pub held: Option<String>,
}

/// Why a store cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its disk is full.
    Full,
    /// Its file system is read-only.
    ReadOnly,
    /// Its disk fails.
    Failing,
    /// A file is damaged that has to be merged, or cannot be reached.
    Stuck,
}

impl Trouble {
    /// Says what it is and what can be done about it.
    pub fn advice(self) -> &'static str {
        match self {
            Trouble::Full => "its disk is full: make room on that file system, or keep less by `retention`",
            Trouble::ReadOnly => "its file system is read-only: the kernel's log says why; mount it for writing again",
            Trouble::Failing => {
                "its disk fails: the kernel's log says more; mend it, or restore a backup onto another one"
            }
            Trouble::Stuck => "a file of it cannot be used: `firetower store check` says which, and what that costs",
        }
    }
}

/// Tells whether files can be written in `path`.
pub fn is_writable(path: &Path) -> bool {
    let probe = path.join("PROBE");
    let written = fs::write(&probe, vec![0; PROBE_BYTES]);
    let removed = fs::remove_file(&probe);
    written.is_ok() && removed.is_ok()
}

impl Disk {
    pub(crate) fn new(wanted: Option<u64>) -> Disk {
        Disk { wanted, ..Disk::default() }
    }
}

impl Store {
    /// Tells whether nothing new may be taken in, because there is no room for it.
    pub fn is_held(&self) -> bool {
        self.disk.is_short.load(Ordering::Relaxed) || self.db.parked_bytes() > 0
    }

    /// Tells whether something that was committed waits for room, and so is neither on the disk nor to be read.
    pub fn is_waiting(&self) -> bool {
        self.db.parked_bytes() > 0
    }

    /// Tells whether files are not merged any more, because one of them is damaged.
    pub fn is_unmerged(&self) -> bool {
        self.db.is_unmerged()
    }

    /// Makes everything committed so far survive a power loss, unless it waits for room.
    ///
    /// For whoever promises nothing to anybody by it: what waits is synced when it is written.
    ///
    /// # Errors
    /// If the disk fails in another way than by being full.
    pub fn sync_or_wait(&self) -> Result<(), Error> {
        match self.sync() {
            Err(_) if self.is_waiting() => Ok(()),
            synced => synced,
        }
    }

    /// Looks how much room there is, and writes what waits for some. To be called about once a second.
    ///
    /// # Errors
    /// If the disk cannot be asked, or fails in a way that only opening the store again can mend.
    pub fn watch_disk(&self) -> Result<DiskState, Error> {
        let mut state = DiskState::default();
        if let Some((free, total)) = self.room()? {
            (state.free_bytes, state.reserve_bytes) = (free, self.reserve(total));
            self.disk.free.store(free, Ordering::Relaxed);
            let least = state.reserve_bytes / HELD_SHARE;
            let was_short = self.disk.is_short.load(Ordering::Relaxed);
            self.disk.is_short.store(free < if was_short { 2 * least } else { least }, Ordering::Relaxed);
        }
        let failed = match self.db.write_parked() {
            Err(source) if is_full(&source) => Some(source),
            Err(source) => return Err(Error::Rocks { step: "write what had to wait for room", source }),
            Ok(()) => None,
        };
        state.waiting_bytes = self.db.parked_bytes();
        if failed.is_some() || self.is_held() {
            let (free, path) = (state.free_bytes >> 20, self.path().display());
            state.held = Some(format!(
                "the disk of {path} is full ({free} MiB free): nothing new is kept until there is room; make some on that file \
                 system, or keep less by `retention`"
            ));
        }
        Ok(state)
    }

    /// Returns the bytes that are missing on the disk until as much is free as is to stay free.
    pub(crate) fn missing_bytes(&self) -> Result<u64, Error> {
        Ok(self.room()?.map_or(0, |(free, total)| self.reserve(total).saturating_sub(free)))
    }

    /// Returns the bytes of memory with what waits for room.
    pub fn waiting_bytes(&self) -> u64 {
        self.db.parked_bytes()
    }

    /// Returns the bytes that were free when the disk was last looked at.
    pub fn free_bytes(&self) -> u64 {
        self.disk.free.load(Ordering::Relaxed)
    }

    fn reserve(&self, total: u64) -> u64 {
        self.disk.wanted.unwrap_or((total / FREE_SHARE).min(FREE_BYTES_MAX))
    }

    /// Returns the free bytes of the file system, and all of it; `None` where there is none.
    fn room(&self) -> Result<Option<(u64, u64)>, Error> {
        if !self.path().is_dir() {
            return Ok(None);
        }
        let found = rustix::fs::statvfs(self.path());
        let files = |error: rustix::io::Errno| Error::Files {
            step: "ask how much room there is at",
            path: self.path().to_owned(),
            source: io::Error::from(error),
        };
        let found = found.map_err(files)?;
        Ok(Some((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize))))
    }
}

impl Error {
    /// Tells whether opening the store again may mend it, now or when its disk works again.
    pub fn is_mended_by_opening(&self) -> bool {
        match self {
            Error::WentBack { .. } => true,
            Error::Open { .. } | Error::Make { .. } => {
                matches!(self.trouble(), Some(Trouble::Full | Trouble::ReadOnly | Trouble::Failing))
            }
            other => other.trouble().is_some(),
        }
    }

    /// Tells whether it may not come again, or costs only what is damaged, so that others can go on.
    pub fn is_passing(&self) -> bool {
        matches!(self, Error::Corrupt { .. }) || self.trouble() == Some(Trouble::Full)
    }

    /// Returns what is wrong with the disk, if that is why this failed.
    pub fn trouble(&self) -> Option<Trouble> {
        let text = match self {
            Error::Open { source, .. } | Error::Rocks { source, .. } => source.as_ref().to_owned(),
            Error::Files { source, .. } | Error::Make { source, .. } => source.to_string(),
            _ => return None,
        };
        Some(match text {
            text if text.contains("No space left on device") => Trouble::Full,
            text if text.contains("Read-only file system") => Trouble::ReadOnly,
            text if text.contains("Input/output error") => Trouble::Failing,
            text if text.starts_with("IO error") || text.starts_with("Corruption") => Trouble::Stuck,
            _ if matches!(self, Error::Files { .. }) => Trouble::Stuck,
            _ => return None,
        })
    }
}
