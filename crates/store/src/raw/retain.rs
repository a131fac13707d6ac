//! Retention: whole buckets go, files first.

use firetower_model::Timestamp;
use rocksdb::WriteBatch;

use crate::database::Store;
use crate::error::Error;
use crate::raw::key::Bucket;

impl Store {
    /// Drops the buckets that end at or before `cutoff`, and forgets who had samples in them alone.
    ///
    /// Late samples of theirs that come afterwards stay until the next call.
    ///
    /// # Errors
    /// If RocksDB cannot write.
    pub fn retain_raw(&self, cutoff: Timestamp) -> Result<(), Error> {
        let first_kept = self.raw.length.bucket(cutoff);
        if first_kept == Bucket::MIN {
            return Ok(());
        }
        let (from, to) = (Bucket::MIN.to_bytes(), first_kept.to_bytes());
        for family in ["raw_rows", "raw_blocks", "raw_loose"] {
            let drop_files = self.db.delete_file_in_range_cf(self.family(family), from, to);
            drop_files.map_err(Error::at("drop old files"))?;
        }
        let alone = self.raw.gate.alone();
        let mut batch = WriteBatch::default();
        for family in ["raw_rows", "raw_blocks", "raw_loose"] {
            batch.delete_range_cf(self.family(family), from, to);
        }
        self.forget_uses(&mut batch, first_kept);
        let last_dropped = first_kept.previous();
        if self.raw.gate.settled() < Some(last_dropped) {
            self.put_settled(&mut batch, last_dropped);
        }
        self.db.write(batch).map_err(Error::at("drop old samples"))?;
        self.raw.gate.skip(last_dropped);
        drop(alone);
        Ok(())
    }
}
