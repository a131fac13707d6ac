//! Settling: a closed bucket's rows and loose samples become blocks.
//!
//! Blocks are put first, past the log, and flushed; then, in one batch, the rows and loose samples go and the mark moves.
//! So a crash at any point loses nothing and doubles nothing: readers merge what lies in both, and who begins anew drops
//! the blocks that were left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use firetower_model::{MetricId, SpanTier, TargetId, Timestamp};

use crate::database::Store;
use crate::engine::{ReadOptions, WriteBatch};
use crate::error::Error;
use crate::raw::block::{BlockWriter, MetricColumns, Patterns};
use crate::raw::column::ColumnWriter;
use crate::raw::key::{Bucket, GROUP_TARGETS, Group, block_key, loose_key, read_loose_key, read_row_key, row_key};
use crate::raw::loose::read_loose_value;
use crate::raw::times::put_pattern;
use crate::raw::transpose::{Survey, TargetColumns, survey};
use crate::tiers::{SpanWriters, family, spans_bytes};

/// Bytes held for a sample of one target while its rows are turned into columns, with the room that a growing list has to spare.
const CELL_BYTES: u64 = 12;
/// Most metrics in one step, however few samples they have.
const STEP_METRICS_MAX: usize = 4096;

/// Series that have loose samples.
type LoosePairs = BTreeSet<(MetricId, TargetId)>;

/// The settling of one bucket, done in steps of bounded time and memory.
///
/// Dropped before the end, it can begin anew: until the last step nothing is taken away.
pub struct Settle {
    store: Store,
    bucket: Bucket,
    budget_bytes: u64,
    /// Groups still to do, each with its series that have loose samples.
    groups: VecDeque<(Group, LoosePairs)>,
    current: Option<Current>,
    columns: TargetColumns,
    column_writer: ColumnWriter,
    settled: Option<Bucket>,
}

/// The group being settled.
struct Current {
    group: Group,
    survey: Survey,
    loose: LoosePairs,
    /// Metrics still to do, with their cells.
    metrics: VecDeque<(MetricId, u64)>,
}

impl Store {
    /// Begins to settle the oldest bucket that has rows or loose samples and ended at least `late_window` before `now`.
    ///
    /// Returns `None` if there is none, or one is being settled. From here on its late samples are stored loose; batches
    /// that hold rows of it and are not yet committed will be refused, so `late_window` must exceed a batch's life.
    /// `budget_bytes` bounds the memory for samples, roughly, and is exceeded where one metric of 64 targets does not fit.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn settle_due(
        &self,
        now: Timestamp,
        late_window: Duration,
        budget_bytes: usize,
    ) -> Result<Option<Settle>, Error> {
        let Some(bucket) = self.oldest_unsettled()? else { return Ok(None) };
        let is_over = self.raw.length.start(bucket.next()) + late_window <= now && bucket < bucket.next();
        if !is_over || !self.raw.gate.begin(bucket) {
            return Ok(None);
        }
        let mut settle = Settle {
            store: self.clone(),
            bucket,
            budget_bytes: budget_bytes as u64,
            groups: VecDeque::new(),
            current: None,
            columns: TargetColumns::default(),
            column_writer: ColumnWriter::default(),
            settled: None,
        };
        // Now that the bucket is closed, no row of it or of an older one can still come.
        if self.oldest_unsettled()? != Some(bucket) {
            return Ok(None);
        }
        settle.clear_leftovers()?;
        settle.groups = settle.find_groups()?;
        Ok(Some(settle))
    }

    fn oldest_unsettled(&self) -> Result<Option<Bucket>, Error> {
        let start = self.first_unsettled();
        let oldest = [self.first_bucket("raw_rows", start)?, self.first_bucket("raw_loose", start)?];
        Ok(oldest.into_iter().flatten().min())
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        self.store.raw.gate.end(self.settled);
    }
}

impl Settle {
    /// Returns the bucket that is being settled: its first moment, and the first after it.
    pub fn range(&self) -> (Timestamp, Timestamp) {
        (self.store.raw.length.start(self.bucket), self.store.raw.length.start(self.bucket.next()))
    }

    /// Does one step, which may block for some hundreds of milliseconds; returns whether there are more.
    ///
    /// # Errors
    /// If the store cannot be read or written, or holds damaged rows. Then nothing was taken away.
    pub fn step(&mut self) -> Result<bool, Error> {
        if self.settled.is_some() {
            return Ok(false);
        }
        let Some(mut current) = self.current.take() else {
            let Some((group, loose)) = self.groups.pop_front() else {
                self.finish()?;
                return Ok(false);
            };
            self.current = Some(self.survey(group, loose)?);
            return Ok(true);
        };
        let metrics = current.next_metrics(self.budget_bytes);
        if !metrics.is_empty() {
            self.write_blocks(&current, &metrics)?;
            self.current = Some(current);
        }
        Ok(true)
    }

    /// Does all steps.
    ///
    /// # Errors
    /// As [`Settle::step`].
    pub fn run(mut self) -> Result<(), Error> {
        while self.step()? {}
        Ok(())
    }

    /// Tells whether there is more to do than the last step.
    #[cfg(test)]
    pub(crate) fn current_is_unfinished(&self) -> bool {
        self.current.is_some() || !self.groups.is_empty()
    }

    /// Takes away the blocks that an attempt left which did not end: the next may cut them at other metrics.
    fn clear_leftovers(&self) -> Result<(), Error> {
        let (from, to) = (self.bucket.to_bytes(), self.bucket.next().to_bytes());
        let mut batch = WriteBatch::default();
        for family in ["raw_blocks"].into_iter().chain(SpanTier::ALL.map(family)) {
            let family = self.store.family(family);
            let mut options = ReadOptions::default();
            options.set_iterate_upper_bound(to);
            let mut entries = self.store.db.raw_iterator_cf_opt(family, options);
            entries.seek(from);
            if entries.valid() {
                batch.delete_range_cf(family, from, to);
            }
            entries.status().map_err(Error::at("find unfinished blocks"))?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.store.db.write(batch).map_err(Error::at("drop unfinished blocks"))
    }

    fn find_groups(&self) -> Result<VecDeque<(Group, LoosePairs)>, Error> {
        let mut groups: BTreeMap<Group, LoosePairs> = BTreeMap::new();
        let mut rows = self.store.db.raw_iterator_cf_opt(self.store.family("raw_rows"), self.store.reading_once());
        rows.seek(self.bucket.to_bytes());
        while let Some(key) = rows.key() {
            let (bucket, target, _) = read_row_key(key).ok_or_else(|| Error::corrupt("row", key))?;
            if bucket != self.bucket {
                break;
            }
            let group = Group::of(target);
            groups.entry(group).or_default();
            let Some(after) = group.last().0.checked_add(1) else { break };
            rows.seek(row_key(bucket, TargetId(after), Timestamp::MIN));
        }
        rows.status().map_err(Error::at("find targets to settle"))?;
        let mut loose = self.store.db.raw_iterator_cf_opt(self.store.family("raw_loose"), self.store.reading_once());
        loose.seek(self.bucket.to_bytes());
        while let Some(key) = loose.key() {
            let (bucket, metric, target, _) = read_loose_key(key).ok_or_else(|| Error::corrupt("loose sample", key))?;
            if bucket != self.bucket {
                break;
            }
            groups.entry(Group::of(target)).or_default().insert((metric, target));
            loose.seek(loose_key(bucket, metric, target, Timestamp::MAX));
            if loose.key() == Some(&loose_key(bucket, metric, target, Timestamp::MAX)) {
                loose.next();
            }
        }
        loose.status().map_err(Error::at("find loose samples to settle"))?;
        Ok(groups.into_iter().collect())
    }

    fn survey(&self, group: Group, loose: LoosePairs) -> Result<Current, Error> {
        let survey = survey(&self.store, self.bucket, group)?;
        let mut cells = survey.cells.clone();
        // A series with loose samples may have as many as others have rows.
        for (metric, _) in &loose {
            *cells.entry(*metric).or_default() += survey.rows_max.max(1);
        }
        Ok(Current { group, survey, loose, metrics: cells.into_iter().collect() })
    }

    fn write_blocks(&mut self, current: &Current, metrics: &[(MetricId, u64)]) -> Result<(), Error> {
        let start = self.store.raw.length.start(self.bucket).as_millis();
        let mut patterns = Patterns::default();
        let mut spans = SpanWriters::new(&self.store, self.bucket, current.group, metrics);
        let mut columns: Vec<MetricColumns> = metrics.iter().map(|_| MetricColumns::default()).collect();
        let metrics: Vec<MetricId> = metrics.iter().map(|(metric, _)| *metric).collect();
        for place in 0..GROUP_TARGETS as u8 {
            self.add_target(current, current.group.target(place), &metrics, (&mut patterns, &mut columns), &mut spans)?;
        }
        let mut batch = WriteBatch::default();
        spans.finish(&self.store, &mut batch);
        let mut writer = BlockWriter::new(&patterns, start);
        let mut put = |(first, block): (MetricId, Vec<u8>)| {
            batch.put_cf(self.store.family("raw_blocks"), block_key(self.bucket, current.group, first), block);
        };
        for (metric, columns) in metrics.iter().zip(columns) {
            if writer.add(*metric, &columns) {
                writer.finish().into_iter().for_each(&mut put);
            }
        }
        writer.finish().into_iter().for_each(&mut put);
        // The rows are there until the blocks are in files: what a crash takes of these is made again.
        self.store.db.write_unlogged(batch).map_err(Error::at("write blocks"))
    }

    /// Adds the series of `target` to the columns of `metrics`.
    fn add_target(
        &mut self,
        current: &Current,
        target: TargetId,
        metrics: &[MetricId],
        (patterns, written): (&mut Patterns, &mut [MetricColumns]),
        spans: &mut SpanWriters,
    ) -> Result<(), Error> {
        let place = Group::place(target);
        let has_rows = current.survey.targets.binary_search(&target).is_ok();
        if has_rows {
            self.columns.read(&self.store, self.bucket, target, metrics)?;
            spans.rows(place, &self.columns.times);
        }
        let mut pattern = Vec::new();
        put_pattern(&mut pattern, &self.columns.times);
        let row_pattern = patterns.intern(&pattern);
        for (at, (metric, written)) in metrics.iter().zip(written).enumerate() {
            let column = self.columns.columns.get(at).filter(|_| has_rows);
            let is_loose = current.loose.contains(&(*metric, target));
            let whole = column.and_then(|column| column.whole(self.columns.times.len())).filter(|_| !is_loose);
            if let Some(values) = whole {
                written.add(place, self.columns.times[0], row_pattern, values, &mut self.column_writer);
                spans.add(at, place, &self.columns.times, values);
                continue;
            }
            let loose = if is_loose { self.read_loose(*metric, target)? } else { Vec::new() };
            let rows = column.into_iter().flat_map(|column| column.samples(&self.columns.times));
            let (times, values) = lay_over(rows, loose);
            if let Some(first) = times.first() {
                pattern.clear();
                put_pattern(&mut pattern, &times);
                written.add(place, *first, patterns.intern(&pattern), &values, &mut self.column_writer);
                spans.add(at, place, &times, &values);
            }
        }
        Ok(())
    }

    /// Returns the loose samples of a series, in time order.
    fn read_loose(&self, metric: MetricId, target: TargetId) -> Result<Vec<(i64, f64)>, Error> {
        let mut found = Vec::new();
        let mut entries = self.store.db.raw_iterator_cf_opt(self.store.family("raw_loose"), self.store.reading_once());
        entries.seek(loose_key(self.bucket, metric, target, Timestamp::MIN));
        while let Some((key, value)) = entries.item() {
            let corrupt = || Error::corrupt("loose sample", key);
            let (bucket, other, whose, at) = read_loose_key(key).ok_or_else(corrupt)?;
            if (bucket, other, whose) != (self.bucket, metric, target) {
                break;
            }
            found.push((at.as_millis(), read_loose_value(value).ok_or_else(corrupt)?));
            entries.next();
        }
        entries.status().map_err(Error::at("read loose samples"))?;
        Ok(found)
    }

    /// Takes the settled rows and loose samples away and moves the mark, together.
    fn finish(&mut self) -> Result<(), Error> {
        let store = &self.store;
        store.flush()?;
        let (from, to) = (self.bucket.to_bytes(), self.bucket.next().to_bytes());
        let alone = store.raw.gate.alone();
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(store.family("raw_rows"), from, to);
        // Loose samples that came since the blocks were begun may not be in them; then all stay, and count before them.
        if !store.raw.gate.is_dirty() {
            batch.delete_range_cf(store.family("raw_loose"), from, to);
        }
        store.put_settled(&mut batch, store.raw.gate.settled().max(Some(self.bucket)).unwrap_or(self.bucket));
        store.db.write(batch).map_err(Error::at("finish settling"))?;
        self.settled = Some(self.bucket);
        store.raw.gate.end(self.settled);
        drop(alone);
        // Files that hold only settled rows go at once; what shares a file with others goes when it is merged, which rows
        // seldom are of themselves.
        let family = store.family("raw_rows");
        let before = self.bucket.previous().to_bytes();
        let dropped = store.db.delete_file_in_range_cf(family, Bucket::MIN.to_bytes(), before);
        store.db.compact_range_cf(family, None::<&[u8]>, Some(to));
        dropped.map_err(Error::at("drop files of settled rows"))
    }
}

impl Current {
    /// Takes the metrics of the next step; of each there are about so many series.
    fn next_metrics(&mut self, budget_bytes: u64) -> Vec<(MetricId, u64)> {
        let cells: u64 = self.survey.cells.values().sum();
        let mut metrics = Vec::new();
        let mut bytes = 0;
        while let Some((metric, metric_cells)) = self.metrics.front() {
            // What a column takes in a block is about what its share of the rows took; its spans take less than a third.
            let block_bytes = metric_cells * self.survey.row_bytes / cells.max(1);
            let series = metric_cells.div_ceil(self.survey.rows_max.max(1));
            bytes += block_bytes + block_bytes / 3 + self.survey.rows_max * CELL_BYTES + spans_bytes(series);
            let is_full = bytes > budget_bytes || metrics.len() == STEP_METRICS_MAX;
            if is_full && !metrics.is_empty() {
                break;
            }
            metrics.push((*metric, series));
            self.metrics.pop_front();
        }
        metrics
    }
}

/// Merges a series' samples from rows with its loose ones, which count before them; both come in time order.
pub(crate) fn lay_over(rows: impl Iterator<Item = (i64, f64)>, loose: Vec<(i64, f64)>) -> (Vec<i64>, Vec<f64>) {
    let mut merged = Vec::new();
    let mut loose = loose.into_iter().peekable();
    for row in rows {
        while let Some(earlier) = loose.next_if(|loose| loose.0 < row.0) {
            merged.push(earlier);
        }
        merged.push(loose.next_if(|loose| loose.0 == row.0).unwrap_or(row));
    }
    merged.extend(loose);
    merged.into_iter().unzip()
}
