//! Buckets of time, and the keys built from them. All numbers are big-endian, so that keys sort as their fields do.

use std::time::Duration;

use firetower_model::{MetricId, TargetId, TimeRange, Timestamp};

/// Number of a bucket: a moment divided by the store's bucket length, rounded down.
///
/// The first and the last number also hold everything before and after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(pub(crate) i32);

impl Bucket {
    pub(crate) const MIN: Bucket = Bucket(i32::MIN);
    pub(crate) const MAX: Bucket = Bucket(i32::MAX);

    pub(crate) fn to_bytes(self) -> [u8; 4] {
        sorted_u32(self.0).to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; 4]) -> Bucket {
        Bucket((u32::from_be_bytes(bytes) ^ (1 << 31)) as i32)
    }

    /// Returns the bucket that a key of samples or spans begins with.
    pub(crate) fn of_key(key: &[u8]) -> Option<Bucket> {
        key.first_chunk::<4>().map(|bytes| Bucket::from_bytes(*bytes))
    }

    pub(crate) fn next(self) -> Bucket {
        Bucket(self.0.saturating_add(1))
    }

    pub(crate) fn checked_next(self) -> Option<Bucket> {
        self.0.checked_add(1).map(Bucket)
    }

    pub(crate) fn previous(self) -> Bucket {
        Bucket(self.0.saturating_sub(1))
    }
}

/// How time is cut into buckets: fixed when a store is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BucketLength {
    millis: i64,
}

impl BucketLength {
    /// Takes a length of at least 1 ms; shorter ones count as 1 ms.
    pub(crate) fn new(length: Duration) -> BucketLength {
        BucketLength { millis: i64::try_from(length.as_millis()).unwrap_or(i64::MAX).max(1) }
    }

    pub(crate) fn as_millis(self) -> i64 {
        self.millis
    }

    /// Returns the bucket that `at` falls into.
    pub(crate) fn bucket(self, at: Timestamp) -> Bucket {
        let number = at.as_millis().div_euclid(self.millis);
        Bucket(number.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }

    /// Returns the first moment of `bucket`.
    pub(crate) fn start(self, bucket: Bucket) -> Timestamp {
        Timestamp::from_millis(i64::from(bucket.0).saturating_mul(self.millis))
    }

    /// Returns the first and the last bucket that `range` touches; `None` if it is empty.
    pub(crate) fn buckets(self, range: TimeRange) -> Option<(Bucket, Bucket)> {
        let is_empty = range.start >= range.end;
        let last = Timestamp::from_millis(range.end.as_millis().saturating_sub(1));
        (!is_empty).then(|| (self.bucket(range.start), self.bucket(last)))
    }
}

/// How many targets share a block.
pub(crate) const GROUP_TARGETS: u32 = 64;

/// A target's neighbours: those whose id divided by 64 is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Group(pub(crate) u32);

impl Group {
    pub(crate) fn of(target: TargetId) -> Group {
        Group(target.0 / GROUP_TARGETS)
    }

    /// Returns the place of `target` inside its group, under 64.
    pub(crate) fn place(target: TargetId) -> u8 {
        (target.0 % GROUP_TARGETS) as u8
    }

    pub(crate) fn target(self, place: u8) -> TargetId {
        TargetId(self.0 * GROUP_TARGETS + u32::from(place))
    }

    pub(crate) fn first(self) -> TargetId {
        self.target(0)
    }

    pub(crate) fn last(self) -> TargetId {
        self.target(GROUP_TARGETS as u8 - 1)
    }
}

/// Key of one scrape in `raw_rows`.
pub(crate) fn row_key(bucket: Bucket, target: TargetId, at: Timestamp) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&bucket.to_bytes());
    key[4..8].copy_from_slice(&target.0.to_be_bytes());
    key[8..].copy_from_slice(&sorted_i64(at.as_millis()).to_be_bytes());
    key
}

/// Reads back [`row_key`].
pub(crate) fn read_row_key(key: &[u8]) -> Option<(Bucket, TargetId, Timestamp)> {
    let key: &[u8; 16] = key.try_into().ok()?;
    let (head, at) = key.split_last_chunk::<8>()?;
    let (bucket, target) = head.split_first_chunk::<4>()?;
    let at = Timestamp::from_millis((u64::from_be_bytes(*at) ^ (1 << 63)) as i64);
    Some((Bucket::from_bytes(*bucket), TargetId(u32::from_be_bytes(target.try_into().ok()?)), at))
}

/// Key of one sample in `raw_loose`.
pub(crate) fn loose_key(bucket: Bucket, metric: MetricId, target: TargetId, at: Timestamp) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&bucket.to_bytes());
    key[4..8].copy_from_slice(&metric.0.to_be_bytes());
    key[8..12].copy_from_slice(&target.0.to_be_bytes());
    key[12..].copy_from_slice(&sorted_i64(at.as_millis()).to_be_bytes());
    key
}

/// Reads back [`loose_key`].
pub(crate) fn read_loose_key(key: &[u8]) -> Option<(Bucket, MetricId, TargetId, Timestamp)> {
    let key: &[u8; 20] = key.try_into().ok()?;
    let (bucket, rest) = key.split_first_chunk::<4>()?;
    let (metric, rest) = rest.split_first_chunk::<4>()?;
    let (target, at) = rest.split_first_chunk::<4>()?;
    let at = Timestamp::from_millis((u64::from_be_bytes(at.try_into().ok()?) ^ (1 << 63)) as i64);
    let (metric, target) = (MetricId(u32::from_be_bytes(*metric)), TargetId(u32::from_be_bytes(*target)));
    Some((Bucket::from_bytes(*bucket), metric, target, at))
}

/// Key of one block in `raw_blocks`, by its first metric.
pub(crate) fn block_key(bucket: Bucket, group: Group, first: MetricId) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&bucket.to_bytes());
    key[4..8].copy_from_slice(&group.0.to_be_bytes());
    key[8..].copy_from_slice(&first.0.to_be_bytes());
    key
}

/// Reads back [`block_key`].
pub(crate) fn read_block_key(key: &[u8]) -> Option<(Bucket, Group, MetricId)> {
    let key: &[u8; 12] = key.try_into().ok()?;
    let (bucket, rest) = key.split_first_chunk::<4>()?;
    let (group, first) = rest.split_first_chunk::<4>()?;
    let first = MetricId(u32::from_be_bytes(first.try_into().ok()?));
    Some((Bucket::from_bytes(*bucket), Group(u32::from_be_bytes(*group)), first))
}

fn sorted_u32(number: i32) -> u32 {
    number as u32 ^ (1 << 31)
}

fn sorted_i64(number: i64) -> u64 {
    number as u64 ^ (1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_time_and_read_back() {
        let length = BucketLength::new(Duration::from_secs(7200));
        let mut previous = None;
        for at in [i64::MIN, -7_200_001, -1, 0, 7_199_999, 7_200_000, i64::MAX] {
            let (at, target, metric) = (Timestamp::from_millis(at), TargetId(7), MetricId(3));
            let bucket = length.bucket(at);
            let key = row_key(bucket, target, at);
            assert_eq!(read_row_key(&key), Some((bucket, target, at)));
            assert_eq!(read_loose_key(&loose_key(bucket, metric, target, at)), Some((bucket, metric, target, at)));
            let block = (bucket, Group::of(target), metric);
            assert_eq!(read_block_key(&block_key(block.0, block.1, block.2)), Some(block));
            assert!(previous.replace(key).is_none_or(|previous| previous < key), "{at:?}");
        }
        assert_eq!(length.bucket(Timestamp::from_millis(-1)), Bucket(-1));
        assert_eq!(length.start(Bucket(1)), Timestamp::from_millis(7_200_000));
    }
}
