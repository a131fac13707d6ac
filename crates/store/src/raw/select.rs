//! Answering selectors: rows, blocks and loose samples merged, series with equal final labels too.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use firetower_model::sample::STALE_BITS;
use firetower_model::{
    Labels, Matcher, MetricId, STALE, Sample, Select, Series, ShapeId, TargetId, TimeRange, Timestamp,
};

use crate::database::Store;
use crate::engine::{RawIterator, Snapshot};
use crate::error::Error;
use crate::raw::block::Block;
use crate::raw::buckets::{buckets_in, find_block};
use crate::raw::candidates::{Candidate, candidates};
use crate::raw::key::{Bucket, Group, block_key, loose_key, read_loose_key};
use crate::raw::loose::read_loose_value;
use crate::raw::rows::ScrapeRows;
use crate::raw::slices::{Slices, slice_length};
use crate::unreadable::Value;

/// How many (target, metric) pairs are read at once.
const SLICE_PAIRS: usize = 256;

impl Select for Store {
    type Error = Error;

    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Error>>, Error> {
        let reader = Reader::new(self, range)?;
        let found = reader.candidates(matchers);
        Ok(Slices::new(reader, found, |reader, pairs| reader.read(pairs)))
    }

    fn select_newest(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Error>>, Error> {
        let reader = Reader::new(self, range)?;
        let found = reader.candidates(matchers);
        Ok(Slices::new(reader, found, |reader, pairs| reader.read_newest(pairs)))
    }

    fn left_out(&self) -> u64 {
        self.raw.counters.unreadable.passed()
    }
}

/// Reads `found` a slice at a time, as far as there is anything; pairs that may share their final labels come together.
pub(crate) fn in_slices<T>(
    found: Vec<Candidate>,
    read: impl Fn(&[Candidate]) -> Result<Vec<T>, Error>,
) -> impl Iterator<Item = Result<Vec<T>, Error>> {
    let mut done = 0;
    std::iter::from_fn(move || {
        while done < found.len() {
            let slice = &found[done..done + slice_length(&found[done..], SLICE_PAIRS)];
            done += slice.len();
            match read(slice) {
                Ok(series) if series.is_empty() => {}
                result => return Some(result),
            }
        }
        None
    })
}

/// The store at one moment, and where in it there is something to read.
pub(crate) struct Reader<'a> {
    pub(crate) store: &'a Store,
    snapshot: Snapshot<'a>,
    pub(crate) range: TimeRange,
    /// First bucket that may have rows.
    pub(crate) unsettled: Bucket,
    pub(crate) block_buckets: Vec<Bucket>,
    loose_buckets: Vec<Bucket>,
}

/// The samples of one pair, by where they were found; each list in time order.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) rows: Vec<Sample>,
    pub(crate) blocks: Vec<Sample>,
    pub(crate) loose: Vec<Sample>,
}

impl Found {
    /// Returns them in time order; a loose sample counts before a block's, and that before a row's.
    pub(crate) fn merged(self) -> Vec<Sample> {
        merge(self.loose, merge(self.blocks, self.rows).0).0
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(store: &'a Store, range: TimeRange) -> Result<Reader<'a>, Error> {
        // Looked up before the snapshot is taken: what is settled by now has no rows in it.
        let unsettled = store.first_unsettled();
        let snapshot = store.db.snapshot();
        let mut reader =
            Reader { store, snapshot, range, unsettled, block_buckets: Vec::new(), loose_buckets: Vec::new() };
        reader.block_buckets = reader.buckets("raw_blocks")?;
        reader.loose_buckets = reader.buckets("raw_loose")?;
        Ok(reader)
    }

    /// Returns the pairs whose final labels may match, and that may have something in the range.
    pub(crate) fn candidates(&self, matchers: &[Matcher]) -> Vec<Candidate> {
        let Some((first, last)) = self.store.raw.length.buckets(self.range) else { return Vec::new() };
        candidates(&self.store.raw.names.read(), matchers, first, last)
    }

    /// Returns the buckets inside the range in which `family` has anything.
    pub(crate) fn buckets(&self, family: &'static str) -> Result<Vec<Bucket>, Error> {
        let Some((first, last)) = self.store.raw.length.buckets(self.range) else { return Ok(Vec::new()) };
        buckets_in(self.entries(family), first, last)
    }

    pub(crate) fn entries(&self, family: &'static str) -> RawIterator<'_> {
        self.snapshot.raw_iterator_cf_opt(self.store.family(family), self.store.reading())
    }

    pub(crate) fn read(&self, pairs: &[Candidate]) -> Result<Vec<Series>, Error> {
        let mut found: Vec<Found> = pairs.iter().map(|_| Found::default()).collect();
        self.read_blocks(&self.block_buckets, pairs, &mut found)?;
        self.read_rows(pairs, &mut found)?;
        self.read_loose(pairs, &mut found)?;
        Ok(self.series(pairs, found))
    }

    /// Reads of each pair its newest sample; there may be older ones too.
    pub(crate) fn read_newest(&self, pairs: &[Candidate]) -> Result<Vec<Series>, Error> {
        let mut found = self.last_rows(pairs);
        let places: Vec<usize> = (0..pairs.len()).filter(|at| found[*at].rows.is_empty()).collect();
        if !places.is_empty() {
            let some: Vec<Candidate> = places.iter().map(|at| pairs[*at]).collect();
            let mut some_found: Vec<Found> = places.iter().map(|_| Found::default()).collect();
            self.read_blocks(&self.block_buckets, &some, &mut some_found)?;
            self.read_rows(&some, &mut some_found)?;
            places.into_iter().zip(some_found).for_each(|(at, some)| found[at] = some);
        }
        self.read_loose(pairs, &mut found)?;
        Ok(self.series(pairs, found))
    }

    /// Returns the last row's sample of each pair of which it is newer than all that blocks may have: what the appender knows.
    fn last_rows(&self, pairs: &[Candidate]) -> Vec<Found> {
        let store = self.store;
        let last_rows = Arc::clone(&store.raw.last_rows.read().unwrap_or_else(PoisonError::into_inner));
        let last_rows = last_rows.read().unwrap_or_else(PoisonError::into_inner);
        let last_block = self.block_buckets.last();
        let mut columns: HashMap<(ShapeId, MetricId), Option<usize>> = HashMap::new();
        let sample = |pair: &Candidate| {
            let last = last_rows.get(&pair.target).filter(|last| self.range.contains(last.at))?;
            if last.bucket < self.unsettled || last_block.is_some_and(|block| *block >= last.bucket) {
                return None;
            }
            let column = *columns
                .entry((last.shape, pair.metric))
                .or_insert_with(|| store.shape_metrics(last.shape)?.iter().position(|metric| *metric == pair.metric));
            let value = *last.values.get(column?)?;
            (value.to_bits() != STALE_BITS).then_some(Sample { at: last.at, value })
        };
        let rows = pairs.iter().map(sample);
        rows.map(|sample| Found { rows: sample.into_iter().collect(), ..Found::default() }).collect()
    }

    /// Returns the series that were found.
    fn series(&self, pairs: &[Candidate], found: Vec<Found>) -> Vec<Series> {
        let samples = found.into_iter().map(|found| Some(found.merged()).filter(|samples| !samples.is_empty()));
        let series = self.by_labels(pairs, samples, |earlier, samples| {
            let (merged, dropped) = merge(std::mem::take(earlier), samples);
            *earlier = merged;
            dropped
        });
        series.into_iter().map(|(labels, samples)| Series { labels, samples }).collect()
    }

    /// Gives what was found of each pair its final labels; what pairs with equal ones have is merged, and what was left out by
    /// that is counted.
    pub(crate) fn by_labels<T>(
        &self,
        pairs: &[Candidate],
        found: impl Iterator<Item = Option<T>>,
        mut merge: impl FnMut(&mut T, T) -> u64,
    ) -> Vec<(Labels, T)> {
        let names = self.store.raw.names.read();
        let mut series: Vec<(Labels, T)> = Vec::with_capacity(pairs.len());
        let mut group_start = 0;
        // Neighbours are of one target, and targets have the same metrics.
        let mut under: Option<(TargetId, Labels)> = None;
        let mut metrics: HashMap<MetricId, Labels> = HashMap::new();
        for (at, (pair, found)) in pairs.iter().zip(found).enumerate() {
            // The leader of a group says which final labels may be equal; they still have to be compared.
            if at == 0 || pairs[at - 1].leader != pair.leader || pairs[at - 1].hash != pair.hash {
                group_start = series.len();
            }
            let Some(found) = found else { continue };
            if under.as_ref().is_none_or(|(target, _)| *target != pair.target) {
                under = names.target(pair.target).map(|labels| (pair.target, labels));
            }
            let over = match metrics.entry(pair.metric) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => match names.metric(pair.metric) {
                    Some((labels, _)) => place.insert(labels),
                    None => continue,
                },
            };
            let Some((_, under)) = &under else { continue };
            let labels = under.overlaid(over);
            match series[group_start..].iter_mut().find(|earlier| earlier.0 == labels) {
                Some(earlier) => {
                    let dropped = merge(&mut earlier.1, found);
                    self.store.raw.counters.merged.fetch_add(dropped, Ordering::Relaxed);
                }
                None => series.push((labels, found)),
            }
        }
        series
    }

    /// Returns the value under `key`; one that cannot be read is noted and left out.
    pub(crate) fn get(&self, family: &'static str, key: &[u8]) -> Result<Value, Error> {
        let found = self.snapshot.get_pinned_cf(self.store.family(family), key);
        self.store.noted(found.map(|found| found.map(|value| value.to_vec())), "read a block")
    }

    /// Reads what the blocks of `buckets`, in order, have of `pairs`.
    pub(crate) fn read_blocks(
        &self,
        buckets: &[Bucket],
        pairs: &[Candidate],
        found: &mut [Found],
    ) -> Result<(), Error> {
        if buckets.is_empty() {
            return Ok(());
        }
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|at| (Group::of(pairs[*at].target), pairs[*at].metric));
        let mut entries = self.entries("raw_blocks");
        for bucket in buckets {
            let mut rest = order.as_slice();
            while let Some(at) = rest.first() {
                let (group, metric) = (Group::of(pairs[*at].target), pairs[*at].metric);
                let Some((first, bytes)) = find_block(&mut entries, (*bucket, group, metric))? else {
                    rest = &rest[1..];
                    continue;
                };
                let corrupt = || Error::corrupt("block", &block_key(*bucket, group, first));
                let start = self.store.raw.length.start(*bucket).as_millis();
                let block = Block::open(bytes, first, start).ok_or_else(corrupt)?;
                // All that lie in this block; the first is past it if it is in none.
                let is_here =
                    |at: &usize| Group::of(pairs[*at].target) == group && Some(pairs[*at].metric) <= block.last();
                let count = rest.partition_point(is_here).max(1);
                self.read_block(&block, &rest[..count], pairs, found).ok_or_else(corrupt)?;
                rest = &rest[count..];
            }
        }
        Ok(())
    }

    /// Reads the pairs at the places in `wanted` as far as `block` has them. `None` if it is damaged.
    fn read_block(&self, block: &Block<'_>, wanted: &[usize], pairs: &[Candidate], found: &mut [Found]) -> Option<()> {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for at in wanted {
            let place = Group::place(pairs[*at].target);
            let Some(metric) = block.metric(pairs[*at].metric).filter(|metric| metric.has(place)) else { continue };
            metric.read(place, &mut times, &mut values)?;
            let samples = times.iter().zip(&values);
            let samples = samples.map(|(at, value)| Sample { at: Timestamp::from_millis(*at), value: *value });
            found[*at].blocks.extend(samples.filter(|sample| self.range.contains(sample.at)));
        }
        Some(())
    }

    /// Reads what rows have of `pairs`.
    pub(crate) fn read_rows(&self, pairs: &[Candidate], found: &mut [Found]) -> Result<(), Error> {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|at| (pairs[*at].target, pairs[*at].metric));
        let mut options = self.store.reading();
        options.set_snapshot(&self.snapshot);
        let mut rows = ScrapeRows::new(self.store, options, self.unsettled);
        let mut expected = 0;
        for chunk in order.chunk_by(|a, b| pairs[*a].target == pairs[*b].target) {
            rows.pick(chunk.iter().map(|at| pairs[*at].metric));
            rows.restart(pairs[chunk[0]].target, self.range)?;
            // Neighbours have about as many.
            chunk.iter().for_each(|at| found[*at].rows.reserve(expected));
            expected = read_target(chunk, &mut rows, found)?;
        }
        Ok(())
    }

    /// Reads the loose samples of `pairs`.
    pub(crate) fn read_loose(&self, pairs: &[Candidate], found: &mut [Found]) -> Result<(), Error> {
        if self.loose_buckets.is_empty() {
            return Ok(());
        }
        let mut entries = self.entries("raw_loose");
        for bucket in &self.loose_buckets {
            for (pair, found) in pairs.iter().zip(found.iter_mut()) {
                entries.seek(loose_key(*bucket, pair.metric, pair.target, self.range.start));
                while let Some((key, value)) = entries.item() {
                    let here = read_loose_key(key).ok_or_else(|| Error::corrupt("loose sample", key))?;
                    if (here.0, here.1, here.2) != (*bucket, pair.metric, pair.target) || here.3 >= self.range.end {
                        break;
                    }
                    let value = read_loose_value(value).ok_or_else(|| Error::corrupt("loose sample", key))?;
                    found.loose.push(Sample { at: here.3, value });
                    entries.next();
                }
                entries.status().map_err(Error::at("read loose samples"))?;
            }
        }
        Ok(())
    }
}

/// Reads what `rows` have of the pairs at the places in `chunk`, whose metrics are picked; returns how many rows there are.
fn read_target(chunk: &[usize], rows: &mut ScrapeRows<'_>, found: &mut [Found]) -> Result<usize, Error> {
    let mut count = 0;
    while let Some(at) = rows.advance()? {
        count += 1;
        let state = rows.state();
        for (column, place) in rows.picked() {
            let value = state.values.get(*column).copied().unwrap_or(STALE);
            if value.to_bits() != STALE_BITS || state.ended.binary_search(&(*column as u32)).is_ok() {
                found[chunk[*place]].rows.push(Sample { at, value });
            }
        }
    }
    Ok(count)
}

/// Merges two lists in time order; of two samples at one moment the first list's stays. Also returns how many did not.
pub(crate) fn merge(first: Vec<Sample>, second: Vec<Sample>) -> (Vec<Sample>, u64) {
    if first.is_empty() || second.is_empty() {
        return (if first.is_empty() { second } else { first }, 0);
    }
    let total = first.len() + second.len();
    let mut merged: Vec<Sample> = Vec::with_capacity(total);
    let (mut first, mut second) = (first.into_iter().peekable(), second.into_iter().peekable());
    loop {
        let next = match (first.peek(), second.peek()) {
            (Some(a), Some(b)) if a.at == b.at => {
                second.next();
                first.next()
            }
            (Some(a), Some(b)) if b.at < a.at => second.next(),
            (Some(_), _) => first.next(),
            (None, _) => second.next(),
        };
        let Some(next) = next else { break };
        merged.push(next);
    }
    let dropped = total - merged.len();
    (merged, dropped as u64)
}
