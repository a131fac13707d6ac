//! The newest window, and dropping the oldest.

use firetower_model::{Timestamp, Window};

use crate::database::Store;
use crate::error::Error;
use crate::tree::rows::key::{Place, Table, bucket_key};
use crate::tree::rows::value::decode_header;
use crate::tree::rows::{FAMILY, RowTier};

impl Store {
    /// Returns the newest committed window of `datacenter`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn latest_window(&self, datacenter: &str) -> Result<Option<Window>, Error> {
        let Some(id) = self.datacenter_id(datacenter) else { return Ok(None) };
        let tier = RowTier::Window;
        let mut place = Place { tier, bucket: u32::MAX, datacenter: id, offset_ms: u32::MAX };
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(FAMILY), self.reading());
        iterator.seek_for_prev(place.key(Table::Headers));
        while let Some((key, value)) = iterator.item() {
            if !key.starts_with(&[Table::Headers as u8, tier as u8]) {
                break;
            }
            let found = Place::of_header_key(tier, key).ok_or_else(|| Error::corrupt("header's key", key))?;
            if found.datacenter == id {
                let header = decode_header(value).ok_or_else(|| Error::corrupt("window's header", key))?;
                return Ok(Some(header.window));
            }
            // The bucket found has other datacenters only, at least from where it was looked at.
            let is_before = found.datacenter < id && found.bucket == place.bucket;
            let Some(bucket) = found.bucket.checked_sub(u32::from(is_before)) else { break };
            place.bucket = bucket;
            iterator.seek_for_prev(place.key(Table::Headers));
        }
        iterator.status().map_err(Error::at("read the newest window"))?;
        Ok(None)
    }

    /// Drops the rows of those buckets of `tier` that end by `cutoff`; returns whether there were any.
    ///
    /// A bucket is an hour of windows, a day of five minutes, or 30 days of hours; it goes as a whole.
    ///
    /// # Errors
    /// If RocksDB cannot write.
    pub fn retain_rows(&self, tier: RowTier, cutoff: Timestamp) -> Result<bool, Error> {
        let Some(end) = Place::new(tier, 0, cutoff) else { return Ok(false) };
        let mut is_any = false;
        for table in [Table::Headers, Table::Rows, Table::Durations] {
            let (first, end) = (bucket_key(table, tier, 0), bucket_key(table, tier, end.bucket));
            if self.has_any(&first, &end)? {
                is_any = true;
                let cf = self.family(FAMILY);
                self.db.delete_file_in_range_cf(cf, first, end).map_err(Error::at("drop files of old rows"))?;
                self.db.delete_range_cf(cf, first, end).map_err(Error::at("drop old rows"))?;
            }
        }
        Ok(is_any)
    }

    fn has_any(&self, first: &[u8], end: &[u8]) -> Result<bool, Error> {
        let mut options = self.reading();
        options.set_iterate_range(first.to_vec()..end.to_vec());
        let mut pairs = self.db.pairs_cf(self.family(FAMILY), options);
        Ok(pairs.next().transpose().map_err(Error::at("look for old rows"))?.is_some())
    }
}
