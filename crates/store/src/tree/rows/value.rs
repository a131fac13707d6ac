//! How rows and headers are packed.

use firetower_model::{Cross, Epoch, Revision};

use crate::tree::codec::{Reader, put_coverage, put_float, put_varint, put_watermark, put_window};
use crate::tree::rows::RowHeader;

/// One row over the windows of a longer step.
///
/// A window without the row counts for nothing: means are over the windows that have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierRow {
    /// How many windows have the row.
    pub windows: u64,
    /// Series of all windows added up; see [`TierRow::series_mean`].
    pub series_total: u64,
    /// Series of the window with the fewest.
    pub series_min: u64,
    /// Series of the window with the most.
    pub series_max: u64,
    /// Special values of all windows added up.
    pub special: u64,
    /// Sums of all windows added up; see [`TierRow::sum_mean`].
    pub sum_total: f64,
    /// Least sum of a window.
    pub sum_min: f64,
    /// Greatest sum of a window.
    pub sum_max: f64,
    /// Least finite value; `+Inf` if there is none.
    pub min: f64,
    /// Greatest finite value; `-Inf` if there is none.
    pub max: f64,
    /// Growth of the counters over all windows.
    pub increase: f64,
    /// Unanchored counters of all windows added up.
    pub unanchored: u64,
}

impl TierRow {
    /// Makes the row of one window.
    pub fn of(cross: &Cross) -> TierRow {
        TierRow {
            windows: 1,
            series_total: cross.series,
            series_min: cross.series,
            series_max: cross.series,
            special: cross.special,
            sum_total: cross.sum,
            sum_min: cross.sum,
            sum_max: cross.sum,
            min: cross.min,
            max: cross.max,
            increase: cross.increase,
            unanchored: cross.unanchored,
        }
    }

    /// Adds later windows.
    pub fn merge(&mut self, later: &TierRow) {
        self.windows += later.windows;
        self.series_total += later.series_total;
        self.series_min = self.series_min.min(later.series_min);
        self.series_max = self.series_max.max(later.series_max);
        self.special += later.special;
        self.sum_total += later.sum_total;
        self.sum_min = self.sum_min.min(later.sum_min);
        self.sum_max = self.sum_max.max(later.sum_max);
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.increase += later.increase;
        self.unanchored += later.unanchored;
    }

    /// Returns how many series a window had on average.
    pub fn series_mean(&self) -> f64 {
        self.series_total as f64 / self.windows as f64
    }

    /// Returns what a window's sum was on average.
    pub fn sum_mean(&self) -> f64 {
        self.sum_total / self.windows as f64
    }
}

pub(super) fn encode_cross(put: u64, cross: &Cross) -> Vec<u8> {
    let mut value = Vec::with_capacity(32);
    for count in [put, cross.series, cross.special, cross.unanchored] {
        put_varint(&mut value, count);
    }
    for float in [cross.sum, cross.min, cross.max, cross.increase] {
        put_float(&mut value, float);
    }
    value
}

/// Reads a row back, and of which writing it is.
pub(super) fn decode_cross(value: &[u8]) -> Option<(u64, Cross)> {
    let mut reader = Reader::new(value);
    let put = reader.varint()?;
    let [series, special, unanchored] = [reader.varint()?, reader.varint()?, reader.varint()?];
    let [sum, min, max, increase] = [reader.float()?, reader.float()?, reader.float()?, reader.float()?];
    reader.finish()?;
    Some((put, Cross { series, special, sum, min, max, increase, unanchored }))
}

pub(super) fn encode_tier_row(put: u64, row: &TierRow) -> Vec<u8> {
    let mut value = Vec::with_capacity(64);
    let series = [row.series_total, row.series_min, row.series_max];
    for count in [put, row.windows].into_iter().chain(series).chain([row.special, row.unanchored]) {
        put_varint(&mut value, count);
    }
    for float in [row.sum_total, row.sum_min, row.sum_max, row.min, row.max, row.increase] {
        put_float(&mut value, float);
    }
    value
}

/// Reads a row back, and of which writing it is.
pub(super) fn decode_tier_row(value: &[u8]) -> Option<(u64, TierRow)> {
    let mut reader = Reader::new(value);
    let put = reader.varint()?;
    let windows = reader.varint()?;
    let [series_total, series_min, series_max] = [reader.varint()?, reader.varint()?, reader.varint()?];
    let [special, unanchored] = [reader.varint()?, reader.varint()?];
    let [sum_total, sum_min, sum_max] = [reader.float()?, reader.float()?, reader.float()?];
    let [min, max, increase] = [reader.float()?, reader.float()?, reader.float()?];
    reader.finish()?;
    let row = TierRow {
        windows,
        series_total,
        series_min,
        series_max,
        special,
        sum_total,
        sum_min,
        sum_max,
        min,
        max,
        increase,
        unanchored,
    };
    Some((put, row))
}

pub(super) fn encode_header(header: &RowHeader) -> Vec<u8> {
    let mut value = Vec::with_capacity(48);
    put_varint(&mut value, header.put);
    put_window(&mut value, header.window);
    put_varint(&mut value, header.epoch.0);
    put_varint(&mut value, header.revision.0);
    put_coverage(&mut value, &header.coverage);
    put_coverage(&mut value, &header.worst);
    put_watermark(&mut value, &header.watermark);
    value
}

pub(super) fn decode_header(value: &[u8]) -> Option<RowHeader> {
    let mut reader = Reader::new(value);
    let (put, window) = (reader.varint()?, reader.window()?);
    let (epoch, revision) = (Epoch(reader.varint()?), Revision(reader.varint()?));
    let (coverage, worst, watermark) = (reader.coverage()?, reader.coverage()?, reader.watermark()?);
    reader.finish()?;
    Some(RowHeader { window, coverage, worst, epoch, revision, watermark, put })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::codec::tests::cross;

    proptest! {
        #[test]
        fn rows_read_back_bit_for_bit(put in any::<u64>(), cross in cross()) {
            let bytes = encode_cross(put, &cross);
            let (read_put, read) = decode_cross(&bytes).unwrap();
            prop_assert_eq!((read_put, encode_cross(read_put, &read)), (put, bytes));
            let bytes = encode_tier_row(put, &TierRow::of(&cross));
            let (read_put, read) = decode_tier_row(&bytes).unwrap();
            prop_assert_eq!((read_put, encode_tier_row(read_put, &read)), (put, bytes));
        }
    }
}
