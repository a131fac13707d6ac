//! Retention: whole buckets go, by age or for their bytes.
//!
//! Before a bucket's samples go, those that came after it was settled enter its spans.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use firetower_model::{MetricId, SpanTier, TargetId, Timestamp};

use super::block::{Place, SpanBlock};
use super::make::{ROW_TIMES, SpanWriters};
use super::timing::RowTimes;
use super::{family, step_ms};
use crate::database::{FAMILIES, Store};
use crate::engine::WriteBatch;
use crate::error::Error;
use crate::raw::block::Block;
use crate::raw::buckets::{SAMPLE_FAMILIES, buckets_in, find_block};
use crate::raw::key::{Bucket, GROUP_TARGETS, Group, block_key, loose_key, read_loose_key};
use crate::raw::loose::read_loose_value;
use crate::raw::settle::lay_over;

/// How many blocks of spans one step makes again.
const STEP_BLOCKS: usize = 64;

/// Until when each tier is dropped: buckets that end at or before go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// Of raw samples.
    pub raw: Timestamp,
    /// Of spans of five minutes.
    pub five_minutes: Timestamp,
    /// Of spans of an hour.
    pub one_hour: Timestamp,
}

/// Why buckets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Age,
    Bytes,
    /// There is too little room on the disk.
    Space,
}

/// The dropping of old buckets, in steps of bounded time.
///
/// Abandoned before the end, it may begin anew: samples go in the last step.
pub struct Retire {
    store: Store,
    reason: Reason,
    /// First bucket that stays, of raw samples and of each tier.
    first_kept: [Bucket; 3],
    /// Where to look for the next late samples; `None` when there are no more.
    next: Option<Vec<u8>>,
    is_done: bool,
}

/// Late samples of some series of a group, each's in time order.
type Late = BTreeMap<(MetricId, TargetId), Vec<(i64, f64)>>;

impl Store {
    /// Begins to drop the buckets that are older than `cutoffs`; raw ones that are not settled stay until they are.
    ///
    /// From here on, samples of theirs are refused and counted. One call at a time.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn retire(&self, cutoffs: &Cutoffs) -> Result<Retire, Error> {
        let bucket = |cutoff| self.raw.length.bucket(cutoff);
        self.raw.gate.refuse(bucket(cutoffs.raw));
        let raw = bucket(cutoffs.raw).min(self.first_unsettled());
        Ok(Retire::new(self, Reason::Age, [raw, bucket(cutoffs.five_minutes), bucket(cutoffs.one_hour)]))
    }

    /// Begins to drop the oldest settled bucket if the store's files have more than `bytes_max`.
    ///
    /// Raw samples go first, then spans of five minutes, then of an hour; of each the newest settled bucket stays.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn retire_for_bytes(&self, bytes_max: u64) -> Result<Option<Retire>, Error> {
        let bytes: u64 = FAMILIES.iter().map(|(family, _)| self.family_bytes(family)).sum();
        if bytes <= bytes_max {
            return Ok(None);
        }
        self.retire_oldest(Reason::Bytes)
    }

    /// Begins to drop the oldest settled bucket if less of the disk is free than is to stay free.
    ///
    /// In the order of [`Store::retire_for_bytes`]: frames that parents have not acknowledged are never among them.
    ///
    /// # Errors
    /// If the store cannot be read, or the disk cannot be asked.
    pub fn retire_for_space(&self) -> Result<Option<Retire>, Error> {
        if self.missing_bytes()? == 0 { Ok(None) } else { self.retire_oldest(Reason::Space) }
    }

    fn retire_oldest(&self, reason: Reason) -> Result<Option<Retire>, Error> {
        let Some(newest) = self.raw.gate.settled() else { return Ok(None) };
        for (at, family) in ["raw_blocks", "spans_5m", "spans_1h"].into_iter().enumerate() {
            let Some(oldest) = self.first_bucket(family, Bucket::MIN)?.filter(|oldest| *oldest < newest) else {
                continue;
            };
            let mut first_kept = [Bucket::MIN; 3];
            first_kept[at] = oldest.next();
            if at == 0 {
                self.raw.gate.refuse(oldest.next());
            }
            return Ok(Some(Retire::new(self, reason, first_kept)));
        }
        Ok(None)
    }

    /// Returns the bytes of the files of `family`.
    pub(crate) fn family_bytes(&self, family: &'static str) -> u64 {
        let bytes = self.db.property_int_value_cf(self.family(family), "rocksdb.live-sst-files-size");
        bytes.ok().flatten().unwrap_or(0)
    }

    /// Returns how many buckets of a tier were dropped since the store was opened: (tier, reason, buckets).
    pub fn buckets_dropped(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let tiers = ["raw", SpanTier::FiveMinutes.name(), SpanTier::Hour.name()];
        let dropped = tiers.into_iter().zip(&self.raw.counters.dropped);
        let reasons = ["age", "bytes", "disk_full"];
        dropped.flat_map(move |(tier, counts)| {
            reasons.into_iter().zip(counts).map(move |(reason, count)| (tier, reason, count.load(Ordering::Relaxed)))
        })
    }
}

impl Retire {
    fn new(store: &Store, reason: Reason, first_kept: [Bucket; 3]) -> Retire {
        let from = store.raw.gate.dropped().map_or(Bucket::MIN, Bucket::next);
        let has_old = from < first_kept[0];
        if has_old {
            store.raw.gate.retire(first_kept[0]);
        }
        Retire {
            store: store.clone(),
            reason,
            first_kept,
            next: has_old.then(|| from.to_bytes().to_vec()),
            is_done: false,
        }
    }

    /// Does one step, which may block for some hundreds of milliseconds; returns whether there are more.
    ///
    /// # Errors
    /// If the store cannot be read or written, or holds damaged samples.
    pub fn step(&mut self) -> Result<bool, Error> {
        if self.is_done {
            return Ok(false);
        }
        if let Some(from) = self.next.take() {
            self.next = self.remake(from)?;
            return Ok(true);
        }
        self.is_done = self.drop_buckets()?;
        if !self.is_done {
            // Samples that were on their way when this began came in the meantime; no more can.
            let from = self.store.raw.gate.dropped().map_or(Bucket::MIN, Bucket::next);
            self.next = Some(from.to_bytes().to_vec());
        }
        Ok(!self.is_done)
    }

    /// Does all steps.
    ///
    /// # Errors
    /// As [`Retire::step`].
    pub fn run(mut self) -> Result<(), Error> {
        while self.step()? {}
        Ok(())
    }

    /// Makes the next blocks with late samples again; returns where to go on.
    fn remake(&self, from: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
        let mut entries = self.store.db.raw_iterator_cf_opt(self.store.family("raw_loose"), self.store.reading_once());
        entries.seek(from);
        let mut batch = WriteBatch::default();
        let mut next = None;
        for _ in 0..STEP_BLOCKS {
            let Some(key) = entries.key() else { break };
            let (bucket, metric, target, _) = read_loose_key(key).ok_or_else(|| Error::corrupt("loose sample", key))?;
            if bucket >= self.first_kept[0] {
                next = None;
                break;
            }
            let group = Group::of(target);
            entries.seek(loose_key(bucket, metric, group.last(), Timestamp::MAX));
            self.remake_block(bucket, group, metric, &mut batch)?;
            next = Some(loose_key(bucket, metric, group.last(), Timestamp::MAX).to_vec());
        }
        let is_over = !entries.valid();
        entries.status().map_err(Error::at("find late samples"))?;
        self.store.db.write(batch).map_err(Error::at("write spans"))?;
        Ok(next.filter(|_| !is_over))
    }

    /// Makes the blocks of spans again in which `metric`, which got late samples, is or should be.
    fn remake_block(
        &self,
        bucket: Bucket,
        group: Group,
        metric: MetricId,
        batch: &mut WriteBatch,
    ) -> Result<(), Error> {
        let store = &self.store;
        let start = store.raw.length.start(bucket).as_millis();
        let mut metrics = self.block_metrics(bucket, group, metric)?;
        let (first, last) = (metrics[0], metrics[metrics.len() - 1]);
        let mut late = self.late(bucket, group, (first, last))?;
        if late.keys().next().is_some_and(|(earlier, _)| *earlier < metric) {
            // Made again when it was that one's turn.
            return Ok(());
        }
        metrics.extend(late.keys().map(|(metric, _)| *metric));
        metrics.sort_unstable();
        metrics.dedup();
        let rows_key = block_key(bucket, group, ROW_TIMES);
        let rows_family = store.family(family(SpanTier::FiveMinutes));
        let rows = store.read_value(rows_family, rows_key, "read times of rows")?.found();
        let rows = RowTimes::read(rows.as_deref(), start, &rows_key)?;
        let mut spans = SpanWriters::again(store, bucket, group, &metrics, rows);
        let kept = self.sample_blocks(bucket, group, &metrics)?;
        let corrupt = |first| Error::corrupt("block", &block_key(bucket, group, first));
        let mut blocks: Vec<Block<'_>> = Vec::new();
        for (first, bytes) in &kept {
            blocks.push(Block::open(bytes, *first, start).ok_or_else(|| corrupt(*first))?);
        }
        let columns: Vec<_> =
            metrics.iter().map(|metric| blocks.iter().find_map(|block| block.metric(*metric))).collect();
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for place in 0..GROUP_TARGETS as u8 {
            for (at, (metric, columns)) in metrics.iter().zip(&columns).enumerate() {
                times.clear();
                values.clear();
                if let Some(columns) = columns.as_ref().filter(|columns| columns.has(place)) {
                    columns.read(place, &mut times, &mut values).ok_or_else(|| corrupt(*metric))?;
                }
                if let Some(late) = late.remove(&(*metric, group.target(place))) {
                    (times, values) = lay_over(times.drain(..).zip(values.drain(..)), late);
                }
                spans.add(at, place, &times, &values);
            }
        }
        spans.finish(store, batch);
        Ok(())
    }

    /// Returns the metrics of the block of spans that has `metric`, or else that alone.
    fn block_metrics(&self, bucket: Bucket, group: Group, metric: MetricId) -> Result<Vec<MetricId>, Error> {
        for tier in SpanTier::ALL {
            let place = Place { step_ms: step_ms(tier), start: self.store.raw.length.start(bucket).as_millis() };
            let mut entries =
                self.store.db.raw_iterator_cf_opt(self.store.family(family(tier)), self.store.reading_once());
            let Some((first, bytes)) = find_block(&mut entries, (bucket, group, metric))? else { continue };
            let corrupt = || Error::corrupt("spans", &block_key(bucket, group, first));
            let block = SpanBlock::open(bytes, first, place).ok_or_else(corrupt)?;
            if block.metrics().next_back() >= Some(metric) {
                return Ok(block.metrics().collect());
            }
        }
        Ok(vec![metric])
    }

    /// Returns the blocks of samples that have any of `metrics`, each with its first metric.
    fn sample_blocks(
        &self,
        bucket: Bucket,
        group: Group,
        metrics: &[MetricId],
    ) -> Result<Vec<(MetricId, Vec<u8>)>, Error> {
        let mut found: Vec<(MetricId, Vec<u8>)> = Vec::new();
        let mut entries = self.store.db.raw_iterator_cf_opt(self.store.family("raw_blocks"), self.store.reading_once());
        for metric in metrics {
            if let Some((first, bytes)) = find_block(&mut entries, (bucket, group, *metric))?
                && found.last().is_none_or(|known| known.0 != first)
            {
                found.push((first, bytes.to_vec()));
            }
        }
        Ok(found)
    }

    /// Returns the late samples that `group` has of the metrics from `first` to `last`.
    fn late(&self, bucket: Bucket, group: Group, (first, last): (MetricId, MetricId)) -> Result<Late, Error> {
        let mut late = Late::new();
        let mut entries = self.store.db.raw_iterator_cf_opt(self.store.family("raw_loose"), self.store.reading_once());
        entries.seek(loose_key(bucket, first, group.first(), Timestamp::MIN));
        while let Some((key, value)) = entries.item() {
            let corrupt = || Error::corrupt("loose sample", key);
            let (of, metric, target, at) = read_loose_key(key).ok_or_else(corrupt)?;
            if of != bucket || metric > last {
                break;
            }
            if target < group.first() {
                entries.seek(loose_key(bucket, metric, group.first(), Timestamp::MIN));
            } else if target > group.last() {
                let Some(next) = metric.0.checked_add(1) else { break };
                entries.seek(loose_key(bucket, MetricId(next), group.first(), Timestamp::MIN));
            } else {
                let value = read_loose_value(value).ok_or_else(corrupt)?;
                late.entry((metric, target)).or_default().push((at.as_millis(), value));
                entries.next();
            }
        }
        entries.status().map_err(Error::at("find late samples")).map(|()| late)
    }

    /// Drops what is old; returns `false` if late samples came since their spans were made again.
    fn drop_buckets(&self) -> Result<bool, Error> {
        let store = &self.store;
        let [raw, five_minutes, one_hour] = self.first_kept;
        let counted = [("raw_blocks", raw), ("spans_5m", five_minutes), ("spans_1h", one_hour)];
        let counts =
            [self.count_buckets(counted[0])?, self.count_buckets(counted[1])?, self.count_buckets(counted[2])?];
        let has_old_samples = raw > Bucket::MIN && store.raw.gate.dropped() < Some(raw.previous());
        let alone = store.raw.gate.alone();
        if store.raw.gate.is_retired_dirty() {
            store.raw.gate.retire(raw);
            return Ok(false);
        }
        let mut batch = WriteBatch::default();
        if has_old_samples {
            SAMPLE_FAMILIES.iter().for_each(|family| delete(store, &mut batch, family, raw));
            store.put_dropped(&mut batch, raw.previous());
        }
        for ((family, first_kept), _) in counted.iter().zip(counts).skip(1).filter(|(_, count)| *count > 0) {
            delete(store, &mut batch, family, *first_kept);
        }
        if self.reason == Reason::Age {
            store.forget_uses(&mut batch, raw.min(five_minutes).min(one_hour));
        }
        store.db.write(batch).map_err(Error::at("drop old samples"))?;
        store.raw.gate.end_retire(raw.previous());
        drop(alone);
        if has_old_samples || counts.iter().any(|count| *count > 0) {
            self.drop_files()?;
        }
        for (at, ((family, first_kept), count)) in counted.into_iter().zip(counts).enumerate() {
            store.raw.counters.dropped[at][self.reason as usize].fetch_add(count, Ordering::Relaxed);
            if count > 0 {
                let before_ms = store.raw.length.start(first_kept).as_millis();
                tracing::info!(family, buckets = count, before_ms, reason = ?self.reason, "dropped old buckets");
            }
        }
        Ok(true)
    }

    fn count_buckets(&self, (family, first_kept): (&'static str, Bucket)) -> Result<u64, Error> {
        if first_kept == Bucket::MIN {
            return Ok(0);
        }
        let entries = self.store.db.raw_iterator_cf_opt(self.store.family(family), self.store.reading());
        Ok(buckets_in(entries, Bucket::MIN, first_kept.previous())?.len() as u64)
    }

    /// Frees the disk: files that hold nothing else go at once, others are written anew if bytes are what matters.
    fn drop_files(&self) -> Result<(), Error> {
        let [raw, five_minutes, one_hour] = self.first_kept;
        let spans = [("spans_5m", five_minutes), ("spans_1h", one_hour)];
        for (family, first_kept) in SAMPLE_FAMILIES.map(|family| (family, raw)).into_iter().chain(spans) {
            if first_kept == Bucket::MIN {
                continue;
            }
            let (from, to) = (Bucket::MIN.to_bytes(), first_kept.to_bytes());
            let cf = self.store.family(family);
            self.store.db.delete_file_in_range_cf(cf, from, to).map_err(Error::at("drop old files"))?;
            if self.reason != Reason::Age {
                self.store.db.compact_range_cf(cf, Some(from), Some(to));
            }
        }
        Ok(())
    }
}

fn delete(store: &Store, batch: &mut WriteBatch, family: &'static str, first_kept: Bucket) {
    if first_kept > Bucket::MIN {
        batch.delete_range_cf(store.family(family), Bucket::MIN.to_bytes(), first_kept.to_bytes());
    }
}
