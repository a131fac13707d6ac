//! A window's rows as columns.

use std::time::Duration;

use firetower_model::{
    Coverage, Cross, Epoch, Generation, JobDurations, KeptVersion, Revision, RowId, SlotBits, Timestamp, Watermark,
    Window, WindowRows,
};
use prost::Message;

use crate::codec::column::{counts, deltas, doubles, next_id, read};
use crate::codec::walk::check_count;
use crate::error::Error;
use crate::limits::{
    BLOCKS_MAX, HISTOGRAM_BYTES_MAX, JOBS_MAX, NAME_BYTES_MAX, ROWS_MAX, SLOTS_MAX, WINDOW_TIME_MS_MAX, text_within,
    within,
};
use crate::proto;
use crate::proto::row_block::ValueKind;

const BLOCKS_FIELD: u32 = 9;
const DURATIONS_FIELD: u32 = 10;

pub(super) fn to_proto(rows: &WindowRows) -> Result<proto::WindowRows, Error> {
    within("rows", rows.rows.len(), ROWS_MAX)?;
    within("jobs", rows.durations.len(), JOBS_MAX)?;
    let blocks = if rows.rows.is_empty() { Vec::new() } else { vec![block_to_proto(&rows.rows)?] };
    Ok(proto::WindowRows {
        datacenter: text_within("datacenter", rows.datacenter.clone(), NAME_BYTES_MAX)?,
        window_start_ms: rows.window.start().as_millis(),
        window_length_ms: rows.window.length().as_millis() as u32,
        revision: rows.revision.0,
        epoch: rows.epoch.0,
        coverage: Some(coverage_to_proto(&rows.coverage)),
        slots: rows.slots.as_ref().map(slots_to_proto).transpose()?,
        watermark: watermark_to_proto(&rows.watermark),
        blocks,
        durations: rows.durations.iter().map(durations_to_proto).collect::<Result<_, _>>()?,
        kept_dropped: rows.kept.dropped,
        kept_fingerprint: rows.kept.fingerprint,
    })
}

pub(super) fn decode(message: &[u8]) -> Result<WindowRows, Error> {
    check_count("row blocks", message, BLOCKS_FIELD, BLOCKS_MAX)?;
    check_count("jobs", message, DURATIONS_FIELD, JOBS_MAX)?;
    let read = proto::WindowRows::decode(message).map_err(|source| Error::Malformed { what: "window rows", source })?;
    let mut rows = Vec::new();
    for block in read.blocks {
        if block.value_kind == i32::from(ValueKind::Float) {
            read_block(block, &mut rows)?;
        } else {
            tracing::debug!(value_kind = block.value_kind, rows = block.id_deltas.len(), "unknown block skipped");
        }
    }
    Ok(WindowRows {
        datacenter: text_within("datacenter", read.datacenter, NAME_BYTES_MAX)?,
        window: window_from_proto(read.window_start_ms, read.window_length_ms)?,
        revision: Revision(read.revision),
        epoch: Epoch(read.epoch),
        coverage: coverage_from_proto(read.coverage.unwrap_or_default()),
        slots: read.slots.map(slots_from_proto).transpose()?,
        watermark: watermark_from_proto(read.watermark),
        rows,
        durations: read.durations.into_iter().map(durations_from_proto).collect::<Result<_, _>>()?,
        kept: KeptVersion { dropped: read.kept_dropped, fingerprint: read.kept_fingerprint },
    })
}

fn block_to_proto(rows: &[(RowId, Cross)]) -> Result<proto::RowBlock, Error> {
    let crosses = || rows.iter().map(|(_, cross)| cross);
    Ok(proto::RowBlock {
        value_kind: ValueKind::Float.into(),
        id_deltas: deltas(rows.iter().map(|(id, _)| id.0))?,
        series: counts(crosses().map(|cross| cross.series)),
        special: counts(crosses().map(|cross| cross.special)),
        sum: doubles(crosses().map(|cross| cross.sum)),
        min: doubles(crosses().map(|cross| cross.min)),
        max: doubles(crosses().map(|cross| cross.max)),
        increase: doubles(crosses().map(|cross| cross.increase)),
        unanchored: counts(crosses().map(|cross| cross.unanchored)),
        start_ms: Vec::new(),
    })
}

fn read_block(block: proto::RowBlock, rows: &mut Vec<(RowId, Cross)>) -> Result<(), Error> {
    let count = block.id_deltas.len();
    within("rows", rows.len() + count, ROWS_MAX)?;
    let series = read("series column", block.series, count)?;
    let special = read("special column", block.special, count)?;
    let sum = read("sum column", block.sum, count)?;
    let min = read("min column", block.min, count)?;
    let max = read("max column", block.max, count)?;
    let increase = read("increase column", block.increase, count)?;
    let unanchored = read("unanchored column", block.unanchored, count)?;
    let last_of_blocks_before = rows.last().map(|(id, _)| id.0);
    let mut previous = None;
    for (at, delta) in block.id_deltas.into_iter().enumerate() {
        let id = next_id(previous, delta)?;
        previous = Some(id);
        let cross = Cross {
            series: series[at],
            special: special[at],
            sum: sum[at],
            min: min[at],
            max: max[at],
            increase: increase[at],
            unanchored: unanchored[at],
        };
        if at == 0 && last_of_blocks_before.is_some_and(|last| last >= id) {
            return Err(Error::Invalid { what: "row ids", rule: "must rise" });
        }
        rows.push((RowId(id), cross));
    }
    Ok(())
}

fn window_from_proto(start_ms: i64, length_ms: u32) -> Result<Window, Error> {
    let invalid = |rule| Error::Invalid { what: "window", rule };
    if length_ms == 0 {
        return Err(invalid("must have a length"));
    }
    if !(-WINDOW_TIME_MS_MAX..=WINDOW_TIME_MS_MAX).contains(&start_ms) {
        return Err(invalid("must not be thousands of years away"));
    }
    if start_ms.rem_euclid(i64::from(length_ms)) != 0 {
        return Err(invalid("must start at a multiple of its length"));
    }
    Ok(Window::containing(Timestamp::from_millis(start_ms), Duration::from_millis(length_ms.into())))
}

pub(super) fn coverage_to_proto(coverage: &Coverage) -> proto::Coverage {
    proto::Coverage {
        expected: coverage.expected,
        reported: coverage.reported,
        late: coverage.late,
        lost: coverage.lost,
    }
}

pub(super) fn coverage_from_proto(read: proto::Coverage) -> Coverage {
    Coverage { expected: read.expected, reported: read.reported, late: read.late, lost: read.lost }
}

fn slots_to_proto(slots: &SlotBits) -> Result<proto::SlotBits, Error> {
    within("slots", slots.count() as usize, SLOTS_MAX)?;
    Ok(proto::SlotBits { generation: slots.generation.0, count: slots.count(), bits: slots.to_bytes() })
}

fn slots_from_proto(read: proto::SlotBits) -> Result<SlotBits, Error> {
    within("slots", read.count as usize, SLOTS_MAX)?;
    SlotBits::from_bytes(Generation(read.generation), read.count, &read.bits)
        .ok_or(Error::Invalid { what: "slot bits", rule: "must be as many as their count" })
}

pub(super) fn watermark_to_proto(watermark: &Watermark) -> Option<proto::Watermark> {
    (*watermark != Watermark::default()).then(|| proto::Watermark {
        newest_ms: watermark.newest.as_millis(),
        complete_through_ms: watermark.complete_through.as_millis(),
    })
}

pub(super) fn watermark_from_proto(read: Option<proto::Watermark>) -> Watermark {
    read.map_or_else(Watermark::default, |read| Watermark {
        newest: Timestamp::from_millis(read.newest_ms),
        complete_through: Timestamp::from_millis(read.complete_through_ms),
    })
}

fn durations_to_proto(durations: &JobDurations) -> Result<proto::JobDurations, Error> {
    within("histogram", durations.histogram.len(), HISTOGRAM_BYTES_MAX)?;
    Ok(proto::JobDurations {
        job: text_within("job", durations.job.clone(), NAME_BYTES_MAX)?,
        histogram: durations.histogram.clone(),
    })
}

fn durations_from_proto(read: proto::JobDurations) -> Result<JobDurations, Error> {
    within("histogram", read.histogram.len(), HISTOGRAM_BYTES_MAX)?;
    Ok(JobDurations { job: text_within("job", read.job, NAME_BYTES_MAX)?, histogram: read.histogram })
}
