//! How far each tier reaches, and how much it takes.

use firetower_model::{SpanTier, Timestamp};

use crate::database::Store;
use crate::error::Error;
use crate::raw::block::Block;
use crate::raw::buckets::{SAMPLE_FAMILIES, buckets_in};
use crate::raw::key::{Bucket, read_block_key};
use crate::tiers::family;

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
        let mut extents = vec![self.extent("raw", &SAMPLE_FAMILIES)?];
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
        self.extent("raw", &SAMPLE_FAMILIES).map(|extent| extent.range)
    }

    fn extent(&self, tier: &'static str, families: &[&'static str]) -> Result<TierExtent, Error> {
        let mut found: Vec<Bucket> = Vec::new();
        for family in families {
            found.extend(buckets_in(
                self.db.raw_iterator_cf_opt(self.family(family), self.reading()),
                Bucket::MIN,
                Bucket::MAX,
            )?);
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
        let mut blocks = self.db.raw_iterator_cf_opt(self.family("raw_blocks"), self.reading_once());
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
