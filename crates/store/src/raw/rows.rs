//! Reading scrapes back, in time order.

use std::time::Duration;

use firetower_model::{MetricId, ShapeId, TargetId, TimeRange, Timestamp};

use crate::database::Store;
use crate::engine::{RawIterator, ReadOptions};
use crate::error::Error;
use crate::raw::key::{Bucket, BucketLength, read_row_key, row_key};
use crate::raw::row::{Columns, KEYFRAME_EVERY, RowState, is_keyframe, keyframe_shape};

/// One scrape that was stored as a row.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeRow<'a> {
    /// When.
    pub at: Timestamp,
    /// What `values` stand for.
    pub shape: ShapeId,
    /// One value per metric of the shape; the staleness marker where there is none.
    pub values: &'a [f64],
    /// Columns that end here: only there is the marker itself a sample. Sorted.
    pub ended: &'a [u32],
}

/// A target's rows inside a range, in time order.
pub struct ScrapeRows<'a> {
    store: &'a Store,
    entries: RawIterator<'a>,
    /// First bucket that may have rows.
    first: Bucket,
    length: BucketLength,
    target: TargetId,
    range: TimeRange,
    /// The bucket read now; `None` at the end.
    bucket: Option<Bucket>,
    state: RowState,
    /// How many places had been passed over when the last row was read.
    holes: u64,
    picked: Option<Picked>,
    /// When the row before was read, and how long before the last one that was.
    before: Option<Timestamp>,
    pace: Duration,
}

/// How far apart rows are thought to be until two of a target have been read.
const PACE: Duration = Duration::from_secs(15);

/// The only metrics that are wanted.
#[derive(Default)]
struct Picked {
    /// In order.
    metrics: Vec<MetricId>,
    /// In which shape they were looked up.
    shape: Option<ShapeId>,
    /// Where they stand in it: a column, and the metric's place in `metrics`.
    columns: Vec<(usize, usize)>,
}

impl Store {
    /// Returns the rows of `target` inside `range` that are not settled yet.
    ///
    /// For whoever goes through all targets: what it reads takes no room from what queries read again and again.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn rows(&self, target: TargetId, range: TimeRange) -> Result<ScrapeRows<'_>, Error> {
        let mut rows = ScrapeRows::new(self, self.reading_once(), self.first_unsettled());
        rows.restart(target, range)?;
        Ok(rows)
    }
}

impl<'a> ScrapeRows<'a> {
    /// Makes a reader of nothing, until it is started; it will see no rows before `first`.
    pub(crate) fn new(store: &'a Store, mut options: ReadOptions<'a>, first: Bucket) -> ScrapeRows<'a> {
        // Otherwise it would wade through rows that were settled and not yet compacted away.
        options.set_iterate_lower_bound(first.to_bytes());
        let entries = store.db.raw_iterator_cf_opt(store.family("raw_rows"), options);
        let range = TimeRange { start: Timestamp::MIN, end: Timestamp::MIN };
        ScrapeRows {
            store,
            entries,
            first,
            length: store.raw.length,
            target: TargetId(0),
            range,
            bucket: None,
            state: RowState::default(),
            holes: 0,
            picked: None,
            before: None,
            pace: PACE,
        }
    }

    /// Reads only `metrics`, which are in order, of targets that it is started with from now on.
    pub(crate) fn pick(&mut self, metrics: impl Iterator<Item = MetricId> + Clone) {
        let picked = self.picked.get_or_insert_default();
        if !picked.metrics.iter().copied().eq(metrics.clone()) {
            *picked = Picked { metrics: metrics.collect(), ..Picked::default() };
        }
    }

    /// Returns where the picked metrics stand in the row read last: a column, and the metric's place among those picked.
    pub(crate) fn picked(&self) -> &[(usize, usize)] {
        self.picked.as_ref().map_or(&[], |picked| &picked.columns)
    }

    /// Returns where the columns stood in the row read last.
    pub(crate) fn state(&self) -> &RowState {
        &self.state
    }

    /// Starts anew with another target or range.
    pub(crate) fn restart(&mut self, target: TargetId, range: TimeRange) -> Result<(), Error> {
        (self.target, self.range, self.before) = (target, range, None);
        self.state.restart();
        let Some((first, _)) = self.length.buckets(range) else {
            self.bucket = None;
            return Ok(());
        };
        if first < self.first {
            return self.find_bucket(self.first);
        }
        if self.find_keyframe(first)? {
            self.bucket = Some(first);
            return Ok(());
        }
        self.entries.seek_for_prev(row_key(first, target, range.start));
        if self.here()?.is_none_or(|(bucket, found, _)| (bucket, found) != (first, target)) {
            return self.find_bucket(first);
        }
        while self.entries.value().is_some_and(|row| !is_keyframe(row)) {
            self.entries.prev();
        }
        if self.here()?.is_none_or(|(bucket, found, _)| (bucket, found) != (first, target)) {
            // The keyframe could not be read.
            return self.find_bucket(first);
        }
        self.bucket = Some(first);
        Ok(())
    }

    /// Goes to a keyframe of `bucket` at or before the range's start that is not far from it; returns whether there is one where it
    /// should be, as rows seem to follow each other.
    ///
    /// To go there from the range's start backwards takes longer: each of RocksDB's files has to be looked into anew at a turn.
    fn find_keyframe(&mut self, bucket: Bucket) -> Result<bool, Error> {
        // Half a row more, for rows that are not quite punctual.
        let back = self.pace * u32::from(KEYFRAME_EVERY) + self.pace / 2;
        self.entries.seek(row_key(bucket, self.target, self.range.start - back));
        loop {
            match self.here()? {
                Some((found, target, at)) if (found, target) == (bucket, self.target) && at <= self.range.start => {
                    if self.entries.value().is_some_and(is_keyframe) {
                        return Ok(true);
                    }
                    self.entries.next();
                }
                _ => return Ok(false),
            }
        }
    }

    /// Returns the next row; `None` at the end.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn next_row(&mut self) -> Result<Option<ScrapeRow<'_>>, Error> {
        let Some(at) = self.advance()? else { return Ok(None) };
        let state = &self.state;
        Ok(Some(ScrapeRow { at, shape: state.shape, values: &state.values, ended: &state.ended }))
    }

    /// Reads the next row and returns when it was; `None` at the end.
    pub(crate) fn advance(&mut self) -> Result<Option<Timestamp>, Error> {
        while let Some(bucket) = self.bucket {
            match self.here()? {
                Some((found, target, at)) if (found, target) == (bucket, self.target) => {
                    if at >= self.range.end {
                        break;
                    }
                    let is_read = self.read_row()?;
                    self.entries.next();
                    if let Some(before) = self.before.replace(at) {
                        self.pace = at.since(before);
                    }
                    if is_read && at >= self.range.start {
                        return Ok(Some(at));
                    }
                }
                _ => match bucket.checked_next() {
                    Some(next) => self.find_bucket(next)?,
                    None => break,
                },
            }
        }
        self.bucket = None;
        Ok(None)
    }

    /// Reads the row that it stands at; returns whether it could: rows after a hole wait for their next keyframe.
    fn read_row(&mut self) -> Result<bool, Error> {
        let Some((key, row)) = self.entries.item() else { return Ok(false) };
        if std::mem::replace(&mut self.holes, self.entries.holes()) != self.holes {
            self.state.restart();
        }
        if self.holes > 0 && self.state.needs_keyframe() && !is_keyframe(row) {
            return Ok(false);
        }
        if let Some(picked) = self.picked.as_mut().filter(|_| is_keyframe(row)) {
            let shape = keyframe_shape(row).ok_or_else(|| Error::corrupt("row", key))?;
            if picked.shape != Some(shape) || self.state.wanted.is_none() {
                self.state.wanted = Some(picked.look_up(self.store, shape)?);
            }
        }
        self.state.read(row).ok_or_else(|| Error::corrupt("row", key))?;
        Ok(true)
    }

    /// Goes to the target's first row in `from` or later.
    fn find_bucket(&mut self, from: Bucket) -> Result<(), Error> {
        let last = self.length.buckets(self.range).map(|(_, last)| last);
        let mut next = Some(from);
        self.bucket = None;
        while let Some(from) = next.filter(|from| Some(*from) <= last) {
            self.entries.seek(row_key(from, self.target, Timestamp::MIN));
            let Some((bucket, target, _)) = self.here()? else { break };
            if target == self.target {
                self.bucket = Some(bucket).filter(|bucket| Some(*bucket) <= last);
                break;
            }
            next = if target > self.target { bucket.checked_next() } else { Some(bucket) };
        }
        Ok(())
    }

    fn here(&self) -> Result<Option<(Bucket, TargetId, Timestamp)>, Error> {
        let Some(key) = self.entries.key() else {
            return self.entries.status().map(|()| None).map_err(Error::at("read rows"));
        };
        read_row_key(key).map(Some).ok_or_else(|| Error::corrupt("row", key))
    }
}

impl Picked {
    /// Finds out where the metrics stand in `shape`, and returns these columns.
    fn look_up(&mut self, store: &Store, shape: ShapeId) -> Result<Columns, Error> {
        let metrics = store.shape_metrics(shape).ok_or(Error::UnknownShape { shape })?;
        let wanted = |(column, metric)| Some((column, self.metrics.binary_search(metric).ok()?));
        self.columns = metrics.iter().enumerate().filter_map(wanted).collect();
        self.shape = Some(shape);
        Ok(Columns::new(self.columns.iter().map(|(column, _)| *column)))
    }
}
