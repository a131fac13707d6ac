//! Finding the buckets in which there is anything, and the blocks of one.

use firetower_model::MetricId;

use crate::database::Store;
use crate::engine::RawIterator;
use crate::error::Error;
use crate::raw::key::{Bucket, Group, block_key, read_block_key};

/// Where samples are, whatever form they have.
pub(crate) const SAMPLE_FAMILIES: [&str; 3] = ["raw_rows", "raw_blocks", "raw_loose"];

/// Returns the buckets from `first` to `last` that `entries` has anything in, leaping from one to the next.
pub(crate) fn buckets_in(mut entries: RawIterator<'_>, first: Bucket, last: Bucket) -> Result<Vec<Bucket>, Error> {
    let mut found = Vec::new();
    let mut next = Some(first);
    while let Some(from) = next {
        entries.seek(from.to_bytes());
        let Some(key) = entries.key() else { break };
        let bucket = Bucket::of_key(key).ok_or_else(|| Error::corrupt("key", key))?;
        if bucket > last {
            break;
        }
        found.push(bucket);
        next = bucket.checked_next();
    }
    entries.status().map_err(Error::at("find buckets")).map(|()| found)
}

/// Finds the block that has `metric`, if any of the group has: blocks are under the first of their metrics. Returns that
/// and the block.
pub(crate) fn find_block<'a>(
    entries: &'a mut RawIterator<'_>,
    (bucket, group, metric): (Bucket, Group, MetricId),
) -> Result<Option<(MetricId, &'a [u8])>, Error> {
    entries.seek_for_prev(block_key(bucket, group, metric));
    entries.status().map_err(Error::at("find a block"))?;
    let Some((key, bytes)) = entries.item() else { return Ok(None) };
    let found = read_block_key(key).ok_or_else(|| Error::corrupt("key of a block", key))?;
    Ok(((found.0, found.1) == (bucket, group)).then_some((found.2, bytes)))
}

impl Store {
    /// Returns the first bucket from `first` on in which `family` has anything.
    pub(crate) fn first_bucket(&self, family: &'static str, first: Bucket) -> Result<Option<Bucket>, Error> {
        let mut entries = self.db.raw_iterator_cf_opt(self.family(family), self.reading());
        entries.seek(first.to_bytes());
        entries.status().map_err(Error::at("find buckets"))?;
        Ok(entries.key().and_then(Bucket::of_key))
    }
}
