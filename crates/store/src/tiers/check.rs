//! Whether blocks of spans decode.

use firetower_model::{MetricId, SpanTier};

use super::block::{Place, SpanBlock};
use super::make::ROW_TIMES;
use super::timing::RowTimes;
use super::{family, step_ms};
use crate::database::Store;
use crate::raw::key::{GROUP_TARGETS, block_key, read_block_key};

/// Reads a whole entry of the family of a tier; `None` if it does not decode, or has a metric that is not known.
pub(crate) fn check_spans(
    store: &Store,
    name: &str,
    key: &[u8],
    value: &[u8],
    is_known: impl Fn(MetricId) -> bool,
) -> Option<()> {
    let tier = SpanTier::ALL.into_iter().find(|tier| family(*tier) == name)?;
    let (bucket, group, first) = read_block_key(key)?;
    let start = store.raw.length.start(bucket).as_millis();
    if first == ROW_TIMES {
        return RowTimes::from_bytes(value, start).map(drop);
    }
    let block = SpanBlock::open(value, first, Place { step_ms: step_ms(tier), start })?;
    if !block.metrics().all(is_known) {
        return None;
    }
    let rows = store.db.get_pinned_cf(store.family(family(tier)), block_key(bucket, group, ROW_TIMES)).ok()?;
    let rows = rows.map_or_else(|| Some(RowTimes::default()), |rows| RowTimes::from_bytes(&rows, start))?;
    // To come to the last series, all before it are read.
    let last = (GROUP_TARGETS as u8 - 1, block.metrics().next_back()?);
    block.read(&[last], &rows).map(drop)
}
