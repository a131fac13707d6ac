//! Turning the rows of a target into columns.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use firetower_model::sample::STALE_BITS;
use firetower_model::{MetricId, STALE, ShapeId, TargetId, Timestamp};

use crate::database::Store;
use crate::engine::RawIterator;
use crate::error::Error;
use crate::raw::key::{Bucket, Group, read_row_key, row_key};
use crate::raw::row::{RowState, is_keyframe, keyframe_shape};

/// What the rows of a group will need.
#[derive(Default)]
pub(crate) struct Survey {
    /// Cells by metric: rows of the shapes that it is in.
    pub(crate) cells: BTreeMap<MetricId, u64>,
    /// Bytes of all rows.
    pub(crate) row_bytes: u64,
    /// Most rows that one target has.
    pub(crate) rows_max: u64,
    /// Targets that have rows.
    pub(crate) targets: Vec<TargetId>,
}

/// Counts the rows that the targets of `group` have in `bucket`.
pub(crate) fn survey(store: &Store, bucket: Bucket, group: Group) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    let mut by_shape: HashMap<ShapeId, u64> = HashMap::new();
    let (mut shape, mut rows) = (ShapeId(0), 0);
    let mut entries = entries(store, bucket, group.first(), group.last());
    while let Some((key, row)) = entries.item() {
        let corrupt = || Error::corrupt("row", key);
        let (_, target, _) = read_row_key(key).ok_or_else(corrupt)?;
        if is_keyframe(row) {
            shape = keyframe_shape(row).ok_or_else(corrupt)?;
        }
        if survey.targets.last() != Some(&target) {
            survey.targets.push(target);
            rows = 0;
        }
        rows += 1;
        survey.rows_max = survey.rows_max.max(rows);
        survey.row_bytes += row.len() as u64;
        *by_shape.entry(shape).or_default() += 1;
        entries.next();
    }
    entries.status().map_err(Error::at("count rows"))?;
    for (shape, rows) in by_shape {
        for metric in metrics(store, shape)?.iter() {
            *survey.cells.entry(*metric).or_default() += rows;
        }
    }
    Ok(survey)
}

/// One series: which of its target's rows have it, and its values there.
#[derive(Default)]
pub(crate) struct Column {
    /// (first row, number of rows), in order.
    runs: Vec<(u32, u32)>,
    values: Vec<f64>,
}

impl Column {
    fn push(&mut self, row: u32, value: f64) {
        match self.runs.last_mut() {
            Some((first, count)) if *first + *count == row => *count += 1,
            _ => self.runs.push((row, 1)),
        }
        self.values.push(value);
    }

    /// Returns its values if every one of `rows` rows has one.
    pub(crate) fn whole(&self, rows: usize) -> Option<&[f64]> {
        (self.values.len() == rows && rows > 0).then_some(self.values.as_slice())
    }

    /// Returns its samples, given the times of its target's rows.
    pub(crate) fn samples<'a>(&'a self, times: &'a [i64]) -> impl Iterator<Item = (i64, f64)> + 'a {
        let rows = self.runs.iter().flat_map(|(first, count)| *first..*first + *count);
        rows.map(|row| times[row as usize]).zip(self.values.iter().copied())
    }
}

/// Some columns of one target, and the times of its rows; its memory serves one target after the other.
#[derive(Default)]
pub(crate) struct TargetColumns {
    pub(crate) times: Vec<i64>,
    pub(crate) columns: Vec<Column>,
}

impl TargetColumns {
    /// Reads the columns of `wanted`, which is sorted, for `target` in `bucket`.
    pub(crate) fn read(
        &mut self,
        store: &Store,
        bucket: Bucket,
        target: TargetId,
        wanted: &[MetricId],
    ) -> Result<(), Error> {
        self.times.clear();
        self.columns.resize_with(wanted.len(), Column::default);
        for column in &mut self.columns {
            column.runs.clear();
            column.values.clear();
        }
        let mut state = RowState::default();
        let mut shape = None;
        let mut places: Vec<(usize, usize)> = Vec::new();
        let mut entries = entries(store, bucket, target, target);
        let mut holes = 0;
        while let Some((key, row)) = entries.item() {
            let corrupt = || Error::corrupt("row", key);
            let (_, _, at) = read_row_key(key).ok_or_else(corrupt)?;
            if std::mem::replace(&mut holes, entries.holes()) != holes {
                state.restart();
            }
            if holes > 0 && state.needs_keyframe() && !is_keyframe(row) {
                // What it builds on could not be read.
                entries.next();
                continue;
            }
            state.read(row).ok_or_else(corrupt)?;
            if shape.replace(state.shape) != Some(state.shape) {
                let metrics = metrics(store, state.shape)?;
                let place = |metric| wanted.binary_search(metric).ok();
                places = metrics.iter().enumerate().filter_map(|(at, metric)| Some((at, place(metric)?))).collect();
            }
            self.push(at.as_millis(), &state, &places);
            entries.next();
        }
        entries.status().map_err(Error::at("read rows"))
    }

    fn push(&mut self, at: i64, state: &RowState, places: &[(usize, usize)]) {
        let row = self.times.len() as u32;
        self.times.push(at);
        for (column, place) in places {
            let value = state.values.get(*column).copied().unwrap_or(STALE);
            if value.to_bits() != STALE_BITS || state.ended.binary_search(&(*column as u32)).is_ok() {
                self.columns[*place].push(row, value);
            }
        }
    }
}

/// Returns the rows of the targets from `first` to `last`, both inclusive, in `bucket`.
fn entries(store: &Store, bucket: Bucket, first: TargetId, last: TargetId) -> RawIterator<'_> {
    let mut options = store.reading_once();
    options.set_iterate_lower_bound(row_key(bucket, first, Timestamp::MIN));
    let after = match (last.0.checked_add(1), bucket.checked_next()) {
        (Some(after), _) => Some(row_key(bucket, TargetId(after), Timestamp::MIN)),
        (None, Some(next)) => Some(row_key(next, TargetId(0), Timestamp::MIN)),
        (None, None) => None,
    };
    if let Some(after) = after {
        options.set_iterate_upper_bound(after);
    }
    let mut entries = store.db.raw_iterator_cf_opt(store.family("raw_rows"), options);
    entries.seek_to_first();
    entries
}

fn metrics(store: &Store, shape: ShapeId) -> Result<Arc<[MetricId]>, Error> {
    store.shape_metrics(shape).ok_or(Error::UnknownShape { shape })
}
