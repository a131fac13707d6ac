//! A set of sequences, kept as ranges.

use std::collections::BTreeMap;

use crate::tree::codec::{Reader, put_varint};

/// A set of sequences, kept as ranges, so that a stream without holes costs one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RangeSet {
    /// First of each range → last of it, both inside; ranges neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// Makes the empty set.
    pub fn new() -> RangeSet {
        RangeSet::default()
    }

    /// Adds `value`; returns whether it was not inside yet.
    pub fn insert(&mut self, value: u64) -> bool {
        self.insert_range(value, value) == 1
    }

    /// Adds all of `from` to `to`, both inside; returns how many were not inside yet.
    ///
    /// Nothing is added when `to` is under `from`.
    pub fn insert_range(&mut self, from: u64, to: u64) -> u64 {
        if to < from {
            return 0;
        }
        let added = self.gaps(from, to).iter().map(|(from, to)| to - from + 1).fold(0, u64::saturating_add);
        let (mut first, mut last) = (from, to);
        while let Some((&low, &high)) = self.ranges.range(..=last.saturating_add(1)).next_back() {
            if high.saturating_add(1) < first {
                break;
            }
            (first, last) = (first.min(low), last.max(high));
            self.ranges.remove(&low);
        }
        self.ranges.insert(first, last);
        added
    }

    /// Tells whether `value` is inside.
    pub fn contains(&self, value: u64) -> bool {
        self.contains_range(value, value)
    }

    /// Tells whether all of `from` to `to`, both inside, is inside.
    pub fn contains_range(&self, from: u64, to: u64) -> bool {
        self.ranges.range(..=from).next_back().is_some_and(|(_, high)| to <= *high)
    }

    /// Returns the ranges of what is not inside from `from` to `to`, both inside.
    pub fn gaps(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut next = from;
        let below = self.ranges.range(..from).next_back().filter(|(_, high)| **high >= from);
        for (&low, &high) in below.into_iter().chain(self.ranges.range(from..)) {
            if low > to {
                break;
            }
            if low > next {
                gaps.push((next, low - 1));
            }
            match high.checked_add(1) {
                Some(after) => next = next.max(after),
                None => return gaps,
            }
        }
        if next <= to {
            gaps.push((next, to));
        }
        gaps
    }

    /// Returns the ranges in order, both ends inside.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(from, to)| (*from, *to))
    }

    /// Returns the last value of the unbroken run that starts at 1; 0 if 1 is not inside.
    pub fn contiguous_through(&self) -> u64 {
        self.ranges.range(..=1).next_back().map_or(0, |(_, high)| *high)
    }

    /// Returns the greatest value; 0 if there is none.
    pub fn last(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, high)| *high)
    }

    /// Returns how many values are inside; saturates.
    pub fn len(&self) -> u64 {
        self.iter().map(|(from, to)| (to - from).saturating_add(1)).fold(0, u64::saturating_add)
    }

    /// Tells whether nothing is inside.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns varints: how many ranges, then for each how far it starts after the last one's end, and its length less one.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + 4 * self.ranges.len());
        put_varint(&mut bytes, self.ranges.len() as u64);
        let mut end = 0;
        for (from, to) in self.iter() {
            put_varint(&mut bytes, from - end);
            put_varint(&mut bytes, to - from);
            end = to;
        }
        bytes
    }

    /// Reads back what [`RangeSet::to_bytes`] returned; `None` if it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<RangeSet> {
        let mut reader = Reader::new(bytes);
        let set = RangeSet::read(&mut reader)?;
        reader.finish()?;
        Some(set)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<RangeSet> {
        let count = reader.varint()?;
        let mut set = RangeSet::default();
        let mut end: u64 = 0;
        for at in 0..count {
            let step = reader.varint()?;
            if at > 0 && step < 2 {
                return None;
            }
            let from = end.checked_add(step)?;
            end = from.checked_add(reader.varint()?)?;
            set.ranges.insert(from, end);
        }
        Some(set)
    }
}

impl FromIterator<(u64, u64)> for RangeSet {
    /// Gathers ranges in any order, both ends inside; one whose end is under its start is nothing.
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> RangeSet {
        let mut set = RangeSet::default();
        for (from, to) in ranges {
            set.insert_range(from, to);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ends_of_the_number_line_are_ordinary() {
        let mut set = RangeSet::new();
        assert_eq!((set.insert_range(u64::MAX - 1, u64::MAX), set.insert(0), set.insert(0)), (2, true, false));
        assert_eq!((set.contiguous_through(), set.insert(1), set.contiguous_through()), (0, true, 1));
        assert_eq!(set.gaps(0, u64::MAX), [(2, u64::MAX - 2)]);
        assert_eq!(RangeSet::from_bytes(&set.to_bytes()), Some(set));
        assert_eq!((RangeSet::from_bytes(&[1]), RangeSet::from_bytes(&[2, 1, 1, 1, 1])), (None, None));
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(ranges in prop::collection::vec((0u64..120, 0u64..9), 0..60), at in 0u64..140) {
            let (mut set, mut plain) = (RangeSet::new(), BTreeSet::new());
            for (from, more) in ranges {
                let added = (from..=from + more).filter(|value| plain.insert(*value)).count() as u64;
                prop_assert_eq!(set.insert_range(from, from + more), added);
            }
            prop_assert_eq!(set.iter().flat_map(|(from, to)| from..=to).collect::<BTreeSet<u64>>(), plain.clone());
            prop_assert_eq!(set.len(), plain.len() as u64);
            prop_assert_eq!(set.contains(at), plain.contains(&at));
            prop_assert_eq!(set.contains_range(at, at + 3), (at..=at + 3).all(|value| plain.contains(&value)));
            let missing: Vec<u64> = set.gaps(at, at + 20).into_iter().flat_map(|(from, to)| from..=to).collect();
            prop_assert_eq!(missing, (at..=at + 20).filter(|value| !plain.contains(value)).collect::<Vec<u64>>());
            prop_assert_eq!(set.contiguous_through(), (1..).take_while(|value| plain.contains(value)).last().unwrap_or(0));
            prop_assert_eq!(RangeSet::from_bytes(&set.to_bytes()), Some(set));
        }
    }
}
