//! Why the store could not do what was asked.

use std::io;
use std::path::{Path, PathBuf};

use firetower_model::{ShapeId, Timestamp};
use rocksdb::ErrorKind;

use crate::check::file_of;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be used.
    #[error("open store at {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// The directory is damaged.
    #[error(
        "store at {path} is damaged{}: {what}; `firetower store check --data {path}` says what that costs; \
         `firetower store restore` brings a copy back into an empty directory, or move this one away to begin with none: \
         its parents count the loss",
        if file.is_empty() { String::new() } else { format!(" in {file}") },
        path = path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// The file, or empty if it is not known.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// Another process has the directory open.
    #[error("store at {} is open in another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A copy was to be made where something is already.
    #[error("there is something at {} already: a copy is made only where nothing is", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// A copy was to be brought back where something is already.
    #[error("{} is not empty: a copy is brought back into an empty directory only", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A copy is damaged.
    #[error("the copy at {path} is damaged: `firetower store check --data {path}` lists what was found ({faults})", path = path.display())]
    DamagedCopy {
        /// The directory.
        path: PathBuf,
        /// How many.
        faults: u64,
    },
    /// Bringing a copy back was broken off.
    #[error("restoring a copy into {} was broken off: empty it, and run `firetower store restore` again", path.display())]
    HalfRestored {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has gone back to an earlier state.
    #[error("store at {} has gone back to an earlier state: it begins a new life when it is opened again", path.display())]
    WentBack {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has no store.
    #[error("no store at {}: it is no data directory, or that of a monitor that never ran", path.display())]
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// Making the directory was broken off, and only opening it for writing completes it.
    #[error("store at {} has no column family {family} yet: start its monitor once", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        family: &'static str,
    },
    /// The directory was written by another release.
    #[error(
        "store at {} has format {found}, {} release wrote it; this one knows {known} only: start that release, or move the \
         directory away to begin with none: its parents count the loss",
        path.display(),
        if found < known { "an earlier" } else { "a later" }
    )]
    OtherFormat {
        /// The directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The only one that is known.
        known: u32,
    },
    /// The directory cannot be made.
    #[error("make the data directory {}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The directory's files cannot be reached.
    #[error("{step} {}", path.display())]
    Files {
        /// What was being done.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// RocksDB failed.
    #[error("{step}")]
    Rocks {
        /// What was being done.
        step: &'static str,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// A stored value does not read back.
    #[error("corrupt {what} under key {key}")]
    Corrupt {
        /// What was being read.
        what: &'static str,
        /// Its key, in hexadecimal.
        key: String,
    },
    /// There is no room for another one.
    #[error("more than {max} {what}")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: u32,
    },
    /// A time that the rows' keys cannot hold: before 1970, or far from now.
    #[error("no place for rows of {at:?}")]
    NoPlace {
        /// The time.
        at: Timestamp,
    },
    /// A row names a shape that was never interned.
    #[error("shape {shape} is not known")]
    UnknownShape {
        /// The shape.
        shape: ShapeId,
    },
    /// A row has not as many values as its shape has metrics.
    #[error("a row of shape {shape} has {found} values instead of {expected}")]
    WrongColumns {
        /// The shape.
        shape: ShapeId,
        /// Its metrics.
        expected: usize,
        /// The row's values.
        found: usize,
    },
    /// A batch was committed so late that a bucket it has rows of is being settled.
    #[error("a row's bucket was closed before it was committed")]
    BucketClosed,
}

impl Error {
    /// Names a value that does not read back.
    pub(crate) fn corrupt(what: &'static str, key: &[u8]) -> Error {
        Error::Corrupt { what, key: key.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// Says why RocksDB cannot open `path`.
    pub(crate) fn opening(path: &Path, source: rocksdb::Error) -> Error {
        let (path, text) = (path.to_owned(), source.as_ref());
        if text.contains("lock hold by current process") || text.contains("While lock file") {
            return Error::InUse { path };
        }
        let is_missing = text.contains("No such file or directory");
        if source.kind() == ErrorKind::Corruption || is_missing {
            return Error::Damaged { path, file: file_of(text), what: text.to_owned() };
        }
        Error::Open { path, source }
    }

    /// Says the same of what failed while what is in `path` was read.
    pub(crate) fn of_opening(self, path: &Path) -> Error {
        match self {
            Error::Rocks { source, .. } => Error::opening(path, source),
            Error::Corrupt { .. } => {
                Error::Damaged { path: path.to_owned(), file: String::new(), what: self.to_string() }
            }
            other => other,
        }
    }

    /// Makes a function that names the step at which RocksDB failed.
    pub(crate) fn at(step: &'static str) -> impl Fn(rocksdb::Error) -> Error {
        move |source| Error::Rocks { step, source }
    }
}
