//! Who used what, and when: the targets of a shape, or the targets that a metric was written for.

use std::collections::BTreeMap;

use firetower_model::TargetId;

use crate::raw::key::Bucket;

/// First and last bucket, both inclusive, of each (owner, target) pair; the owner is a shape or a metric.
#[derive(Default)]
pub(crate) struct Uses(BTreeMap<(u32, u32), (Bucket, Bucket)>);

impl Uses {
    /// Notes a use; returns the pair's range if that made it longer.
    pub(crate) fn note(&mut self, owner: u32, target: TargetId, bucket: Bucket) -> Option<(Bucket, Bucket)> {
        let mut is_new = false;
        let range = self.0.entry((owner, target.0)).or_insert_with(|| {
            is_new = true;
            (bucket, bucket)
        });
        let longer = (range.0.min(bucket), range.1.max(bucket));
        let has_grown = is_new || longer != *range;
        *range = longer;
        has_grown.then_some(longer)
    }

    pub(crate) fn insert(&mut self, owner: u32, target: TargetId, range: (Bucket, Bucket)) {
        self.0.insert((owner, target.0), range);
    }

    /// Returns the targets of `owner` with a use between `first` and `last`, both inclusive, in order.
    pub(crate) fn targets(&self, owner: u32, first: Bucket, last: Bucket) -> impl Iterator<Item = TargetId> {
        self.0
            .range((owner, 0)..=(owner, u32::MAX))
            .filter(move |(_, used)| used.0 <= last && first <= used.1)
            .map(|((_, target), _)| TargetId(*target))
    }

    /// Forgets the pairs not used since `cutoff`, and returns them.
    pub(crate) fn forget_before(&mut self, cutoff: Bucket) -> Vec<(u32, TargetId)> {
        let mut gone = Vec::new();
        self.0.retain(|(owner, target), used| {
            if used.1 < cutoff {
                gone.push((*owner, TargetId(*target)));
            }
            used.1 >= cutoff
        });
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_found_while_it_is_used() {
        let mut uses = Uses::default();
        assert_eq!(uses.note(1, TargetId(5), Bucket(3)), Some((Bucket(3), Bucket(3))));
        assert_eq!(uses.note(1, TargetId(5), Bucket(3)), None);
        assert_eq!(uses.note(1, TargetId(5), Bucket(6)), Some((Bucket(3), Bucket(6))));
        uses.note(2, TargetId(5), Bucket(1));
        let targets = |owner, first, last| uses.targets(owner, Bucket(first), Bucket(last)).count();
        assert_eq!((targets(1, 0, 2), targets(1, 4, 5), targets(1, 7, 9), targets(3, 0, 9)), (0, 1, 0, 0));
        assert_eq!(uses.forget_before(Bucket(6)), [(2, TargetId(5))]);
    }
}
