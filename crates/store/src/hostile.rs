//! Reading of bytes that nobody here wrote.

use firetower_model::MetricId;
use xxhash_rust::xxh3::xxh3_64;

use crate::raw::block::Block;
use crate::raw::read_rows;
use crate::tiers::read_span_block;
use crate::tree::read_partial;

/// Blocks that say they have more samples are not read: what is tested is what the bytes do, not how long they are.
const SAMPLES_MAX: u64 = 1 << 16;

/// Reads `bytes` as a block of samples, a block of spans, a row or a window's rows, by their first byte; their checksum
/// is put right first. Returns whether anything was read.
///
/// What no release has written must read as damaged: never panic, and never take memory without bound. For `fuzz/`.
#[doc(hidden)]
pub fn read_hostile(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else { return false };
    match kind % 4 {
        0 => read_block(&with_checksum(rest)).is_some(),
        1 => read_span_block(&with_checksum(rest)).is_some(),
        2 => read_rows(rest).is_some(),
        _ => read_partial(rest).is_some(),
    }
}

fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let checksum = xxh3_64(bytes) as u32;
    [&checksum.to_le_bytes()[..], bytes].concat()
}

fn read_block(bytes: &[u8]) -> Option<()> {
    let block = Block::open(bytes, MetricId(1), 1_700_000_000_000)?;
    let samples = block.samples()?;
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for metric in (1..=block.last()?.0).take(64).map(MetricId) {
        let Some(columns) = block.metric(metric).filter(|_| samples < SAMPLES_MAX) else { continue };
        for place in (0..64).filter(|place| columns.has(*place)) {
            if columns.read(place, &mut times, &mut values).is_some() {
                assert_eq!(times.len(), values.len(), "a value for each time");
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_bytes_nothing_panics(bytes in vec(any::<u8>(), 0..400)) {
            read_hostile(&bytes);
        }

        #[test]
        fn nor_where_all_numbers_are_small(bytes in vec(0u8..4, 0..200)) {
            read_hostile(&bytes);
        }
    }
}
