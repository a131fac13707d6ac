//! Columns of numbers.

use crate::error::Error;

/// Returns rising `ids` as the first, then each one's distance from the one before.
pub(crate) fn deltas(ids: impl Iterator<Item = u32>) -> Result<Vec<u32>, Error> {
    let mut previous: Option<u32> = None;
    ids.map(|id| {
        let delta = match previous {
            None => id,
            Some(previous) => id.checked_sub(previous).filter(|delta| *delta > 0).ok_or(NOT_RISING)?,
        };
        previous = Some(id);
        Ok(delta)
    })
    .collect()
}

const NOT_RISING: Error = Error::Invalid { what: "row ids", rule: "must rise" };

/// Returns the id that is `delta` after `previous`, or the first one.
pub(crate) fn next_id(previous: Option<u32>, delta: u32) -> Result<u32, Error> {
    match previous {
        None => Ok(delta),
        Some(_) if delta == 0 => Err(NOT_RISING),
        Some(previous) => previous.checked_add(delta).ok_or(NOT_RISING),
    }
}

/// Returns `column`, or none of it if all entries are 0.
pub(crate) fn counts(column: impl Iterator<Item = u64>) -> Vec<u64> {
    let column: Vec<u64> = column.collect();
    if column.iter().all(|count| *count == 0) { Vec::new() } else { column }
}

/// Returns `column`, or none of it if all entries are 0.0 to the bit.
pub(crate) fn doubles(column: impl Iterator<Item = f64>) -> Vec<f64> {
    let column: Vec<f64> = column.collect();
    if column.iter().all(|value| value.to_bits() == 0) { Vec::new() } else { column }
}

/// Reads back what [`counts`] or [`doubles`] returned for `rows` entries.
pub(crate) fn read<T: Copy + Default>(what: &'static str, column: Vec<T>, rows: usize) -> Result<Vec<T>, Error> {
    match column.len() {
        0 => Ok(vec![T::default(); rows]),
        length if length == rows => Ok(column),
        _ => Err(Error::Invalid { what, rule: "must have as many entries as there are ids" }),
    }
}
