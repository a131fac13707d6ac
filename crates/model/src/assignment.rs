//! Which targets a secondary scrapes, and which bit of a frame stands for which of their slots.

use crate::coverage::SlotBits;
use crate::ids::Generation;
use crate::target::{Schedule, Target};
use crate::time::{TimeRange, Timestamp, Window};

/// One secondary's share of the targets.
///
/// The order of the targets is the order of the bits of [`SlotBits`], so sender and receiver keep the list as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Number of the assignment; a higher one replaces a lower one.
    pub generation: Generation,
    /// What [`Assignment::new`] computed of the targets: equal lists have equal fingerprints.
    pub fingerprint: u64,
    /// Hash of all that was shared out and among whom: the two primaries of a pair give equal lists different numbers. 0 if
    /// that is not known.
    pub list: u64,
    /// From when on it holds: the start of a window.
    pub effective_from: Timestamp,
    /// The targets, sorted, each once.
    pub targets: Vec<Target>,
}

impl Assignment {
    /// Makes an assignment of `targets` in any order; those that come twice are kept once.
    pub fn new(generation: Generation, effective_from: Timestamp, mut targets: Vec<Target>) -> Assignment {
        targets.sort();
        targets.dedup();
        Assignment { generation, fingerprint: fingerprint(&targets), list: 0, effective_from, targets }
    }

    /// Returns one clear bit for each slot that the targets have in `window`.
    pub fn slot_bits(&self, window: Window) -> SlotBits {
        SlotIndex::new(self, window).slot_bits()
    }
}

/// Returns a hash of `targets` in their order, the same in every process and release.
pub fn fingerprint(targets: &[Target]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for target in targets {
        for field in [target.job_name.as_bytes(), target.labels.as_bytes(), target.url.as_bytes()] {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        for time in [target.interval, target.timeout] {
            hasher.update(&(time.as_millis() as u64).to_le_bytes());
        }
    }
    hasher.digest()
}

/// Returns a hash of `targets`, in their order, that are shared out among `secondaries`.
pub fn list_fingerprint(targets: &[Target], secondaries: &[&str]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::with_seed(fingerprint(targets));
    for secondary in secondaries {
        hasher.update(&(secondary.len() as u64).to_le_bytes());
        hasher.update(secondary.as_bytes());
    }
    // 0 says that it is not known.
    hasher.digest().max(1)
}

/// Finds the bits of one window's slots: target after target in the order of the list, each target's slots in time.
#[derive(Clone, Debug)]
pub struct SlotIndex {
    generation: Generation,
    range: TimeRange,
    schedules: Vec<Schedule>,
    /// First bit of each target, and one past the last bit of all.
    first_bits: Vec<u32>,
}

impl SlotIndex {
    /// Lays out the slots of `assignment` in `window`.
    ///
    /// # Panics
    /// If a target's interval is under 1 ms.
    pub fn new(assignment: &Assignment, window: Window) -> SlotIndex {
        let range = window.range();
        let schedules: Vec<Schedule> = assignment.targets.iter().map(Target::schedule).collect();
        let mut first_bits = Vec::with_capacity(schedules.len() + 1);
        let mut next_bit = 0u32;
        for schedule in &schedules {
            first_bits.push(next_bit);
            next_bit = next_bit.saturating_add(u32::try_from(schedule.count(range)).unwrap_or(u32::MAX));
        }
        first_bits.push(next_bit);
        SlotIndex { generation: assignment.generation, range, schedules, first_bits }
    }

    /// Returns how many slots there are.
    pub fn count(&self) -> u32 {
        *self.first_bits.last().expect("made with one more than the targets")
    }

    /// Returns one clear bit for each slot.
    pub fn slot_bits(&self) -> SlotBits {
        SlotBits::new(self.generation, self.count())
    }

    /// Returns the bit of the slot at `slot` of the target at `target` in the list.
    ///
    /// `None` if there is no such target, or if the target has no slot at exactly that moment of the window.
    pub fn bit_of(&self, target: usize, slot: Timestamp) -> Option<u32> {
        let schedule = self.schedules.get(target)?;
        if !self.range.contains(slot) || schedule.first_at_or_after(slot) != slot {
            return None;
        }
        let earlier = schedule.count(TimeRange { start: self.range.start, end: slot });
        self.first_bits[target].checked_add(u32::try_from(earlier).ok()?).filter(|bit| *bit < self.count())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::labels::Labels;

    fn target(port: u16, interval_seconds: u64) -> Target {
        Target {
            job_name: "node".into(),
            labels: Labels::new([("instance", format!("h:{port}"))]),
            url: format!("http://h:{port}/metrics"),
            interval: Duration::from_secs(interval_seconds),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn every_slot_of_a_window_has_its_own_bit() {
        let targets = (0..50).map(|port| target(port, [5, 10, 15, 60][usize::from(port) % 4])).collect();
        let assignment = Assignment::new(Generation(7), Timestamp::default(), targets);
        let window = Window::containing(Timestamp::from_millis(1_700_000_000_000), Duration::from_secs(15));
        let index = SlotIndex::new(&assignment, window);
        let mut bits = assignment.slot_bits(window);
        let mut expected = 0;
        for (at, target) in assignment.targets.iter().enumerate() {
            for slot in target.schedule().slots(window.range()) {
                assert_eq!(index.bit_of(at, slot), Some(expected), "bits follow targets, then time");
                assert!(bits.set(expected));
                assert_eq!(index.bit_of(at, slot + Duration::from_millis(1)), None);
                expected += 1;
            }
        }
        assert_eq!((bits.count(), bits.ones(), index.count()), (expected, u64::from(expected), expected));
        assert_eq!(index.bit_of(0, window.end()), None);
        assert_eq!(index.bit_of(50, window.start()), None);
    }

    #[test]
    fn a_fingerprint_is_of_the_set_of_targets() {
        let make = |targets| Assignment::new(Generation(1), Timestamp::default(), targets);
        let whole = make(vec![target(1, 15), target(2, 15)]);
        assert_eq!(make(vec![target(2, 15), target(1, 15), target(2, 15)]), whole);
        for other in [vec![], vec![target(1, 15)], vec![target(1, 15), target(2, 10)]] {
            assert_ne!(make(other).fingerprint, whole.fingerprint);
        }
        assert_eq!(make(vec![]).fingerprint, 0x2d06_8005_38d3_94c2, "must stay the same over releases");
    }
}
