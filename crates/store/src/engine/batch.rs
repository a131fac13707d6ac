//! Writes that become visible together.

use crate::check::synced_mark;
use crate::engine::Family;
use crate::engine::model::Write;

/// Writes that become visible together, for the engine that their families are of.
#[derive(Default)]
pub(crate) struct WriteBatch {
    rocks: rocksdb::WriteBatch,
    model: Vec<Write>,
}

impl WriteBatch {
    pub(crate) fn put_cf(&mut self, family: Family<'_>, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        match family {
            Family::Rocks(family) => self.rocks.put_cf(family, key, value),
            Family::Model(at) => self.model.push(Write::Put(at, key.as_ref().into(), value.as_ref().into())),
        }
    }

    pub(crate) fn delete_cf(&mut self, family: Family<'_>, key: impl AsRef<[u8]>) {
        match family {
            Family::Rocks(family) => self.rocks.delete_cf(family, key),
            Family::Model(at) => self.model.push(Write::Delete(at, key.as_ref().into())),
        }
    }

    /// Deletes `[from, to)`.
    pub(crate) fn delete_range_cf<K: AsRef<[u8]>>(&mut self, family: Family<'_>, from: K, to: K) {
        match family {
            Family::Rocks(family) => self.rocks.delete_range_cf(family, from, to),
            Family::Model(at) => {
                self.model.push(Write::DeleteRange(at, from.as_ref().into(), to.as_ref().into()));
            }
        }
    }

    /// Notes that all that was written up to RocksDB's sequence number `last` is synced.
    pub(crate) fn mark_synced(&mut self, last: u64) {
        self.rocks.put_log_data(synced_mark(last));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rocks.is_empty() && self.model.is_empty()
    }

    /// Returns about how much memory it takes.
    pub(crate) fn size_in_bytes(&self) -> usize {
        self.rocks.size_in_bytes() + self.model.iter().map(Write::bytes).sum::<usize>()
    }

    pub(super) fn into_rocks(self) -> rocksdb::WriteBatch {
        self.rocks
    }

    pub(super) fn into_model(self) -> Vec<Write> {
        self.model
    }
}
