//! What lies under the store: RocksDB, or a model of it that loses what was not synced.
//!
//! Everything above is the same over both. The model is for the simulation: RocksDB's threads are not deterministic, and a
//! file system shows no power loss. An enum rather than a trait object, so that nothing is boxed for each entry read.

mod around;
mod batch;
mod iterator;
mod model;
mod rocks;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DBPinnableSlice, FlushOptions, WriteOptions};

use crate::database::FAMILIES;

use around::Around;
pub(crate) use batch::WriteBatch;
pub(crate) use iterator::{Pairs, RawIterator, ReadOptions};
pub(crate) use model::ModelDatabase;
pub use model::ModelDisk;
pub(crate) use rocks::{Rocks, is_full};

/// Why an engine failed; the model never does.
pub(crate) use rocksdb::Error;

/// An open database.
pub(crate) enum Engine {
    Rocks(Rocks),
    Model(ModelDatabase),
}

/// One of [`FAMILIES`].
#[derive(Clone, Copy)]
pub(crate) enum Family<'a> {
    Rocks(&'a rocksdb::ColumnFamily),
    /// Its index.
    Model(usize),
}

/// All families at one moment.
pub(crate) enum Snapshot<'a> {
    Rocks(rocksdb::Snapshot<'a>),
    Model(model::Families),
}

/// A value that was not copied out of the engine.
pub(crate) enum Pinned<'a> {
    Rocks(DBPinnableSlice<'a>),
    Model(Arc<[u8]>),
}

/// What was made by one engine came to the other.
const MIXED: &str = "a family, snapshot or batch is used with the engine that it is of";

impl Engine {
    pub(crate) fn family(&self, name: &'static str) -> Family<'_> {
        match self {
            Engine::Rocks(db) => Family::Rocks(db.cf_handle(name).expect("every family is made at open")),
            Engine::Model(_) => {
                Family::Model(FAMILIES.iter().position(|family| family.0 == name).expect("every family is listed"))
            }
        }
    }

    /// Writes to the log: it survives the end of the process, and a power loss after [`Engine::sync`].
    ///
    /// If the disk is full it waits in memory, and so does what is written after it; [`Engine::sync`] fails until then.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), Error> {
        match self {
            Engine::Rocks(db) => db.write(batch.into_rocks()),
            Engine::Model(model) => {
                model.write(batch.into_model());
                Ok(())
            }
        }
    }

    /// Writes what waits for room, as far as there is some.
    pub(crate) fn write_parked(&self) -> Result<(), Error> {
        match self {
            Engine::Rocks(db) => db.write_parked(),
            Engine::Model(_) => Ok(()),
        }
    }

    /// Tells whether no files are merged, since one of them is damaged.
    pub(crate) fn is_unmerged(&self) -> bool {
        match self {
            Engine::Rocks(db) => db.is_unmerged(),
            Engine::Model(_) => false,
        }
    }

    /// Returns how many bytes wait for room.
    pub(crate) fn parked_bytes(&self) -> u64 {
        match self {
            Engine::Rocks(db) => db.parked_bytes(),
            Engine::Model(_) => 0,
        }
    }

    /// Writes past the log: it survives after [`Engine::flush`] only.
    pub(crate) fn write_unlogged(&self, batch: WriteBatch) -> Result<(), Error> {
        match self {
            Engine::Rocks(db) => {
                let mut unlogged = WriteOptions::default();
                unlogged.disable_wal(true);
                db.write_opt(batch.into_rocks(), &unlogged)
            }
            Engine::Model(model) => {
                model.write_unlogged(batch.into_model());
                Ok(())
            }
        }
    }

    /// Writes, and waits until it and all before it survive a power loss.
    pub(crate) fn write_synced(&self, batch: WriteBatch) -> Result<(), Error> {
        match self {
            Engine::Rocks(db) => {
                let mut durable = WriteOptions::default();
                durable.set_sync(true);
                db.write_opt(batch.into_rocks(), &durable)
            }
            Engine::Model(model) => {
                model.write(batch.into_model());
                model.sync();
                Ok(())
            }
        }
    }

    /// Returns RocksDB's number of the last entry that was written; the model has none.
    pub(crate) fn last_sequence(&self) -> u64 {
        match self {
            Engine::Rocks(db) => db.latest_sequence_number(),
            Engine::Model(_) => 0,
        }
    }

    /// Makes all that was logged survive a power loss.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        match self {
            Engine::Rocks(db) => db.sync(),
            Engine::Model(model) => {
                model.sync();
                Ok(())
            }
        }
    }

    /// Writes to files what is in memory only, of all families.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        match self {
            Engine::Rocks(db) => {
                let mut options = FlushOptions::default();
                options.set_wait(true);
                let families: Vec<_> = FAMILIES.iter().filter_map(|(name, _)| db.cf_handle(name)).collect();
                db.flush_cfs_opt(&families, &options)
            }
            Engine::Model(model) => {
                model.flush();
                Ok(())
            }
        }
    }

    pub(crate) fn put_cf(
        &self,
        family: Family<'_>,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.put_cf(family, key, value);
        self.write(batch)
    }

    pub(crate) fn delete_range_cf<K: AsRef<[u8]>>(&self, family: Family<'_>, from: K, to: K) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(family, from, to);
        self.write(batch)
    }

    /// Makes a copy in the folder `to`, which must not exist.
    pub(crate) fn checkpoint(&self, to: &Path) -> Result<(), Error> {
        match self {
            Engine::Rocks(db) => Checkpoint::new(db)?.create_checkpoint(to),
            // Its disk is copied as a whole.
            Engine::Model(_) => Ok(()),
        }
    }

    /// Drops the files that have nothing but keys in `[from, to)`, which are deleted already or are deleted next.
    pub(crate) fn delete_file_in_range_cf<K: AsRef<[u8]>>(
        &self,
        family: Family<'_>,
        from: K,
        to: K,
    ) -> Result<(), Error> {
        match (self, family) {
            (Engine::Rocks(db), Family::Rocks(family)) => db.delete_file_in_range_cf(family, from, to),
            // It has no files.
            _ => Ok(()),
        }
    }

    /// Writes the keys in `[from, to)` anew without what was deleted.
    pub(crate) fn compact_range_cf<S: AsRef<[u8]>, E: AsRef<[u8]>>(
        &self,
        family: Family<'_>,
        from: Option<S>,
        to: Option<E>,
    ) {
        if let (Engine::Rocks(db), Family::Rocks(family)) = (self, family)
            && !db.is_unmerged()
        {
            db.compact_range_cf(family, from, to);
        }
    }

    /// Returns a number that RocksDB keeps of a family; the model has none.
    pub(crate) fn property_int_value_cf(
        &self,
        family: Family<'_>,
        name: impl rocksdb::CStrLike,
    ) -> Result<Option<u64>, Error> {
        match (self, family) {
            (Engine::Rocks(db), Family::Rocks(family)) => db.property_int_value_cf(family, name),
            _ => Ok(None),
        }
    }

    pub(crate) fn get_cf(&self, family: Family<'_>, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.get_pinned_cf(family, key)?.map(|value| value.to_vec()))
    }

    pub(crate) fn get_pinned_cf(&self, family: Family<'_>, key: impl AsRef<[u8]>) -> Result<Option<Pinned<'_>>, Error> {
        match (self, family) {
            (Engine::Rocks(db), Family::Rocks(family)) => Ok(db.get_pinned_cf(family, key)?.map(Pinned::Rocks)),
            (Engine::Model(model), Family::Model(at)) => Ok(model.get(at, key.as_ref()).map(Pinned::Model)),
            _ => unreachable!("{MIXED}"),
        }
    }

    pub(crate) fn raw_iterator_cf_opt<'a>(&'a self, family: Family<'_>, options: ReadOptions<'a>) -> RawIterator<'a> {
        match (self, family) {
            (Engine::Rocks(db), Family::Rocks(family)) => {
                let around = options.around();
                RawIterator::Rocks(Around::new(db.raw_iterator_cf_opt(family, options.rocks()), around))
            }
            (Engine::Model(model), Family::Model(at)) => RawIterator::Model(match options.snapshot() {
                Some(Snapshot::Model(families)) => families.iterate(at, options.into_bounds()),
                _ => model.families().iterate(at, options.into_bounds()),
            }),
            _ => unreachable!("{MIXED}"),
        }
    }

    /// Returns all pairs in order, as far as `options` bound them.
    pub(crate) fn pairs_cf<'a>(&'a self, family: Family<'_>, options: ReadOptions<'a>) -> Pairs<'a> {
        Pairs::new(self.raw_iterator_cf_opt(family, options))
    }

    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        match self {
            Engine::Rocks(db) => Snapshot::Rocks(db.snapshot()),
            Engine::Model(model) => Snapshot::Model(model.families()),
        }
    }
}

impl Snapshot<'_> {
    pub(crate) fn raw_iterator_cf_opt<'a>(&'a self, family: Family<'_>, options: ReadOptions<'a>) -> RawIterator<'a> {
        match (self, family) {
            (Snapshot::Rocks(snapshot), Family::Rocks(family)) => {
                let around = options.around();
                RawIterator::Rocks(Around::new(snapshot.raw_iterator_cf_opt(family, options.rocks()), around))
            }
            (Snapshot::Model(families), Family::Model(at)) => {
                RawIterator::Model(families.iterate(at, options.into_bounds()))
            }
            _ => unreachable!("{MIXED}"),
        }
    }

    pub(crate) fn get_pinned_cf(&self, family: Family<'_>, key: impl AsRef<[u8]>) -> Result<Option<Pinned<'_>>, Error> {
        match (self, family) {
            (Snapshot::Rocks(snapshot), Family::Rocks(family)) => {
                Ok(snapshot.get_pinned_cf(family, key)?.map(Pinned::Rocks))
            }
            (Snapshot::Model(families), Family::Model(at)) => Ok(families.get(at, key.as_ref()).map(Pinned::Model)),
            _ => unreachable!("{MIXED}"),
        }
    }
}

impl Deref for Pinned<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Pinned::Rocks(value) => value,
            Pinned::Model(value) => value,
        }
    }
}

#[cfg(test)]
mod tests;
