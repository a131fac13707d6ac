//! Row keys and the ids that stand for them: this store's own, and those of children.

mod learned;

use std::collections::HashMap;

use firetower_model::{Labels, RowId};

use crate::database::Store;
use crate::engine::{Engine, WriteBatch};
use crate::error::Error;
use crate::tree::dictionary::learned::Learned;
use crate::tree::{UNPOISONED, scan};

const FAMILY: &str = "row_keys";
const OWN: u8 = b'k';

/// How many row keys a store gives ids to.
pub const ROW_KEYS_MAX: u32 = 4 << 20;
/// How many row keys one child may have: many times what the budget of its jobs allows, and not all that there are.
const ROW_KEYS_OF_CHILD_MAX: u32 = 1 << 20;

/// The row keys of this store, and what its children's ids stand for.
pub(crate) struct Dictionary {
    keys: Vec<Labels>,
    ids: HashMap<Labels, RowId>,
    by_name: HashMap<Box<str>, Vec<RowId>>,
    learned: Learned,
}

impl Dictionary {
    pub(crate) fn load(db: &Engine) -> Result<Dictionary, Error> {
        let learned = Learned::load(db)?;
        let mut own = Dictionary { keys: Vec::new(), ids: HashMap::new(), by_name: HashMap::new(), learned };
        for pair in scan(db, FAMILY, &[OWN]) {
            let (key, value) = pair?;
            let is_next = key[1..] == (own.keys.len() as u32).to_be_bytes();
            let labels = Labels::from_bytes(&value).filter(|_| is_next);
            own.add(labels.ok_or_else(|| Error::corrupt("row key", &key))?);
        }
        Ok(own)
    }

    fn add(&mut self, labels: Labels) {
        let id = RowId(self.keys.len() as u32);
        self.by_name.entry(labels.name().into()).or_default().push(id);
        self.ids.insert(labels.clone(), id);
        self.keys.push(labels);
    }

    /// Returns the ids of the row keys of `name` and `job` (`None` is any), in order.
    pub(crate) fn find(&self, name: Option<&str>, job: Option<&str>) -> Vec<RowId> {
        let is_of_job = |id: &RowId| job.is_none_or(|job| self.keys[id.0 as usize].get("job").unwrap_or("") == job);
        match name {
            Some(name) => self.by_name.get(name).into_iter().flatten().copied().filter(is_of_job).collect(),
            None => (0..self.keys.len() as u32).map(RowId).filter(is_of_job).collect(),
        }
    }

    pub(crate) fn key(&self, id: RowId) -> Option<&Labels> {
        self.keys.get(id.0 as usize)
    }

    /// Returns an id for each of `keys`; new ones are written to `db` at once, and to memory only after that.
    fn intern(&mut self, db: &Engine, keys: &[Labels]) -> Result<Vec<RowId>, Error> {
        let mut fresh: Vec<&Labels> = Vec::new();
        let mut fresh_ids: HashMap<&Labels, RowId> = HashMap::new();
        let mut batch = WriteBatch::default();
        let known = self.keys.len();
        let mut ids = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(id) = self.ids.get(key).or_else(|| fresh_ids.get(key)) {
                ids.push(*id);
                continue;
            }
            let id = RowId((known + fresh.len()) as u32);
            if id.0 >= ROW_KEYS_MAX {
                return Err(Error::Full { what: "row keys", max: ROW_KEYS_MAX });
            }
            batch.put_cf(db.family(FAMILY), own_key(id), key.as_bytes());
            fresh.push(key);
            fresh_ids.insert(key, id);
            ids.push(id);
        }
        if !fresh.is_empty() {
            db.write(batch).map_err(Error::at("write row keys"))?;
            for key in fresh {
                self.add(key.clone());
            }
        }
        Ok(ids)
    }
}

impl Store {
    /// Returns the id of a row key: `__name__`, `job` and kept labels, without datacenter. A new one is written at once.
    ///
    /// # Errors
    /// If it cannot be written, or there are [`ROW_KEYS_MAX`] already.
    pub fn intern_row_key(&self, key: &Labels) -> Result<RowId, Error> {
        if let Some(id) = self.dictionary().ids.get(key) {
            return Ok(*id);
        }
        Ok(self.intern_row_keys(std::slice::from_ref(key))?[0])
    }

    /// Returns the ids of row keys, in their order. New ones are written at once and together.
    ///
    /// # Errors
    /// As [`Store::intern_row_key`]; then none of them is new.
    pub fn intern_row_keys(&self, keys: &[Labels]) -> Result<Vec<RowId>, Error> {
        self.tree.dictionary.write().expect(UNPOISONED).intern(&self.db, keys)
    }

    /// Returns the row key that `id` stands for.
    pub fn row_key(&self, id: RowId) -> Option<Labels> {
        self.dictionary().key(id).cloned()
    }

    /// Returns at most `count_max` row keys from `first` on, in order of their ids: the tail that a parent lacks.
    pub fn row_keys_from(&self, first: RowId, count_max: usize) -> Vec<Labels> {
        self.dictionary().keys.iter().skip(first.0 as usize).take(count_max).cloned().collect()
    }

    /// Returns how many row keys have ids.
    pub fn row_key_count(&self) -> u32 {
        self.dictionary().keys.len() as u32
    }

    pub(crate) fn dictionary(&self) -> std::sync::RwLockReadGuard<'_, Dictionary> {
        self.tree.dictionary.read().expect(UNPOISONED)
    }
}

fn own_key(id: RowId) -> [u8; 5] {
    let mut key = [OWN; 5];
    key[1..].copy_from_slice(&id.0.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use firetower_model::labels::NAME;

    use super::*;
    use crate::tree::tests::TestStore;

    #[test]
    fn ids_count_from_zero_and_survive() {
        let key = |name: &str, job: &str| Labels::new([(NAME, name), ("job", job)]);
        let test = TestStore::new();
        let (a, b, c) = (key("up", "a"), key("up", "b"), key("c", "a"));
        assert_eq!(test.store.intern_row_key(&a).unwrap(), RowId(0));
        let ids = test.store.intern_row_keys(&[b.clone(), a.clone(), b.clone(), c.clone()]).unwrap();
        assert_eq!(ids, [1, 0, 1, 2].map(RowId));
        let test = test.reopen();
        assert_eq!((test.store.row_key_count(), test.store.intern_row_key(&c).unwrap()), (3, RowId(2)));
        assert_eq!(test.store.row_keys_from(RowId(1), 9), [b.clone(), c]);
        assert_eq!((test.store.row_key(RowId(1)), test.store.row_key(RowId(3))), (Some(b), None));
        let find = |name, job| test.store.dictionary().find(name, job);
        assert_eq!(find(Some("up"), None), [0, 1].map(RowId));
        assert_eq!(find(None, Some("a")), [0, 2].map(RowId));
        assert_eq!((find(Some("up"), Some("b")), find(Some("x"), None)), (vec![RowId(1)], vec![]));
    }
}
