//! Why the store could not do what was asked.

use std::path::PathBuf;

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
    /// The directory was written by a newer release.
    #[error("store at {} has format {found}, this release knows up to {known}", path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest known.
        known: u32,
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
}

impl Error {
    /// Names a value that does not read back.
    pub(crate) fn corrupt(what: &'static str, key: &[u8]) -> Error {
        Error::Corrupt { what, key: key.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// Makes a function that names the step at which RocksDB failed.
    pub(crate) fn at(step: &'static str) -> impl Fn(rocksdb::Error) -> Error {
        move |source| Error::Rocks { step, source }
    }
}
