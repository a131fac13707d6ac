//! What the data directory takes.

use rocksdb::properties;

use crate::database::{FAMILIES, Store};
use crate::error::Error;

/// What one kind of entry takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyUsage {
    /// Its column family.
    pub name: &'static str,
    /// Bytes of its files, with their indexes.
    pub file_bytes: u64,
    /// Bytes of memory for what is not in files yet.
    pub memory_bytes: u64,
}

impl Store {
    /// Returns what each kind of entry takes.
    ///
    /// # Errors
    /// If RocksDB does not say.
    pub fn usage(&self) -> Result<Vec<FamilyUsage>, Error> {
        let usage = |(name, _): &(&'static str, bool)| {
            let read = |property| {
                let value = self.db.property_int_value_cf(self.family(name), property);
                value.map_err(Error::at("read what is used")).map(Option::unwrap_or_default)
            };
            let file_bytes = read(properties::LIVE_SST_FILES_SIZE)?;
            Ok(FamilyUsage { name, file_bytes, memory_bytes: read(properties::CUR_SIZE_ALL_MEM_TABLES)? })
        };
        FAMILIES.iter().map(usage).collect()
    }

    /// Writes to files what is in memory only; nothing depends on it, it makes the next start shorter.
    ///
    /// # Errors
    /// If the disk cannot take it.
    pub fn flush(&self) -> Result<(), Error> {
        self.db.flush().map_err(Error::at("flush"))
    }
}
