//! This secondary's share of the targets, as its windows see it.

use std::collections::HashMap;
use std::sync::Arc;

use firetower_model::{Assignment, Generation, Target, TargetId, Timestamp, Window};

/// An assignment, with the store's ids of its targets.
pub(crate) struct Share {
    pub(crate) assignment: Assignment,
    ids: Vec<TargetId>,
    places: HashMap<TargetId, usize>,
}

impl Share {
    /// Pairs an assignment with the store's ids of its targets, in its order.
    pub(crate) fn new(assignment: Assignment, ids: Vec<TargetId>) -> Share {
        let places = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
        Share { assignment, ids, places }
    }

    /// Returns the targets in their order, with the store's ids.
    pub(crate) fn targets(&self) -> impl Iterator<Item = (TargetId, &Target)> {
        self.ids.iter().copied().zip(&self.assignment.targets)
    }

    /// Returns where a target stands in the assignment.
    pub(crate) fn place_of(&self, target: TargetId) -> Option<usize> {
        self.places.get(&target).copied()
    }
}

/// The shares that windows still open, or still to be corrected, follow.
pub(crate) struct Shares(Vec<Arc<Share>>);

/// How many shares are remembered.
const SHARES_MAX: usize = 8;

impl Shares {
    /// Starts without any: no target is anybody's.
    pub(crate) fn new() -> Shares {
        let none = Assignment::new(Generation(0), Timestamp::MIN, Vec::new());
        Shares(vec![Arc::new(Share::new(none, Vec::new()))])
    }

    /// Adds a newer share; the first one also stands for all time before it. The same targets under a higher number, as each
    /// primary of a pair gives them, hold already.
    pub(crate) fn push(&mut self, share: Share) {
        let newest = self.0.last().map(|newest| newest.assignment.fingerprint);
        if !self.is_unset() && newest == Some(share.assignment.fingerprint) {
            return;
        }
        if self.is_unset() || self.0.len() == SHARES_MAX {
            self.0.remove(0);
        }
        self.0.push(Arc::new(share));
    }

    /// Tells whether no share has been taken yet.
    pub(crate) fn is_unset(&self) -> bool {
        self.0[0].assignment.generation == Generation(0)
    }

    /// Returns the share that holds in `window`.
    pub(crate) fn of(&self, window: Window) -> &Arc<Share> {
        let holds = |share: &&Arc<Share>| share.assignment.effective_from <= window.start();
        self.0.iter().rev().find(holds).unwrap_or(&self.0[0])
    }
}
