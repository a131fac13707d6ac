//! How far each tier reaches, and how much it takes.

use firetower_model::{SpanTier, Timestamp};
use rocksdb::ReadOptions;

use crate::database::Store;
use crate::error::Error;
use crate::raw::block::Block;
use crate::raw::key::{Bucket, read_block_key};
use crate::tiers::family;

const RAW_FAMILIES: [&str; 3] = ["raw_rows", "raw_blocks", "raw_loose"];

/// A tier's buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct TierExtent {
    /// `raw`, `5m` or `1h`.
    pub tier: &'static str,
    /// How many buckets it has.
    pub buckets: u64,
    /// The start of its first bucket and the end of its last; `None` if it is empty.
    pub range: Option<(Timestamp, Timestamp)>,
    /// Bytes in files.
    pub bytes: u64,
    /// Samples in settled blocks, of the raw tier.
    pub samples: Option<u64>,
    /// Bytes of these blocks for each sample in them, without what the files add.
    pub bytes_per_sample: Option<f64>,
}

impl Store {
    pub(crate) fn tier_extents(&self) -> Result<Vec<TierExtent>, Error> {
        let mut extents = vec![self.extent("raw", &RAW_FAMILIES)?];
        for tier in SpanTier::ALL {
            extents.push(self.extent(tier.name(), &[family(tier)])?);
        }
        let (samples, bytes) = self.settled_samples()?;
        extents[0].samples = Some(samples);
        extents[0].bytes_per_sample = (samples > 0).then(|| bytes as f64 / samples as f64);
        Ok(extents)
    }

    /// Returns the first moment of the oldest bucket with samples, and the end of the newest.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn raw_range(&self) -> Result<Option<(Timestamp, Timestamp)>, Error> {
        self.extent("raw", &RAW_FAMILIES).map(|extent| extent.range)
    }

    fn extent(&self, tier: &'static str, families: &[&'static str]) -> Result<TierExtent, Error> {
        let mut found: Vec<Bucket> = Vec::new();
        for family in families {
            let mut entries = self.db.raw_iterator_cf(self.family(family));
            entries.seek_to_first();
            while let Some(bucket) =
                entries.key().and_then(|key| key.first_chunk::<4>()).map(|key| Bucket::from_bytes(*key))
            {
                found.push(bucket);
                let Some(next) = bucket.checked_next() else { break };
                entries.seek(next.to_bytes());
            }
            entries.status().map_err(Error::at("find buckets"))?;
        }
        found.sort_unstable();
        found.dedup();
        let length = self.raw.length;
        let range =
            found.first().zip(found.last()).map(|(first, last)| (length.start(*first), length.start(last.next())));
        let bytes = families.iter().map(|family| self.family_bytes(family)).sum();
        Ok(TierExtent { tier, buckets: found.len() as u64, range, bytes, samples: None, bytes_per_sample: None })
    }

    /// Returns how many samples the settled blocks have, and their bytes.
    fn settled_samples(&self) -> Result<(u64, u64), Error> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut blocks = self.db.raw_iterator_cf_opt(self.family("raw_blocks"), options);
        blocks.seek_to_first();
        let (mut samples, mut bytes) = (0, 0);
        while let Some((key, value)) = blocks.item() {
            let corrupt = || Error::corrupt("block", key);
            let (_, _, first) = read_block_key(key).ok_or_else(corrupt)?;
            let block = Block::open(value, first, 0).ok_or_else(corrupt)?;
            samples += block.samples().ok_or_else(corrupt)?;
            bytes += (key.len() + value.len()) as u64;
            blocks.next();
        }
        blocks.status().map_err(Error::at("count samples")).map(|()| (samples, bytes))
    }
}
