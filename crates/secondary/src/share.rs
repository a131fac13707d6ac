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

    /// Adds a newer share of other targets than the newest has; the first one also stands for all time before it.
    ///
    /// Returns from when on windows follow other targets than before, if any do.
    pub(crate) fn push(&mut self, share: Share) -> Option<Timestamp> {
        let from = (!self.is_unset()).then_some(share.assignment.effective_from);
        if from.is_none() || self.0.len() == SHARES_MAX {
            self.0.remove(0);
        }
        self.0.push(Arc::new(share));
        from
    }

    /// Hears what a primary calls a share that is followed, perhaps under its twin's number: of what is said of one list the
    /// earlier time holds, so that all who hear of both end with the same. The same targets from another list change nothing.
    ///
    /// Returns the share if that changes from when on it holds.
    pub(crate) fn hear_twin(&mut self, twin: &Assignment) -> Option<&Assignment> {
        let is_twin = |pair: &[Arc<Share>]| {
            let (before, share) = (&pair[0].assignment, &pair[1].assignment);
            let is_alike = share.list == twin.list && share.fingerprint == twin.fingerprint && twin.list != 0;
            is_alike && before.generation < twin.generation && twin.effective_from < share.effective_from
        };
        let at = 1 + self.0.windows(2).position(is_twin)?;
        let share = &self.0[at];
        let assignment = Assignment { effective_from: twin.effective_from, ..share.assignment.clone() };
        self.0[at] = Arc::new(Share::new(assignment, share.ids.clone()));
        Some(&self.0[at].assignment)
    }

    /// Returns the newest share.
    pub(crate) fn newest(&self) -> &Arc<Share> {
        &self.0[self.0.len() - 1]
    }

    /// Tells whether the newest share is of the same targets.
    pub(crate) fn is_alike(&self, assignment: &Assignment) -> bool {
        !self.is_unset() && self.newest().assignment.fingerprint == assignment.fingerprint
    }

    /// Returns the generation of the oldest share that is remembered, once there are as many as there may be.
    pub(crate) fn oldest(&self) -> Option<Generation> {
        (self.0.len() == SHARES_MAX).then(|| self.0[0].assignment.generation)
    }

    /// Tells whether no share has been taken yet.
    pub(crate) fn is_unset(&self) -> bool {
        self.0[0].assignment.generation == Generation(0)
    }

    /// Returns the share that holds in `window`.
    pub(crate) fn of(&self, window: Window) -> &Arc<Share> {
        &self.0[self.place_in(window)]
    }

    /// Returns since when a target that is this secondary's in `window` has been that without a break: what was scraped before
    /// is no predecessor of what comes after, for another has counted the steps between.
    pub(crate) fn since(&self, window: Window, target: TargetId) -> Timestamp {
        let mut since = None;
        for share in self.0[..=self.place_in(window)].iter().rev() {
            let from = share.assignment.effective_from;
            // One that another has taken the place of before it began never held.
            if since.is_some_and(|since| since <= from) {
                continue;
            }
            if share.place_of(target).is_none() {
                return since.unwrap_or(Timestamp::MIN);
            }
            since = Some(from);
        }
        Timestamp::MIN
    }

    fn place_in(&self, window: Window) -> usize {
        let holds = |share: &Arc<Share>| share.assignment.effective_from <= window.start();
        self.0.iter().rposition(holds).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use firetower_model::Labels;
    use std::time::Duration;

    const WINDOW: Duration = Duration::from_secs(10);

    fn share(generation: u64, list: u64, from_s: i64, instances: &[&str]) -> Share {
        let target = |instance: &&str| Target {
            job_name: "a".into(),
            labels: Labels::new([("instance", *instance)]),
            url: format!("http://{instance}/metrics"),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        let targets = instances.iter().map(target).collect();
        let from = Timestamp::from_millis(from_s * 1_000);
        let assignment = Assignment::new(Generation(generation), from, targets);
        // The ids are the letters' places.
        let ids = instances.iter().map(|instance| TargetId(u32::from(instance.as_bytes()[0] - b'a')));
        Share::new(Assignment { list, ..assignment }, ids.collect())
    }

    fn count_in(shares: &Shares, window: i64) -> usize {
        let window = Window::containing(Timestamp::from_millis(window * 10_000), WINDOW);
        shares.of(window).assignment.targets.len()
    }

    #[test]
    fn each_window_has_the_share_that_held_in_it() {
        let mut shares = Shares::new();
        // Which share comes, from when on that changes windows, and how many targets those from 0 s, 10 s, ... have then.
        let steps: [(Share, Option<i64>, [usize; 5]); 6] = [
            (share(1, 7, 20, &["a", "b"]), None, [2, 2, 2, 2, 2]),
            (share(2, 8, 40, &["a"]), Some(40), [2, 2, 2, 2, 1]),
            (share(4, 8, 30, &["a"]), Some(30), [2, 2, 2, 1, 1]),
            // Only the shares of others are new in this list.
            (share(5, 9, 40, &["a"]), None, [2, 2, 2, 1, 1]),
            (share(6, 0, 10, &["a"]), None, [2, 2, 2, 1, 1]),
            (share(8, 7, 40, &["a", "b"]), Some(40), [2, 2, 2, 1, 2]),
        ];
        for (at, (share, changed_from, counts)) in steps.into_iter().enumerate() {
            let changed = match shares.is_alike(&share.assignment) {
                true => shares.hear_twin(&share.assignment).map(|share| share.effective_from),
                false => shares.push(share),
            };
            let changed = changed.map(|from| from.as_millis() / 1_000);
            assert_eq!(changed, changed_from, "step {at}");
            assert_eq!([0, 1, 2, 3, 4].map(|window| count_in(&shares, window)), counts, "step {at}");
        }
        // Since when a and b have been its own in each window.
        let since = |target| {
            let at = |window: i64| Window::containing(Timestamp::from_millis(window * 10_000), WINDOW);
            [0, 1, 2, 3, 4].map(|window| match shares.since(at(window), TargetId(target)) {
                Timestamp::MIN => -1,
                since => since.as_millis() / 1_000,
            })
        };
        assert_eq!((since(0), since(1)[4]), ([-1; 5], 40));
        // A share that another replaces before it begins breaks nothing.
        let mut replaced = Shares::new();
        for share in [share(1, 7, 10, &["a"]), share(2, 8, 30, &[]), share(2, 9, 30, &["a"])] {
            replaced.push(share);
        }
        let window = Window::containing(Timestamp::from_millis(40_000), WINDOW);
        assert_eq!(replaced.since(window, TargetId(0)), Timestamp::MIN);
        // What the other primary calls them: the first share, twice; the second one; and one of no list.
        let twins = [
            (share(1, 7, 10, &["a", "b"]), [2, 2, 2, 1, 2]),
            (share(7, 7, 30, &["a", "b"]), [2, 2, 2, 2, 2]),
            (share(3, 8, 20, &["a"]), [2, 2, 1, 2, 2]),
            (share(3, 0, 10, &["a"]), [2, 2, 1, 2, 2]),
            (share(3, 8, 25, &["a"]), [2, 2, 1, 2, 2]),
        ];
        for (at, (twin, counts)) in twins.into_iter().enumerate() {
            let before = [0, 1, 2, 3, 4].map(|window| count_in(&shares, window));
            assert_eq!(shares.hear_twin(&twin.assignment).is_some(), before != counts, "twin {at}");
            assert_eq!([0, 1, 2, 3, 4].map(|window| count_in(&shares, window)), counts, "twin {at}");
        }
    }
}
