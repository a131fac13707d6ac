//! A database in memory, on a disk that knows what of it would survive a power loss.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::database::FAMILIES;

type Key = Arc<[u8]>;
type Value = Arc<[u8]>;
type Entries = BTreeMap<Key, Value>;

/// One write to the family of this index.
#[derive(Clone)]
pub(super) enum Write {
    Put(usize, Key, Value),
    Delete(usize, Key),
    DeleteRange(usize, Key, Key),
}

impl Write {
    fn digest(&self, before: u64) -> u64 {
        let (family, key, value): (&usize, &[u8], &[u8]) = match self {
            Write::Put(family, key, value) => (family, key, value),
            Write::Delete(family, key) => (family, key, &[]),
            Write::DeleteRange(family, from, to) => (family, from, to),
        };
        xxh3_64_with_seed(value, xxh3_64_with_seed(key, before ^ *family as u64))
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Write::Put(_, key, value) => key.len() + value.len(),
            Write::Delete(_, key) => key.len(),
            Write::DeleteRange(_, from, to) => from.len() + to.len(),
        }
    }
}

/// The keys that an iterator may stand at: from `lower` on, before `upper`.
#[derive(Clone, Default)]
pub(super) struct Bounds {
    pub(super) lower: Option<Vec<u8>>,
    pub(super) upper: Option<Vec<u8>>,
}

/// The entries of all families; clones share them until one is written to.
#[derive(Clone)]
pub(crate) struct Families(Vec<Arc<Entries>>);

impl Families {
    fn new() -> Families {
        Families(FAMILIES.iter().map(|_| Arc::default()).collect())
    }

    pub(super) fn get(&self, family: usize, key: &[u8]) -> Option<Value> {
        self.0[family].get(key).cloned()
    }

    pub(super) fn iterate(&self, family: usize, bounds: Bounds) -> ModelIterator {
        ModelIterator { entries: Arc::clone(&self.0[family]), bounds, here: None }
    }

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Put(family, key, value) => {
                Arc::make_mut(&mut self.0[*family]).insert(Arc::clone(key), Arc::clone(value));
            }
            Write::Delete(family, key) => {
                Arc::make_mut(&mut self.0[*family]).remove(key);
            }
            Write::DeleteRange(family, from, to) => {
                // A range that ends before it begins has nothing in it, and a map would not be asked for it.
                if from >= to {
                    return;
                }
                let entries = Arc::make_mut(&mut self.0[*family]);
                let range = entries.range::<[u8], _>((Bound::Included(&**from), Bound::Excluded(&**to)));
                let keys: Vec<Key> = range.map(|(key, _)| Arc::clone(key)).collect();
                for key in keys {
                    entries.remove(&key);
                }
            }
        }
    }
}

/// A batch that a power loss may take.
#[derive(Clone)]
struct Unsynced {
    writes: Vec<Write>,
    /// Otherwise the end of the process takes it too.
    is_logged: bool,
}

#[derive(Clone)]
struct State {
    synced: Families,
    /// With all that is in `unsynced`.
    visible: Families,
    /// In the order in which they were written.
    unsynced: Vec<Unsynced>,
    /// Of whoever opened it last: what an earlier one writes goes nowhere, as its process is gone.
    opened: u64,
    /// Whether what is there was brought back from a copy since it was last opened.
    is_restored: bool,
    /// How many more writes and syncs the process that has it open does before the power goes; `None` for any number.
    left: Option<u64>,
    /// Of all that was ever written, in order.
    digest: u64,
}

impl State {
    fn write(&mut self, writes: Vec<Write>, is_logged: bool) {
        for write in &writes {
            self.visible.apply(write);
            self.digest = write.digest(self.digest);
        }
        self.unsynced.push(Unsynced { writes, is_logged });
    }

    /// Makes all that is logged durable; what is not stays behind it.
    fn sync(&mut self) {
        for batch in mem::take(&mut self.unsynced) {
            if batch.is_logged {
                batch.writes.iter().for_each(|write| self.synced.apply(write));
            } else {
                self.unsynced.push(batch);
            }
        }
    }

    fn flush(&mut self) {
        self.synced = self.visible.clone();
        self.unsynced.clear();
    }

    /// Ends the process that has it open, and holds these from now on.
    fn hold(&mut self, families: Families) {
        self.opened += 1;
        self.visible = families.clone();
        self.synced = families;
        self.unsynced.clear();
    }

    /// Reads the log, as whoever opens a database does.
    fn recover(&mut self) {
        self.sync();
        self.unsynced.clear();
        self.visible = self.synced.clone();
    }
}

/// A disk with at most one database, in memory; it outlives the process that has it open, and clones are the same disk.
#[derive(Clone)]
pub struct ModelDisk(Arc<Mutex<State>>);

impl ModelDisk {
    /// Returns an empty disk.
    pub fn new() -> ModelDisk {
        ModelDisk::holding(Families::new())
    }

    fn holding(synced: Families) -> ModelDisk {
        let visible = synced.clone();
        ModelDisk(Arc::new(Mutex::new(State {
            synced,
            visible,
            unsynced: Vec::new(),
            opened: 0,
            is_restored: false,
            left: None,
            digest: 0,
        })))
    }

    /// Returns a number that differs where anything else was ever written, or in another order.
    pub fn digest(&self) -> u64 {
        self.state().digest
    }

    /// Returns how many batches of the log a power loss may take.
    pub fn unsynced_batches(&self) -> usize {
        self.state().unsynced.iter().filter(|batch| batch.is_logged).count()
    }

    /// Lets the power go after so many more writes and syncs: those that follow go nowhere.
    pub fn lose_power_after(&self, writes: u64) {
        self.state().left = Some(writes);
    }

    /// Tells whether the power has gone since the disk was last opened.
    pub fn has_lost_power(&self) -> bool {
        self.state().left == Some(0)
    }

    /// Ends the process that has it open, and loses what was not synced but for the first `kept` batches of the log.
    pub fn lose_power(&self, kept: usize) {
        let mut state = self.state();
        state.opened += 1;
        state.unsynced.retain(|batch| batch.is_logged);
        state.unsynced.truncate(kept);
        state.recover();
    }

    /// Loses everything.
    pub fn wipe(&self) {
        self.state().hold(Families::new());
    }

    /// Returns another disk with what is durable on this one.
    pub fn copy(&self) -> ModelDisk {
        ModelDisk::holding(self.state().synced.clone())
    }

    /// Replaces what is on it by what is durable on `other`, another disk.
    pub fn replace(&self, other: &ModelDisk) {
        let synced = other.state().synced.clone();
        self.state().hold(synced);
    }

    /// Does the same as restoring a copy does, which says so to the next that opens the disk.
    pub fn restore(&self, other: &ModelDisk) {
        self.replace(other);
        self.state().is_restored = true;
    }

    /// Tells whether what is there was brought back from a copy; the next time it is not any more.
    pub(crate) fn take_restored(&self) -> bool {
        std::mem::take(&mut self.state().is_restored)
    }

    pub(crate) fn open(&self) -> ModelDatabase {
        let mut state = self.state();
        state.opened += 1;
        state.left = None;
        state.recover();
        ModelDatabase { disk: self.clone(), opened: state.opened }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ModelDisk {
    fn default() -> ModelDisk {
        ModelDisk::new()
    }
}

impl fmt::Debug for ModelDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ModelDisk")
    }
}

/// The database of a disk, open.
pub(crate) struct ModelDatabase {
    disk: ModelDisk,
    opened: u64,
}

impl ModelDatabase {
    pub(super) fn families(&self) -> Families {
        self.disk.state().visible.clone()
    }

    pub(super) fn get(&self, family: usize, key: &[u8]) -> Option<Value> {
        self.disk.state().visible.get(family, key)
    }

    pub(super) fn write(&self, writes: Vec<Write>) {
        self.change(|state| state.write(writes, true));
    }

    pub(super) fn write_unlogged(&self, writes: Vec<Write>) {
        self.change(|state| state.write(writes, false));
    }

    pub(super) fn sync(&self) {
        self.change(State::sync);
    }

    pub(super) fn flush(&self) {
        self.change(State::flush);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.disk.state();
        if state.opened != self.opened || state.left == Some(0) {
            return;
        }
        change(&mut state);
        state.left = state.left.map(|left| left - 1);
    }
}

/// A place among the entries of a family.
pub(crate) struct ModelIterator {
    entries: Arc<Entries>,
    bounds: Bounds,
    here: Option<(Key, Value)>,
}

impl ModelIterator {
    pub(super) fn item(&self) -> Option<(&[u8], &[u8])> {
        self.here.as_ref().map(|(key, value)| (&**key, &**value))
    }

    pub(super) fn seek_to_first(&mut self) {
        self.go_up(Bound::Unbounded);
    }

    pub(super) fn seek_to_last(&mut self) {
        self.go_down(Bound::Unbounded);
    }

    pub(super) fn seek(&mut self, key: &[u8]) {
        self.go_up(Bound::Included(key));
    }

    pub(super) fn seek_for_prev(&mut self, key: &[u8]) {
        self.go_down(Bound::Included(key));
    }

    pub(super) fn next(&mut self) {
        if let Some((key, _)) = self.here.take() {
            self.go_up(Bound::Excluded(&key));
        }
    }

    pub(super) fn prev(&mut self) {
        if let Some((key, _)) = self.here.take() {
            self.go_down(Bound::Excluded(&key));
        }
    }

    /// Goes to the first entry from `from` on that is within the bounds.
    fn go_up(&mut self, from: Bound<&[u8]>) {
        let from = match (from, self.bounds.lower.as_deref()) {
            (Bound::Included(key) | Bound::Excluded(key), Some(lower)) if key < lower => Bound::Included(lower),
            (Bound::Unbounded, Some(lower)) => Bound::Included(lower),
            (from, _) => from,
        };
        let found = self.entries.range::<[u8], _>((from, Bound::Unbounded)).next();
        let is_inside = |key: &[u8]| self.bounds.upper.as_deref().is_none_or(|upper| key < upper);
        self.here = found.filter(|(key, _)| is_inside(key)).map(|(key, value)| (Arc::clone(key), Arc::clone(value)));
    }

    /// Goes to the last entry up to `to` that is within the bounds.
    fn go_down(&mut self, to: Bound<&[u8]>) {
        let to = match (to, self.bounds.upper.as_deref()) {
            (Bound::Included(key) | Bound::Excluded(key), Some(upper)) if upper <= key => Bound::Excluded(upper),
            (Bound::Unbounded, Some(upper)) => Bound::Excluded(upper),
            (to, _) => to,
        };
        let found = self.entries.range::<[u8], _>((Bound::Unbounded, to)).next_back();
        let is_inside = |key: &[u8]| self.bounds.lower.as_deref().is_none_or(|lower| lower <= key);
        self.here = found.filter(|(key, _)| is_inside(key)).map(|(key, value)| (Arc::clone(key), Arc::clone(value)));
    }
}
