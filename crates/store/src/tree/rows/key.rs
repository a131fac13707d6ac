//! Where rows lie: time first, so that what is old lies together.

use firetower_model::{RowId, Timestamp};

use crate::tree::rows::RowTier;

/// What the family holds, by the first byte of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Headers = 0,
    Rows = 1,
    Durations = 2,
    Marks = 3,
}

/// A window of a datacenter in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(super) tier: RowTier,
    /// Which bucket of the tier, counted from 1970.
    pub(super) bucket: u32,
    pub(super) datacenter: u16,
    /// Milliseconds from the bucket's start to the window's.
    pub(super) offset_ms: u32,
}

/// Bytes of a key up to and with the datacenter.
const PREFIX: usize = 8;

impl Place {
    /// Returns where a window that starts at `start` lies; `None` before 1970 and past the last bucket.
    pub(super) fn new(tier: RowTier, datacenter: u16, start: Timestamp) -> Option<Place> {
        let (start_ms, bucket_ms) = (u64::try_from(start.as_millis()).ok()?, tier.bucket().as_millis() as u64);
        let bucket = u32::try_from(start_ms / bucket_ms).ok()?;
        Some(Place { tier, bucket, datacenter, offset_ms: (start_ms % bucket_ms) as u32 })
    }

    pub(super) fn start(self) -> Timestamp {
        let start_ms = u64::from(self.bucket) * self.tier.bucket().as_millis() as u64 + u64::from(self.offset_ms);
        Timestamp::from_millis(start_ms as i64)
    }

    pub(super) fn bucket_start(self) -> Timestamp {
        Place { offset_ms: 0, ..self }.start()
    }

    /// Returns the key of its header or durations.
    pub(super) fn key(self, table: Table) -> [u8; 12] {
        let mut key = [0; 12];
        key[..PREFIX].copy_from_slice(&self.prefix(table));
        key[PREFIX..].copy_from_slice(&self.offset_ms.to_be_bytes());
        key
    }

    /// Returns the key of one of its rows.
    pub(super) fn row_key(self, id: RowId) -> [u8; 16] {
        let mut key = [0; 16];
        key[..PREFIX].copy_from_slice(&self.prefix(Table::Rows));
        key[PREFIX..12].copy_from_slice(&id.0.to_be_bytes());
        key[12..].copy_from_slice(&self.offset_ms.to_be_bytes());
        key
    }

    fn prefix(self, table: Table) -> [u8; PREFIX] {
        let mut key = [0; PREFIX];
        key[..6].copy_from_slice(&bucket_key(table, self.tier, self.bucket));
        key[6..].copy_from_slice(&self.datacenter.to_be_bytes());
        key
    }

    /// Returns the key that says that the step of `tier` around it has to be made anew since its `put`th writing.
    pub(super) fn mark_key(self, tier: RowTier, put: u64) -> [u8; 24] {
        let mut key = [0; 24];
        key[..6].copy_from_slice(&mark_bound(tier, step_number(tier, self.start())));
        key[6..8].copy_from_slice(&self.datacenter.to_be_bytes());
        key[8..16].copy_from_slice(&self.start().as_millis().to_be_bytes());
        key[16..].copy_from_slice(&put.to_be_bytes());
        key
    }

    /// Reads back a header's key.
    pub(super) fn of_header_key(tier: RowTier, key: &[u8]) -> Option<Place> {
        let [_, _, b0, b1, b2, b3, d0, d1, o0, o1, o2, o3] = *<&[u8; 12]>::try_from(key).ok()?;
        Some(Place {
            tier,
            bucket: u32::from_be_bytes([b0, b1, b2, b3]),
            datacenter: u16::from_be_bytes([d0, d1]),
            offset_ms: u32::from_be_bytes([o0, o1, o2, o3]),
        })
    }
}

/// Returns the least key of a bucket.
pub(super) fn bucket_key(table: Table, tier: RowTier, bucket: u32) -> [u8; 6] {
    let [b0, b1, b2, b3] = bucket.to_be_bytes();
    [table as u8, tier as u8, b0, b1, b2, b3]
}

/// Reads the row and the offset back from a row's key, if it has the datacenter and bucket of `place`.
pub(super) fn row_of_key(place: Place, key: &[u8]) -> Option<(RowId, u32)> {
    let rest: &[u8; 8] = key.strip_prefix(&place.prefix(Table::Rows))?.try_into().ok()?;
    let [r0, r1, r2, r3, o0, o1, o2, o3] = *rest;
    Some((RowId(u32::from_be_bytes([r0, r1, r2, r3])), u32::from_be_bytes([o0, o1, o2, o3])))
}

/// Returns the least key of the marks of a step.
pub(super) fn mark_bound(tier: RowTier, step: u32) -> [u8; 6] {
    bucket_key(Table::Marks, tier, step)
}

/// Reads the number of the step and the datacenter back from a mark's key.
pub(super) fn step_of_mark(key: &[u8]) -> Option<(u32, u16)> {
    let step = key.get(2..)?.first_chunk()?;
    let datacenter = key.get(6..)?.first_chunk()?;
    Some((u32::from_be_bytes(*step), u16::from_be_bytes(*datacenter)))
}

/// Returns which step of a tier contains `at`, counted from 1970; the last that can be named for what is later.
pub(super) fn step_number(tier: RowTier, at: Timestamp) -> u32 {
    let step_ms = tier.step().map_or(1, |step| step.as_millis() as i64);
    u32::try_from((at.as_millis() / step_ms).max(0)).unwrap_or(u32::MAX)
}

/// Returns when a step starts.
pub(super) fn step_start(tier: RowTier, step: u32) -> Timestamp {
    let step_ms = tier.step().map_or(1, |step| step.as_millis() as i64);
    Timestamp::from_millis(i64::from(step) * step_ms)
}
