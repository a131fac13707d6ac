//! How much of what should have been seen was seen.

use crate::ids::Generation;
use crate::time::Timestamp;

/// Slots of a window (or of the worst window of a range): `expected = reported + lost`, `late` is part of `reported`.
///
/// A slot is reported when its scrape was made, whether the target answered or not: that it did not is known then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Slots that the persisted assignment has in the window.
    pub expected: u64,
    /// Slots whose scrape was made.
    pub reported: u64,
    /// Reported slots that came after the window had closed.
    pub late: u64,
    /// Slots not reported.
    pub lost: u64,
}

impl Coverage {
    /// Makes the coverage of `expected` slots of which `reported` came, `late` of them late.
    pub fn new(expected: u64, reported: u64, late: u64) -> Coverage {
        Coverage { expected, reported, late, lost: expected.saturating_sub(reported) }
    }

    /// Adds other slots.
    pub fn merge(&mut self, other: &Coverage) {
        self.expected += other.expected;
        self.reported += other.reported;
        self.late += other.late;
        self.lost += other.lost;
    }

    /// Returns the reported share in `[0, 1]`; nothing expected is 1.
    pub fn ratio(&self) -> f64 {
        if self.expected == 0 { 1.0 } else { self.reported as f64 / self.expected as f64 }
    }
}

/// Which (target, slot) pairs of a window a frame stands for, one bit each.
///
/// In the order of the targets of the sender's share of assignment `generation`, and of each target's slots in time.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SlotBits {
    /// The assignment whose order the bits follow.
    pub generation: Generation,
    count: u32,
    words: Vec<u64>,
}

impl SlotBits {
    /// Makes `count` bits, none set.
    pub fn new(generation: Generation, count: u32) -> SlotBits {
        SlotBits { generation, count, words: vec![0; count.div_ceil(64) as usize] }
    }

    /// Sets the bit at `at`; returns whether it was clear.
    ///
    /// # Panics
    /// If `at` is not under [`SlotBits::count`].
    pub fn set(&mut self, at: u32) -> bool {
        assert!(at < self.count, "bit {at} of {}", self.count);
        let (word, bit) = (&mut self.words[at as usize / 64], 1u64 << (at % 64));
        let was_clear = *word & bit == 0;
        *word |= bit;
        was_clear
    }

    /// Tells whether the bit at `at` is set; false past the end.
    pub fn is_set(&self, at: u32) -> bool {
        at < self.count && self.words[at as usize / 64] >> (at % 64) & 1 == 1
    }

    /// Returns how many bits there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Returns how many bits are set.
    pub fn ones(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Returns `ceil(count / 8)` bytes, the first bit lowest in the first; no bytes at all if every bit is set.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.ones() == u64::from(self.count) {
            return Vec::new();
        }
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.count.div_ceil(8) as usize);
        bytes
    }

    /// Reads back what [`SlotBits::to_bytes`] returned; `None` if the length or the bits past the end are wrong.
    pub fn from_bytes(generation: Generation, count: u32, bytes: &[u8]) -> Option<SlotBits> {
        let mut bits = SlotBits::new(generation, count);
        if bytes.is_empty() {
            bits.words.fill(u64::MAX);
            if let (Some(last), tail @ 1..) = (bits.words.last_mut(), count % 64) {
                *last >>= 64 - tail;
            }
            return Some(bits);
        }
        if bytes.len() != count.div_ceil(8) as usize || !count.is_multiple_of(8) && bytes.last()? >> (count % 8) != 0 {
            return None;
        }
        for (at, byte) in bytes.iter().enumerate() {
            bits.words[at / 8] |= u64::from(*byte) << (8 * (at % 8));
        }
        Some(bits)
    }
}

/// How far a stream of windows has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// Time of the newest sample seen.
    pub newest: Timestamp,
    /// End of the last window up to which nothing is outstanding from children that are not lost.
    pub complete_through: Timestamp,
}

impl Default for Watermark {
    fn default() -> Watermark {
        Watermark { newest: Timestamp::MIN, complete_through: Timestamp::MIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_survive_their_bytes() {
        for count in [0, 1, 7, 8, 63, 64, 65, 5_000] {
            for step in [1, 2, 7] {
                let mut bits = SlotBits::new(Generation(3), count);
                (0..count).step_by(step).for_each(|at| assert!(bits.set(at)));
                let bytes = bits.to_bytes();
                let is_full = bits.ones() == u64::from(count);
                assert_eq!(bytes.len(), if is_full { 0 } else { count.div_ceil(8) as usize });
                assert_eq!(SlotBits::from_bytes(Generation(3), count, &bytes), Some(bits), "{count} by {step}");
            }
        }
        assert_eq!(SlotBits::from_bytes(Generation(0), 9, &[1]), None, "too short");
        assert_eq!(SlotBits::from_bytes(Generation(0), 9, &[1, 2]), None, "a bit past the end");
    }

    #[test]
    fn coverage_adds_up() {
        let mut coverage = Coverage::new(4, 3, 1);
        coverage.merge(&Coverage::new(6, 6, 0));
        assert_eq!(coverage, Coverage { expected: 10, reported: 9, late: 1, lost: 1 });
        assert_eq!((coverage.ratio(), Coverage::default().ratio()), (0.9, 1.0));
    }
}
