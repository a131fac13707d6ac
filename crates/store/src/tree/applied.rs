//! Which frames of each child have been applied.

use std::collections::BTreeMap;

use firetower_model::{Claim, Incarnation, Sequence};

use crate::database::{Batch, Store};
use crate::error::Error;
use crate::tree::codec::{Reader, put_varint};
use crate::tree::ranges::RangeSet;
use crate::tree::scan;

const FAMILY: &str = "applied";

/// What has been applied of one child's stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The life of the child's data directory.
    pub incarnation: Incarnation,
    /// Sequences applied of it, those that a tombstone stood for included.
    pub ranges: RangeSet,
    /// The highest sequence that it has said it wrote.
    pub announced: Sequence,
    /// Raw samples applied of this incarnation.
    pub weight: u64,
    /// Raw samples applied of the incarnations before it.
    pub weight_before: u64,
    /// Frames applied, over all its incarnations.
    pub frames: u64,
    /// Frames announced and never applied before a newer incarnation took over.
    pub lost_frames: u64,
    /// Raw samples that an incarnation held for this receiver when a newer one took over: `incarnation_lost`.
    pub lost_weight: u64,
    /// Sequences up to this one were never meant for this receiver: the child got rid of them before it was told of it.
    pub first_after: Sequence,
    /// What this incarnation last said it has for this receiver.
    pub claim: Option<Claim>,
}

impl Applied {
    fn nothing(incarnation: Incarnation) -> Applied {
        Applied {
            incarnation,
            ranges: RangeSet::new(),
            announced: Sequence(0),
            weight: 0,
            weight_before: 0,
            frames: 0,
            lost_frames: 0,
            lost_weight: 0,
            first_after: Sequence(0),
            claim: None,
        }
    }

    /// Returns how many frames were announced and not yet applied.
    pub fn outstanding_frames(&self) -> u64 {
        let gaps = self.ranges.gaps(self.first_after.0 + 1, self.announced.0);
        gaps.into_iter().map(|(from, to)| to - from + 1).sum()
    }

    /// Returns how many raw samples were claimed for this receiver, and neither applied nor given up.
    fn outstanding_weight(&self) -> u64 {
        self.claim.map_or(0, |claim| claim.collected.saturating_sub(claim.dropped).saturating_sub(self.weight))
    }
}

/// What a child's incarnation means to the one who receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The incarnation known already.
    Same,
    /// The first, or a newer one: it starts with nothing applied.
    Newer {
        /// Frames of the one before that were announced and will never come.
        lost_frames: u64,
        /// Raw samples of the one before that it held for this receiver.
        lost_weight: u64,
    },
    /// An older one: its process is to be told so, and to exit.
    Superseded,
}

/// Which frames of each child have been applied.
///
/// Owned by one task. What it holds in memory runs ahead of the disk until the caller commits its batch.
pub struct Receiver {
    store: Store,
    children: BTreeMap<String, Applied>,
}

impl Receiver {
    /// Reads back what has been applied.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(store: &Store) -> Result<Receiver, Error> {
        let mut children = BTreeMap::new();
        for pair in scan(&store.db, FAMILY, &[]) {
            let (key, value) = pair?;
            let read = || Some((std::str::from_utf8(&key).ok()?.to_owned(), read_applied(&value)?));
            children.extend([read().ok_or_else(|| Error::corrupt("applied ranges", &key))?]);
        }
        Ok(Receiver { store: store.clone(), children })
    }

    /// Takes a child's greeting: its incarnation, the highest sequence that it has written, and the last one of those
    /// that it will not send because they were done with before it was told of this receiver.
    ///
    /// Of a newer incarnation nothing is applied yet; what the older one still owed is counted as lost.
    pub fn hello(
        &mut self,
        batch: &mut Batch,
        child: &str,
        incarnation: Incarnation,
        highest: Sequence,
        first_after: Sequence,
    ) -> Hello {
        let known = self.children.get(child).map(|applied| applied.incarnation.cmp(&incarnation));
        match known {
            Some(std::cmp::Ordering::Greater) => Hello::Superseded,
            Some(std::cmp::Ordering::Equal) => {
                self.announce(batch, child, incarnation, highest);
                Hello::Same
            }
            _ => {
                let before = self.children.remove(child).unwrap_or_else(|| Applied::nothing(incarnation));
                let (lost_frames, lost_weight) = (before.outstanding_frames(), before.outstanding_weight());
                let applied = Applied {
                    announced: highest,
                    weight_before: before.weight_before + before.weight,
                    frames: before.frames,
                    lost_frames: before.lost_frames + lost_frames,
                    lost_weight: before.lost_weight + lost_weight,
                    first_after,
                    ..Applied::nothing(incarnation)
                };
                put_applied(batch, &self.store, child, &applied);
                self.children.insert(child.to_owned(), applied);
                Hello::Newer { lost_frames, lost_weight }
            }
        }
    }

    /// Notes the highest sequence that `child` has written, as its heartbeats say; other incarnations are passed over.
    pub fn announce(&mut self, batch: &mut Batch, child: &str, incarnation: Incarnation, highest: Sequence) {
        let Some(applied) = self.current(child, incarnation) else { return };
        if applied.announced < highest {
            applied.announced = highest;
            let applied = applied.clone();
            put_applied(batch, &self.store, child, &applied);
        }
    }

    /// Notes what `child` claims to have for this receiver, as its heartbeats say; other incarnations are passed over.
    pub fn claim(&mut self, batch: &mut Batch, child: &str, incarnation: Incarnation, claim: Claim) {
        let Some(applied) = self.current(child, incarnation) else { return };
        if applied.claim != Some(claim) {
            applied.claim = Some(claim);
            let applied = applied.clone();
            put_applied(batch, &self.store, child, &applied);
        }
    }

    /// Tells whether the frame has been applied.
    pub fn is_applied(&self, child: &str, incarnation: Incarnation, sequence: Sequence) -> bool {
        let applied = self.children.get(child).filter(|applied| applied.incarnation == incarnation);
        applied.is_some_and(|applied| applied.ranges.contains(sequence.0))
    }

    /// Notes that a frame is applied, in the batch that holds what it said.
    ///
    /// Returns whether it was not before; a frame marked twice counts once. Never of an incarnation other than the
    /// one of the last [`Receiver::hello`].
    pub fn mark(
        &mut self,
        batch: &mut Batch,
        child: &str,
        incarnation: Incarnation,
        sequence: Sequence,
        weight: u64,
    ) -> bool {
        let Some(applied) = self.current(child, incarnation) else { return false };
        if !applied.ranges.insert(sequence.0) {
            return false;
        }
        applied.frames += 1;
        applied.weight += weight;
        applied.announced = applied.announced.max(sequence);
        let applied = applied.clone();
        put_applied(batch, &self.store, child, &applied);
        true
    }

    /// Notes that a tombstone's sequences, both ends inside, will never come; returns how many of them were not applied.
    pub fn mark_tombstone(
        &mut self,
        batch: &mut Batch,
        child: &str,
        incarnation: Incarnation,
        from: Sequence,
        to: Sequence,
    ) -> u64 {
        let Some(applied) = self.current(child, incarnation) else { return 0 };
        let missing = applied.ranges.insert_range(from.0, to.0);
        applied.announced = applied.announced.max(to);
        let applied = applied.clone();
        put_applied(batch, &self.store, child, &applied);
        missing
    }

    fn current(&mut self, child: &str, incarnation: Incarnation) -> Option<&mut Applied> {
        self.children.get_mut(child).filter(|applied| applied.incarnation == incarnation)
    }

    /// Returns the sequences applied of `child`, once their batch is committed these may be acknowledged.
    pub fn ranges(&self, child: &str) -> Option<&RangeSet> {
        self.children.get(child).map(|applied| &applied.ranges)
    }

    /// Returns what has been applied of `child`.
    pub fn applied(&self, child: &str) -> Option<&Applied> {
        self.children.get(child)
    }

    /// Returns all children ever heard, in order of their names.
    pub fn children(&self) -> impl Iterator<Item = (&str, &Applied)> {
        self.children.iter().map(|(child, applied)| (child.as_str(), applied))
    }
}

fn put_applied(batch: &mut Batch, store: &Store, child: &str, applied: &Applied) {
    let mut value = applied.incarnation.to_bytes().to_vec();
    for count in [applied.announced.0, applied.weight, applied.frames, applied.lost_frames] {
        put_varint(&mut value, count);
    }
    value.extend(applied.ranges.to_bytes());
    for count in [applied.weight_before, applied.lost_weight, applied.first_after.0] {
        put_varint(&mut value, count);
    }
    for count in applied.claim.iter().flat_map(|claim| [claim.collected, claim.delivered, claim.dropped]) {
        put_varint(&mut value, count);
    }
    batch.0.put_cf(store.family(FAMILY), child, value);
}

pub(super) fn read_applied(value: &[u8]) -> Option<Applied> {
    let mut reader = Reader::new(value);
    let incarnation = Incarnation::from_bytes(reader.array()?);
    let [announced, weight, frames, lost_frames] =
        [reader.varint()?, reader.varint()?, reader.varint()?, reader.varint()?];
    let ranges = RangeSet::read(&mut reader)?;
    let [weight_before, lost_weight, first_after] = [reader.varint()?, reader.varint()?, reader.varint()?];
    let claim = if reader.rest().is_empty() {
        None
    } else {
        Some(Claim { collected: reader.varint()?, delivered: reader.varint()?, dropped: reader.varint()? })
    };
    reader.finish()?;
    let (announced, first_after) = (Sequence(announced), Sequence(first_after));
    Some(Applied {
        incarnation,
        ranges,
        announced,
        weight,
        weight_before,
        frames,
        lost_frames,
        lost_weight,
        first_after,
        claim,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::{TestStore, at};

    fn life(seconds: u64) -> Incarnation {
        Incarnation { created: at(seconds), random: 7 }
    }

    #[test]
    fn a_frame_counts_once_and_a_newer_incarnation_starts_over() {
        let test = TestStore::new();
        let mut receiver = Receiver::open(&test.store).unwrap();
        let mut batch = Batch::default();
        assert!(!receiver.mark(&mut batch, "s0", life(1), Sequence(1), 9), "no hello yet");
        let first = receiver.hello(&mut batch, "s0", life(1), Sequence(4), Sequence(0));
        assert_eq!(first, Hello::Newer { lost_frames: 0, lost_weight: 0 });
        for (sequence, is_new) in [(2, true), (1, true), (2, false)] {
            assert_eq!(receiver.mark(&mut batch, "s0", life(1), Sequence(sequence), 10), is_new);
        }
        assert_eq!(receiver.hello(&mut batch, "s0", life(1), Sequence(5), Sequence(0)), Hello::Same);
        receiver.claim(&mut batch, "s0", life(1), Claim { collected: 100, delivered: 10, dropped: 25 });
        receiver.claim(&mut batch, "s0", life(0), Claim::default());
        test.store.commit(batch).unwrap();
        drop(receiver);
        let test = test.reopen();
        let mut receiver = Receiver::open(&test.store).unwrap();
        let applied = receiver.applied("s0").unwrap().clone();
        assert_eq!((applied.weight, applied.frames, applied.outstanding_frames()), (20, 2, 3));
        assert!(receiver.is_applied("s0", life(1), Sequence(2)) && !receiver.is_applied("s0", life(2), Sequence(2)));
        let mut batch = Batch::default();
        assert_eq!(receiver.mark_tombstone(&mut batch, "s0", life(1), Sequence(2), Sequence(3)), 1);
        assert_eq!(receiver.hello(&mut batch, "s0", life(0), Sequence(9), Sequence(0)), Hello::Superseded);
        let newer = receiver.hello(&mut batch, "s0", life(2), Sequence(7), Sequence(5));
        assert_eq!(newer, Hello::Newer { lost_frames: 2, lost_weight: 100 - 25 - 20 });
        assert_eq!(receiver.applied("s0").unwrap().outstanding_frames(), 2, "five were never meant for it");
        assert!(!receiver.mark(&mut batch, "s0", life(1), Sequence(4), 1), "its time is over");
        assert!(receiver.mark(&mut batch, "s0", life(2), Sequence(1), 1));
        let applied = receiver.applied("s0").unwrap();
        assert_eq!((applied.weight_before, applied.weight, applied.frames, applied.lost_frames), (20, 1, 3, 2));
        assert_eq!((applied.lost_weight, applied.claim), (55, None));
        assert_eq!(receiver.ranges("s0").unwrap().iter().collect::<Vec<_>>(), [(1, 1)]);
    }
}
