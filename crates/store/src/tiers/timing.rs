//! When a target's samples were, as far as its spans need it: how many, how many of them special, the first, the last.
//!
//! Where no sample is special and the target is scraped regularly, the pattern of its times says all that. Most series
//! have the times of their target's rows: these are kept once for all of them.

use std::collections::BTreeMap;

use firetower_model::{Span, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::pieces::Piece;
use crate::error::Error;
use crate::raw::bytes::{Reader, put_varint, zigzag};
use crate::raw::key::GROUP_TARGETS;
use crate::raw::times::{put_pattern, read_pattern};

/// Most samples that a series is believed to have in a bucket.
const SAMPLES_MAX: usize = 1 << 26;
/// Marks times that are listed step by step; a pattern begins with how many times it has, which is not zero.
const LISTED: u8 = 0;

/// The first time and the pattern of a series.
pub(crate) type Times = (i64, Vec<u8>);

/// Returns first time and pattern of `times`, which has any.
pub(crate) fn times(times: &[i64]) -> Option<Times> {
    let first = *times.first()?;
    let mut pattern = Vec::new();
    put_pattern(&mut pattern, times);
    Some((first, pattern))
}

/// Returns the counts and times of `pieces`, whose finite samples were at `finite`: by pattern, or listed if that is shorter
/// or the only way. Steps count from `first_step`, listed times from the start of their step.
pub(crate) fn timing(pieces: &[Piece], finite: &[i64], step_ms: i64, first_step: i64) -> (Option<i64>, Vec<u8>) {
    let has_special = pieces.iter().any(|piece| piece.span.special > 0);
    let pattern = if has_special { None } else { times(finite) };
    let mut listed = vec![LISTED];
    put_varint(&mut listed, pieces.len() as u64);
    let mut next = first_step;
    for Piece { step, span } in pieces {
        put_varint(&mut listed, zigzag(step.wrapping_sub(next)));
        put_varint(&mut listed, span.samples);
        put_varint(&mut listed, span.special);
        if span.samples > span.special {
            let start = step.wrapping_mul(step_ms);
            put_varint(&mut listed, span.first_t.as_millis().wrapping_sub(start) as u64);
            put_varint(&mut listed, span.last_t.as_millis().wrapping_sub(span.first_t.as_millis()) as u64);
        }
        next = step.wrapping_add(1);
    }
    match pattern {
        Some((first, pattern)) if pattern.len() <= listed.len() => (Some(first), pattern),
        _ => (None, listed),
    }
}

/// Reads what [`timing`] returned into `pieces`, whose values are left open. `None` if it is none.
pub(crate) fn read_timing(
    timing: &[u8],
    first: i64,
    step_ms: i64,
    first_step: i64,
    pieces: &mut Vec<Piece>,
) -> Option<()> {
    pieces.clear();
    if timing.first() != Some(&LISTED) {
        let mut times = Vec::new();
        read_pattern(timing, first, SAMPLES_MAX, &mut times)?;
        count_times(&times, step_ms, pieces);
        return Some(());
    }
    let mut from = Reader(&timing[1..]);
    let mut next = first_step;
    for _ in 0..from.count(timing.len())? {
        let step = next.wrapping_add(from.signed()?);
        let mut span = Span { samples: from.count(SAMPLES_MAX)? as u64, ..Span::EMPTY };
        span.special = from.varint().filter(|special| *special <= span.samples)?;
        if span.samples > span.special {
            let first = step.wrapping_mul(step_ms).wrapping_add(from.varint()? as i64);
            span.first_t = Timestamp::from_millis(first);
            span.last_t = Timestamp::from_millis(first.wrapping_add(from.varint()? as i64));
        }
        pieces.push(Piece { step, span });
        next = step.wrapping_add(1);
    }
    from.0.is_empty().then_some(())
}

fn count_times(times: &[i64], step_ms: i64, pieces: &mut Vec<Piece>) {
    for same in times.chunk_by(|a, b| a.div_euclid(step_ms) == b.div_euclid(step_ms)) {
        let span = Span {
            samples: same.len() as u64,
            first_t: Timestamp::from_millis(same[0]),
            last_t: Timestamp::from_millis(same[same.len() - 1]),
            ..Span::EMPTY
        };
        pieces.push(Piece { step: same[0].div_euclid(step_ms), span });
    }
}

/// The times of the rows that the targets of a group have in a bucket, by their place in the group.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RowTimes(pub(crate) BTreeMap<u8, Times>);

impl RowTimes {
    /// Returns them as bytes; first times count from `start`.
    pub(crate) fn to_bytes(&self, start: i64) -> Vec<u8> {
        let mut patterns: Vec<&[u8]> = Vec::new();
        let mut out = vec![0; 4];
        put_varint(&mut out, self.0.len() as u64);
        for (place, (first, pattern)) in &self.0 {
            let known = patterns.iter().position(|known| known == pattern);
            let known = known.unwrap_or_else(|| {
                patterns.push(pattern);
                patterns.len() - 1
            });
            out.push(*place);
            put_varint(&mut out, zigzag(first.wrapping_sub(start)));
            put_varint(&mut out, known as u64);
        }
        for pattern in patterns {
            put_varint(&mut out, pattern.len() as u64);
            out.extend_from_slice(pattern);
        }
        let checksum = xxh3_64(&out[4..]) as u32;
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads what is kept under `key`, if anything.
    pub(crate) fn read(kept: Option<&[u8]>, start: i64, key: &[u8]) -> Result<RowTimes, Error> {
        let read = |bytes| RowTimes::from_bytes(bytes, start).ok_or_else(|| Error::corrupt("times of rows", key));
        kept.map_or_else(|| Ok(RowTimes::default()), read)
    }

    /// Reads back [`RowTimes::to_bytes`]. `None` if the bytes are none.
    pub(crate) fn from_bytes(bytes: &[u8], start: i64) -> Option<RowTimes> {
        let mut from = Reader(bytes);
        let checksum = u32::from_le_bytes(from.array()?);
        if xxh3_64(from.0) as u32 != checksum {
            return None;
        }
        let group = GROUP_TARGETS as usize;
        let mut entries = Vec::new();
        for _ in 0..from.count(group)? {
            entries.push((from.byte()?, from.signed()?.wrapping_add(start), from.count(group)?));
        }
        let mut patterns = Vec::new();
        while !from.0.is_empty() {
            let length = from.count(bytes.len())?;
            patterns.push(from.take(length)?);
        }
        let entry = |(place, first, pattern): (u8, i64, usize)| Some((place, (first, patterns.get(pattern)?.to_vec())));
        entries.into_iter().map(entry).collect::<Option<_>>().map(RowTimes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiers::pieces::cut;
    use firetower_model::STALE;
    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::Just;

    fn check(times: &[i64], values: &[f64]) -> usize {
        let mut pieces = Vec::new();
        cut(times, values, 300_000, &mut pieces);
        let finite: Vec<i64> =
            times.iter().zip(values).filter(|(_, value)| value.is_finite()).map(|(at, _)| *at).collect();
        let (first, bytes) = timing(&pieces, &finite, 300_000, 0);
        let mut found = Vec::new();
        read_timing(&bytes, first.unwrap_or(0), 300_000, 0, &mut found).unwrap();
        let plain = |piece: &Piece| {
            let span = piece.span;
            (piece.step, span.samples, span.special, span.first_t, span.last_t)
        };
        assert_eq!(found.iter().map(plain).collect::<Vec<_>>(), pieces.iter().map(plain).collect::<Vec<_>>());
        bytes.len()
    }

    #[test]
    fn regular_times_are_a_pattern_and_others_are_listed() {
        let times: Vec<i64> = (0..480).map(|n| n * 15_000).collect();
        assert_eq!(check(&times, &[1.0; 480]), 7);
        let jittered: Vec<i64> = (0..480).map(|n| n * 15_000 + n * n % 7).collect();
        assert!(check(&jittered, &[1.0; 480]) < 24 * 10);
        assert_eq!(check(&[5], &[f64::NAN]), 5);
    }

    proptest! {
        #[test]
        fn any_times_read_back(samples in proptest::collection::vec(
            (1..400_000i64, prop_oneof![4 => Just(1.0), 1 => Just(f64::NAN), 1 => Just(STALE)]), 0..100)) {
            let mut at = 0;
            let times: Vec<i64> = samples.iter().map(|(later, _)| { at += later; at }).collect();
            check(&times, &samples.iter().map(|(_, value)| *value).collect::<Vec<_>>());
        }

        #[test]
        fn row_times_read_back(times in proptest::collection::btree_map(0..64u8, (any::<i64>(), 0..9u8), 0..64), start in any::<i64>()) {
            let times = RowTimes(times.into_iter().map(|(place, (first, n))| (place, (first, vec![n; 3]))).collect());
            assert_eq!(RowTimes::from_bytes(&times.to_bytes(start), start), Some(times));
        }

        #[test]
        fn rubbish_is_refused_without_a_panic(bytes in any::<Vec<u8>>()) {
            let listed: Vec<u8> = [LISTED].into_iter().chain(bytes.iter().copied()).collect();
            read_timing(&listed, 0, 300_000, 0, &mut Vec::new());
            RowTimes::from_bytes(&bytes, 0);
        }
    }
}
