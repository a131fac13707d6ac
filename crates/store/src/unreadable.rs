//! Reading around what is damaged: one unreadable block costs only what it holds.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rocksdb::{DBAccess, DBRawIteratorWithThreadMode, ErrorKind};

use crate::check::file_of;
use crate::database::Store;
use crate::engine::{Family, ReadOptions};
use crate::error::Error;

/// Bits of the start of a key that places between two keys are told by.
const BITS: u32 = u128::BITS;
/// How many damaged places are told apart.
const PLACES_MAX: usize = 1_024;
/// What is said of each.
const DAMAGED: &str = "part of a file of the store is damaged: what it holds is left out of answers; `firetower store \
                       check` says what it was, `firetower store restore` brings a backup back";

/// What could not be read since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    passed: AtomicU64,
    /// What RocksDB said of each damaged place.
    said: Mutex<BTreeSet<String>>,
}

impl Holes {
    /// Returns how often something could not be read; one place may be read often.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Returns how many damaged places are known.
    pub(crate) fn places(&self) -> u64 {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// Counts what could not be read; what was not known to be damaged is said once.
    pub(crate) fn note(&self, error: &rocksdb::Error) {
        self.passed.fetch_add(1, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < PLACES_MAX && said.insert(error.as_ref().to_owned()) {
            let (file, error) = (file_of(error.as_ref()), error.as_ref());
            tracing::error!(file, error, "{DAMAGED}");
        }
    }
}

impl Store {
    /// How to read around what is damaged.
    pub(crate) fn reading(&self) -> ReadOptions<'_> {
        let mut options = ReadOptions::default();
        options.read_around(&self.raw.counters.unreadable);
        options
    }

    /// The same for what is not soon read again: it takes no room from what is.
    pub(crate) fn reading_once(&self) -> ReadOptions<'_> {
        let mut options = self.reading();
        options.skip_cache();
        options
    }

    /// Returns the value under `key`; what cannot be read is noted, and [`Value::Unreadable`].
    pub(crate) fn read_value(
        &self,
        family: Family<'_>,
        key: impl AsRef<[u8]>,
        step: &'static str,
    ) -> Result<Value, Error> {
        self.noted(self.db.get_cf(family, key), step)
    }

    /// Notes what could not be read.
    pub(crate) fn noted(
        &self,
        found: Result<Option<Vec<u8>>, rocksdb::Error>,
        step: &'static str,
    ) -> Result<Value, Error> {
        match found {
            Ok(found) => Ok(found.map_or(Value::Missing, Value::Found)),
            Err(error) if error.kind() == ErrorKind::Corruption => {
                self.raw.counters.unreadable.note(&error);
                Ok(Value::Unreadable)
            }
            Err(source) => Err(Error::Rocks { step, source }),
        }
    }
}

/// What is under a key.
pub(crate) enum Value {
    Found(Vec<u8>),
    Missing,
    /// It lies in a damaged block.
    Unreadable,
}

impl Value {
    /// Returns it if it is there and can be read.
    pub(crate) fn found(self) -> Option<Vec<u8>> {
        match self {
            Value::Found(value) => Some(value),
            Value::Missing | Value::Unreadable => None,
        }
    }
}

/// Takes `entries`, which failed at a key at or after `from`, to the first after the damage; past the end if there is none.
///
/// Returns that place, or `None` if nothing can be read, as when the index of a file is damaged. RocksDB does not say where
/// a damaged block ends, so this is found by trying: in steps that double, then by halves.
pub(crate) fn skip_forward<D: DBAccess>(entries: &mut DBRawIteratorWithThreadMode<'_, D>, from: u128) -> Option<u128> {
    let is_sound = |entries: &mut DBRawIteratorWithThreadMode<'_, D>, at: u128| {
        entries.seek(at.to_be_bytes());
        entries.status().is_ok()
    };
    if !is_sound(entries, u128::MAX) {
        return None;
    }
    let step = (0..BITS).find(|bit| is_sound(entries, from.saturating_add(1 << bit)))?;
    let (mut damaged, mut sound) = (from.saturating_add((1 << step) >> 1), from.saturating_add(1 << step));
    while sound - damaged > 1 {
        let middle = damaged + (sound - damaged) / 2;
        if is_sound(entries, middle) { sound = middle } else { damaged = middle }
    }
    entries.seek(sound.to_be_bytes());
    Some(sound)
}

/// Takes `entries`, which failed at a key at or before `from`, to the last before the damage; before the start if there
/// is none. Returns that place, or `None` if the damage is at the start.
pub(crate) fn skip_backward<D: DBAccess>(entries: &mut DBRawIteratorWithThreadMode<'_, D>, from: u128) -> Option<u128> {
    let is_sound = |entries: &mut DBRawIteratorWithThreadMode<'_, D>, at: u128| {
        entries.seek_for_prev(at.to_be_bytes());
        entries.status().is_ok()
    };
    let step = (0..BITS).find(|bit| is_sound(entries, from.saturating_sub(1 << bit)))?;
    let (mut damaged, mut sound) = (from.saturating_sub((1 << step) >> 1), from.saturating_sub(1 << step));
    while damaged - sound > 1 {
        let middle = sound + (damaged - sound) / 2;
        if is_sound(entries, middle) { sound = middle } else { damaged = middle }
    }
    entries.seek_for_prev(sound.to_be_bytes());
    Some(sound)
}

/// Returns the start of `key` as a number: in the order of keys, but for those that are alike for 16 bytes.
pub(crate) fn place(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let length = key.len().min(bytes.len());
    bytes[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(bytes)
}
