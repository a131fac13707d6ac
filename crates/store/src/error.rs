//! Why the store could not do what was asked.

use std::path::PathBuf;

use firetower_model::{ShapeId, Timestamp};

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
    /// The directory has no store.
    #[error("no store at {}", path.display())]
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// The directory was written by an older release, and only opening it for writing brings it up.
    #[error("store at {} has no column family {family}: start its monitor once with this release", path.display())]
    OlderFormat {
        /// The directory.
        path: PathBuf,
        /// What is missing.
        family: &'static str,
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

    /// Makes a function that names the step at which RocksDB failed.
    pub(crate) fn at(step: &'static str) -> impl Fn(rocksdb::Error) -> Error {
        move |source| Error::Rocks { step, source }
    }
}
