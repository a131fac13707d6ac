//! Which targets each secondary has, now and in the windows that are still of interest.

use std::collections::BTreeMap;
use std::time::Duration;

use firetower_model::assignment::{SlotIndex, fingerprint, list_fingerprint};
use firetower_model::{Assignment, Generation, Target, Timestamp, Window};
use firetower_store::{Batch, Store};
use firetower_topology::assign;

use crate::Error;
use crate::discovery::Listed;

/// Assignments remembered for windows that are still open.
const GENERATIONS_MAX: usize = 8;

/// Has the incarnation of the data directory that made the newest assignment.
const MADE_BY_NOTE: &str = "assigned_by";

/// The assignments of one datacenter, newest last.
pub(crate) struct Shares {
    window: Duration,
    /// Whether the newest one is of this life of the data directory; there may have been newer ones in the life before.
    is_own: bool,
    secondaries: Vec<String>,
    generations: Vec<BTreeMap<String, Assignment>>,
}

impl Shares {
    /// Starts with what was persisted, if anything was.
    pub(crate) fn load(store: &Store, secondaries: Vec<String>, window: Duration) -> Result<Shares, Error> {
        let mut generations = Vec::new();
        for (generation, bytes) in store.assignments()? {
            let whole = firetower_wire::decode_assignment(&bytes)?;
            let noted = store.note(&secondaries_note(generation))?.and_then(|bytes| String::from_utf8(bytes).ok());
            let among = noted.map_or_else(|| secondaries.clone(), |names| names.lines().map(str::to_owned).collect());
            generations.push(split(&whole, &among));
        }
        let made_by = store.note(MADE_BY_NOTE)?;
        let is_own = made_by.is_some_and(|bytes| bytes == store.incarnation().to_bytes());
        Ok(Shares { window, is_own, secondaries, generations })
    }

    /// Returns the targets found, and those that jobs of which nothing is known had last: a source that is away when this
    /// process starts takes no target away.
    pub(crate) fn with_unknown(&self, listed: Listed) -> Vec<Target> {
        let Listed { mut targets, unknown } = listed;
        let had = self.generations.last().into_iter().flat_map(BTreeMap::values).flat_map(|share| &share.targets);
        let kept: Vec<Target> = had.filter(|target| unknown.contains(&target.job_name)).cloned().collect();
        if !kept.is_empty() {
            tracing::warn!(jobs = ?unknown, targets = kept.len(), "sources not heard yet: their jobs keep the targets they had");
            targets.extend(kept);
        }
        targets
    }

    /// Takes the list of targets as it is at `now`; returns whether that makes a new generation, which is then in `batch`.
    ///
    /// It holds from the next window on. Its number is that time or one more than the last number, so that no lost directory
    /// can wind it back: secondaries follow the highest that they have heard. A new life of the directory begins with a new
    /// one, for they may follow one that it has forgotten.
    ///
    /// # Errors
    /// If there are more targets than the wire takes.
    pub(crate) fn update(
        &mut self,
        store: &Store,
        targets: Vec<Target>,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<bool, firetower_relay::Error> {
        let from = Window::containing(now, self.window).end();
        let next = Generation((self.generation().0 + 1).max(u64::try_from(from.as_millis()).unwrap_or(0)));
        let whole = Assignment::new(next, from, targets);
        let split = split(&whole, &self.secondaries);
        if self.is_own && self.generations.last().is_some_and(|newest| is_alike(newest, &split)) {
            return Ok(false);
        }
        store.put_assignment(batch, next, &firetower_wire::encode_assignment(&whole)?);
        store.put_note(batch, &secondaries_note(next), self.secondaries.join("\n").as_bytes());
        store.put_note(batch, MADE_BY_NOTE, &store.incarnation().to_bytes());
        self.is_own = true;
        self.generations.push(split);
        if self.generations.len() > GENERATIONS_MAX {
            let oldest = generation_of(&self.generations.remove(0));
            store.forget_assignment(batch, oldest);
            store.forget_note(batch, &secondaries_note(oldest));
        }
        Ok(true)
    }

    /// Returns the newest generation; 0 before the first.
    pub(crate) fn generation(&self) -> Generation {
        self.generations.last().map_or(Generation(0), generation_of)
    }

    /// Returns a secondary's newest share.
    pub(crate) fn of(&self, secondary: &str) -> Option<&Assignment> {
        self.generations.last()?.get(secondary)
    }

    /// Returns what a secondary is to scrape, the newest last, and before it what it was to scrape: it may have been away, or
    /// gone back to an earlier state, and corrects its windows then.
    pub(crate) fn history(&self, secondary: &str) -> Vec<Assignment> {
        let generations = self.generations.iter().filter_map(|shares| {
            let any = shares.values().next()?;
            let none =
                || Assignment { list: any.list, ..Assignment::new(any.generation, any.effective_from, Vec::new()) };
            Some(shares.get(secondary).cloned().unwrap_or_else(none))
        });
        generations.collect()
    }

    /// Returns the secondaries.
    pub(crate) fn secondaries(&self) -> &[String] {
        &self.secondaries
    }

    /// Takes the secondaries as they are now, to be given shares by the next [`Shares::update`]; returns those that are none
    /// any more.
    pub(crate) fn regroup(&mut self, secondaries: Vec<String>) -> Vec<String> {
        let before = std::mem::replace(&mut self.secondaries, secondaries);
        before.into_iter().filter(|name| !self.secondaries.contains(name)).collect()
    }

    /// Returns the targets of all newest shares.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let newest = self.generations.last().into_iter().flat_map(BTreeMap::values);
        newest.flat_map(|share| share.targets.iter().cloned()).collect()
    }

    /// Returns how many slots all secondaries together have in `window`.
    pub(crate) fn expected(&self, window: Window) -> u64 {
        let holds = |shares: &&BTreeMap<String, Assignment>| {
            shares.values().next().is_some_and(|share| share.effective_from <= window.start())
        };
        let shares = self.generations.iter().rev().find(holds);
        shares.into_iter().flatten().map(|(_, share)| u64::from(SlotIndex::new(share, window).count())).sum()
    }
}

fn secondaries_note(generation: Generation) -> String {
    format!("secondaries/{generation}")
}

fn generation_of(shares: &BTreeMap<String, Assignment>) -> Generation {
    shares.values().next().map_or(Generation(0), |share| share.generation)
}

/// Shares an assignment of all targets out among secondaries.
fn split(whole: &Assignment, secondaries: &[String]) -> BTreeMap<String, Assignment> {
    let names: Vec<&str> = secondaries.iter().map(String::as_str).collect();
    let list = list_fingerprint(&whole.targets, &names);
    let mut split: BTreeMap<String, Vec<Target>> = names.iter().map(|name| (name.to_string(), Vec::new())).collect();
    for (target, owner) in whole.targets.iter().zip(assign(&whole.targets, &names)) {
        split.entry(names[owner].to_owned()).or_default().push(target.clone());
    }
    let share = |(name, targets)| {
        let share = Assignment::new(whole.generation, whole.effective_from, targets);
        (name, Assignment { list, ..share })
    };
    split.into_iter().map(share).collect()
}

fn is_alike(a: &BTreeMap<String, Assignment>, b: &BTreeMap<String, Assignment>) -> bool {
    let prints = |shares: &BTreeMap<String, Assignment>| -> Vec<(String, u64)> {
        shares.iter().map(|(name, share)| (name.clone(), fingerprint(&share.targets))).collect()
    };
    prints(a) == prints(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use firetower_model::Labels;
    use firetower_store::Options;

    const WINDOW: Duration = Duration::from_secs(2);

    fn target(job: &str, instance: &str) -> Target {
        Target {
            job_name: job.into(),
            labels: Labels::new([("job", job), ("instance", instance)]),
            url: format!("http://{instance}/metrics"),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_job_that_nothing_is_known_of_keeps_its_targets_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(0);
        let store = Store::open(folder.path(), &Options::new(now, 1)).unwrap();
        let load = || Shares::load(&store, vec!["s0".into(), "s1".into()], WINDOW).unwrap();
        let list = |targets: &[Target], unknown: &[&str]| Listed {
            targets: targets.to_vec(),
            unknown: unknown.iter().map(|job| (*job).to_owned()).collect(),
        };
        let [a, b, gone, c] = [("a", "a:1"), ("b", "b:1"), ("a", "a:2"), ("c", "c:1")].map(|(job, at)| target(job, at));
        let mut before = load();
        let targets = before.with_unknown(list(&[a.clone(), b.clone(), gone], &[]));
        let mut batch = Batch::default();
        assert!(before.update(&store, targets, now, &mut batch).unwrap());
        store.commit(batch).unwrap();
        let mut after = load();
        let targets = after.with_unknown(list(&[a.clone(), c.clone()], &["b", "c"]));
        assert_eq!(targets, [a.clone(), c.clone(), b.clone()]);
        assert!(after.update(&store, targets, now, &mut Batch::default()).unwrap());
        let heard = after.with_unknown(list(&[a.clone(), c.clone()], &[]));
        assert_eq!(heard, [a, c], "once a source was heard, what it does not list is gone");
    }

    #[test]
    fn secondaries_that_come_and_go_take_and_leave_their_shares() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(0);
        let store = Store::open(folder.path(), &Options::new(now, 1)).unwrap();
        let mut shares = Shares::load(&store, vec!["s0".into(), "s1".into()], WINDOW).unwrap();
        let targets: Vec<Target> = (0..40).map(|at| target("a", &format!("h{at}:1"))).collect();
        assert!(shares.update(&store, targets.clone(), now, &mut Batch::default()).unwrap());
        assert_eq!(shares.regroup(vec!["s1".into(), "s2".into()]), ["s0"]);
        let mut all = shares.targets();
        all.sort();
        let mut sorted = targets;
        sorted.sort();
        assert_eq!(all, sorted);
        assert!(shares.update(&store, all, now, &mut Batch::default()).unwrap());
        let counts = ["s0", "s1", "s2"].map(|name| shares.of(name).map_or(0, |share| share.targets.len()));
        assert_eq!((counts[0], counts[1] + counts[2]), (0, 40));
        assert!(counts[2] > 10, "{counts:?}");
    }

    #[test]
    fn numbers_rise_also_over_a_lost_directory() {
        let targets: Vec<Target> = (0..4).map(|at| target("a", &format!("h{at}:1"))).collect();
        let mut last = Generation(0);
        for (life, at_ms) in [(0, 10_000), (1, 20_000), (2, 22_000)] {
            let folder = tempfile::tempdir().unwrap();
            let now = Timestamp::from_millis(at_ms);
            let store = Store::open(folder.path(), &Options::new(now, life)).unwrap();
            let mut shares = Shares::load(&store, vec!["s0".into()], WINDOW).unwrap();
            for count in 1..4 {
                assert!(shares.update(&store, targets[..count].to_vec(), now, &mut Batch::default()).unwrap());
                assert!(shares.generation() > last, "life {life}, {count} targets");
                last = shares.generation();
            }
        }
    }

    #[test]
    fn a_new_life_begins_with_a_new_assignment_of_the_same_list() {
        let folder = tempfile::tempdir().unwrap();
        let mut generations = Vec::new();
        // Opened once, again, and again as a directory that has gone back.
        for (life, is_new) in [(1, true), (2, false), (3, true), (4, false)] {
            let now = Timestamp::from_millis(10_000 * life as i64);
            let store = Store::open(folder.path(), &Options::new(now, life)).unwrap();
            let mut shares = Shares::load(&store, vec!["s0".into()], WINDOW).unwrap();
            let mut batch = Batch::default();
            assert_eq!(
                shares.update(&store, vec![target("a", "a:1")], now, &mut batch).unwrap(),
                is_new,
                "life {life}"
            );
            assert!(!shares.update(&store, vec![target("a", "a:1")], now, &mut Batch::default()).unwrap());
            store.commit(batch).unwrap();
            generations.push(shares.generation().0);
            if life == 2 {
                drop(store.note_went_back());
            }
        }
        assert_eq!(generations, [12_000, 12_000, 32_000, 32_000]);
    }

    #[test]
    fn who_was_away_hears_what_it_missed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &Options::new(Timestamp::from_millis(0), 1)).unwrap();
        let both = || vec!["s0".to_owned(), "s1".to_owned()];
        let mut shares = Shares::load(&store, both(), WINDOW).unwrap();
        let targets: Vec<Target> = (0..20).map(|at| target("a", &format!("h{at}:1"))).collect();
        let update = |shares: &mut Shares, secondaries, at_s: i64| {
            shares.regroup(secondaries);
            let mut batch = Batch::default();
            let now = Timestamp::from_millis(at_s * 1_000);
            assert!(shares.update(&store, targets.clone(), now, &mut batch).unwrap());
            store.commit(batch).unwrap();
        };
        update(&mut shares, both(), 9);
        let first = shares.of("s0").cloned().unwrap();
        update(&mut shares, vec!["s1".into()], 19);
        update(&mut shares, both(), 29);
        let shares = Shares::load(&store, both(), WINDOW).unwrap();
        let history = shares.history("s0");
        let said: Vec<(u64, usize)> = history.iter().map(|share| (share.generation.0, share.targets.len())).collect();
        let count = first.targets.len();
        assert_eq!(said, [(10_000, count), (20_000, 0), (30_000, count)]);
    }
}
