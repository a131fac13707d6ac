//! Answering selectors with spans: kept ones, and for the rest those of the samples.

use std::collections::BTreeMap;

use firetower_model::{Matcher, Sample, SelectSpans, Span, SpanSeries, SpanTier, TimeRange, Timestamp};

use super::block::{Place, SpanBlock};
use super::make::ROW_TIMES;
use super::pieces::{Piece, cut, join, roll_up};
use super::timing::RowTimes;
use super::{family, step_ms};
use crate::database::Store;
use crate::engine::RawIterator;
use crate::error::Error;
use crate::raw::buckets::find_block;
use crate::raw::candidates::Candidate;
use crate::raw::key::{Bucket, Group, block_key};
use crate::raw::select::{Found, Reader, in_slices, merge};
use crate::unreadable::Value;

/// Pieces of one series, by bucket and then step.
type Pieces = BTreeMap<Bucket, Vec<Piece>>;

impl SelectSpans for Store {
    type Error = Error;

    /// They are those of the samples, wherever they are read from: kept spans as far as the tier goes and nothing came
    /// afterwards, samples for the rest. Where two pairs with equal final labels have spans of one step and no samples any
    /// more, the lower target's counts, as [`crate::StoreStats::duplicates_merged`] says.
    fn select_spans(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        tier: SpanTier,
    ) -> Result<impl Iterator<Item = Result<Vec<SpanSeries>, Error>>, Error> {
        let reader = SpanReader::new(self, whole_steps(range, step_ms(tier)), tier)?;
        Ok(in_slices(reader.raw.candidates(matchers), move |pairs| reader.read(pairs)))
    }

    fn left_out(&self) -> u64 {
        self.raw.counters.unreadable.passed()
    }
}

/// Returns the steps that `range` touches; what is inside is the same for each moment of a step.
fn whole_steps(range: TimeRange, step_ms: i64) -> TimeRange {
    if range.start >= range.end {
        return range;
    }
    let start = range.start.as_millis().div_euclid(step_ms).saturating_mul(step_ms);
    let last = (range.end.as_millis() - 1).div_euclid(step_ms);
    let end = last.saturating_add(1).saturating_mul(step_ms);
    TimeRange { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) }
}

/// The store at one moment.
struct SpanReader<'a> {
    raw: Reader<'a>,
    tier: SpanTier,
    /// Settled buckets that the tier has.
    kept: Vec<Bucket>,
}

impl<'a> SpanReader<'a> {
    fn new(store: &'a Store, range: TimeRange, tier: SpanTier) -> Result<SpanReader<'a>, Error> {
        let raw = Reader::new(store, range)?;
        let mut kept = raw.buckets(family(tier))?;
        // Spans of a bucket that is still being settled may not be whole.
        kept.retain(|bucket| *bucket < raw.unsettled);
        Ok(SpanReader { raw, tier, kept })
    }

    fn read(&self, pairs: &[Candidate]) -> Result<Vec<SpanSeries>, Error> {
        let mut found: Vec<Found> = pairs.iter().map(|_| Found::default()).collect();
        self.raw.read_loose(pairs, &mut found)?;
        let replaced = self.replaced(pairs, &mut found);
        self.read_samples(pairs, &replaced, &mut found)?;
        let kept = self.read_kept(pairs, &replaced)?;
        let found = found.into_iter().map(Found::merged).zip(kept).map(Some);
        let alike = self.raw.by_labels(pairs, found, |earlier, (samples, pieces)| {
            let (merged, dropped) = merge(std::mem::take(&mut earlier.0), samples);
            earlier.0 = merged;
            dropped + add_pieces(&mut earlier.1, pieces)
        });
        let mut series = Vec::new();
        for (labels, (samples, mut pieces)) in alike {
            self.add_samples(&samples, &mut pieces);
            let spans = self.whole(pieces);
            if !spans.is_empty() {
                series.push(SpanSeries { labels, spans });
            }
        }
        Ok(series)
    }

    /// Returns for each pair the buckets in which samples count in place of kept spans.
    ///
    /// Those that got samples since they were settled, and all for pairs that may share their final labels, as long as
    /// there are samples. Loose samples of buckets without are left out.
    fn replaced(&self, pairs: &[Candidate], found: &mut [Found]) -> Vec<Vec<Bucket>> {
        let length = self.raw.store.raw.length;
        let has_samples = |bucket: &Bucket| self.raw.block_buckets.binary_search(bucket).is_ok();
        let is_alike =
            |a: Option<&Candidate>, b: &Candidate| a.is_some_and(|a| (a.leader, a.hash) == (b.leader, b.hash));
        let mut replaced = Vec::with_capacity(pairs.len());
        for (at, (pair, found)) in pairs.iter().zip(found).enumerate() {
            let is_shared = is_alike(pairs.get(at + 1), pair) || is_alike(at.checked_sub(1).map(|at| &pairs[at]), pair);
            let is_kept = |bucket: &Bucket| self.kept.binary_search(bucket).is_ok();
            found.loose.retain(|sample| {
                let bucket = length.bucket(sample.at);
                has_samples(&bucket) || !is_kept(&bucket)
            });
            let mut buckets: Vec<Bucket> = if is_shared {
                self.kept.iter().copied().filter(has_samples).collect()
            } else {
                found.loose.iter().map(|sample| length.bucket(sample.at)).filter(is_kept).collect()
            };
            buckets.dedup();
            replaced.push(buckets);
        }
        replaced
    }

    fn read_samples(&self, pairs: &[Candidate], replaced: &[Vec<Bucket>], found: &mut [Found]) -> Result<(), Error> {
        let is_not_kept = |bucket: &Bucket| self.kept.binary_search(bucket).is_err();
        let others: Vec<Bucket> = self.raw.block_buckets.iter().copied().filter(is_not_kept).collect();
        self.raw.read_blocks(&others, pairs, found)?;
        let mut by_bucket: BTreeMap<Bucket, Vec<usize>> = BTreeMap::new();
        for (at, buckets) in replaced.iter().enumerate() {
            buckets.iter().for_each(|bucket| by_bucket.entry(*bucket).or_default().push(at));
        }
        for (bucket, places) in &by_bucket {
            let some: Vec<Candidate> = places.iter().map(|at| pairs[*at]).collect();
            let mut some_found: Vec<Found> = places.iter().map(|at| std::mem::take(&mut found[*at])).collect();
            self.raw.read_blocks(&[*bucket], &some, &mut some_found)?;
            places.iter().zip(some_found).for_each(|(at, some)| found[*at] = some);
        }
        if !by_bucket.is_empty() {
            found.iter_mut().for_each(|found| found.blocks.sort_by_key(|sample| sample.at));
        }
        self.raw.read_rows(pairs, found)
    }

    fn read_kept(&self, pairs: &[Candidate], replaced: &[Vec<Bucket>]) -> Result<Vec<Pieces>, Error> {
        let mut kept: Vec<Pieces> = vec![Pieces::new(); pairs.len()];
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|at| (Group::of(pairs[*at].target), pairs[*at].metric, pairs[*at].target));
        let mut entries = self.raw.entries(family(self.tier));
        for bucket in &self.kept {
            let counting: Vec<usize> = order.iter().copied().filter(|at| !replaced[*at].contains(bucket)).collect();
            let start = self.raw.store.raw.length.start(*bucket).as_millis();
            let place = Place { step_ms: step_ms(self.tier), start };
            for group in counting.chunk_by(|a, b| Group::of(pairs[*a].target) == Group::of(pairs[*b].target)) {
                self.read_group((*bucket, place), (group, pairs), &mut entries, &mut kept)?;
            }
        }
        Ok(kept)
    }

    /// Reads what one bucket has of the pairs at the places in `rest`, which are of one group and in order.
    fn read_group(
        &self,
        (bucket, place): (Bucket, Place),
        (mut rest, pairs): (&[usize], &[Candidate]),
        entries: &mut RawIterator<'_>,
        kept: &mut [Pieces],
    ) -> Result<(), Error> {
        let (mut row_times, no_rows) = (None, RowTimes::default());
        while let Some(at) = rest.first() {
            let (group, metric) = (Group::of(pairs[*at].target), pairs[*at].metric);
            let Some((first, bytes)) = find_block(entries, (bucket, group, metric))? else {
                rest = &rest[1..];
                continue;
            };
            let corrupt = || Error::corrupt("spans", &block_key(bucket, group, first));
            let block = SpanBlock::open(bytes, first, place).ok_or_else(corrupt)?;
            // All that lie in this block; the first is past it if it is in none.
            let last = block.metrics().next_back();
            let count = rest.partition_point(|at| Some(pairs[*at].metric) <= last).max(1);
            if row_times.is_none() && block.needs_row_times() {
                row_times = Some(self.row_times(bucket, group, place.start)?);
            }
            let rows = match &row_times {
                Some(None) if block.needs_row_times() => {
                    // Without its times nothing of it can be told.
                    rest = &rest[count..];
                    continue;
                }
                Some(Some(known)) => known,
                _ => &no_rows,
            };
            let mut here: Vec<_> =
                rest[..count].iter().map(|at| ((Group::place(pairs[*at].target), pairs[*at].metric), *at)).collect();
            here.sort_unstable();
            let wanted: Vec<_> = here.iter().map(|(wanted, _)| *wanted).collect();
            let found = block.read(&wanted, rows).ok_or_else(corrupt)?;
            for ((_, at), pieces) in here.into_iter().zip(found).filter(|(_, pieces)| !pieces.is_empty()) {
                kept[at].insert(bucket, pieces);
            }
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Returns the times of a group's rows; `None` if they cannot be read.
    fn row_times(&self, bucket: Bucket, group: Group, start: i64) -> Result<Option<RowTimes>, Error> {
        let key = block_key(bucket, group, ROW_TIMES);
        match self.raw.get(family(self.tier), &key)? {
            Value::Unreadable => Ok(None),
            Value::Missing => Ok(Some(RowTimes::default())),
            Value::Found(value) => RowTimes::read(Some(&value), start, &key).map(Some),
        }
    }

    fn add_samples(&self, samples: &[Sample], pieces: &mut Pieces) {
        let length = self.raw.store.raw.length;
        let [five_ms, hour_ms] = SpanTier::ALL.map(step_ms);
        for same in samples.chunk_by(|a, b| length.bucket(a.at) == length.bucket(b.at)) {
            let times: Vec<i64> = same.iter().map(|sample| sample.at.as_millis()).collect();
            let values: Vec<f64> = same.iter().map(|sample| sample.value).collect();
            let mut found = Vec::new();
            cut(&times, &values, five_ms, &mut found);
            if self.tier == SpanTier::Hour {
                let five = std::mem::take(&mut found);
                roll_up(&five, five_ms, hour_ms, &mut found);
            }
            pieces.insert(length.bucket(same[0].at), found);
        }
    }

    /// Returns the spans of the steps inside the range, their pieces merged.
    fn whole(&self, pieces: Pieces) -> Vec<(Timestamp, Span)> {
        let mut joined = Vec::new();
        pieces.into_values().flatten().for_each(|piece| join(&mut joined, piece));
        let start = |piece: &Piece| Timestamp::from_millis(piece.step.saturating_mul(step_ms(self.tier)));
        let spans = joined.iter().map(|piece| (start(piece), piece.span));
        spans.filter(|(start, _)| self.raw.range.contains(*start)).collect()
    }
}

/// Adds the pieces of a pair with equal final labels where `pieces` has none; returns how many samples were left out.
fn add_pieces(pieces: &mut Pieces, others: Pieces) -> u64 {
    let mut dropped = 0;
    for (bucket, others) in others {
        let here = pieces.entry(bucket).or_default();
        for other in others {
            match here.binary_search_by_key(&other.step, |piece| piece.step) {
                Ok(_) => dropped += other.span.samples,
                Err(at) => here.insert(at, other),
            }
        }
    }
    dropped
}
