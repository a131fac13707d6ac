//! What the row ids of children stand for.

use std::collections::HashMap;

use firetower_model::{Incarnation, Labels, RowId};

use crate::database::{Batch, Store};
use crate::engine::Engine;
use crate::error::Error;
use crate::tree::codec::{Reader, put_text, put_varint};
use crate::tree::dictionary::ROW_KEYS_OF_CHILD_MAX;
use crate::tree::{UNPOISONED, scan};

const FAMILY: &str = "row_keys";
const CHILD: u8 = b'm';

/// By child: its incarnation, and for each of its ids the one here.
pub(super) struct Learned {
    children: HashMap<String, (Incarnation, Vec<RowId>)>,
}

impl Learned {
    pub(super) fn load(db: &Engine) -> Result<Learned, Error> {
        let mut learned = Learned { children: HashMap::new() };
        for pair in scan(db, FAMILY, &[CHILD]) {
            let (key, value) = pair?;
            learned.add(&key, &value).ok_or_else(|| Error::corrupt("row ids of a child", &key))?;
        }
        Ok(learned)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let mut reader = Reader::new(&key[1..]);
        let (child, incarnation) = (reader.text()?, Incarnation::from_bytes(reader.array()?));
        let first = u32::from_be_bytes(reader.array()?) as usize;
        let mut reader = Reader::new(value);
        let count = reader.count()?;
        let ids: Option<Vec<RowId>> = (0..count).map(|_| reader.varint_u32().map(RowId)).collect();
        let (newest, known) = self.children.entry(child.to_owned()).or_insert((incarnation, Vec::new()));
        if *newest < incarnation {
            (*newest, *known) = (incarnation, Vec::new());
        }
        if first != known.len() {
            return None;
        }
        known.extend(ids?);
        Some(())
    }
}

impl Store {
    /// Learns what a child's ids from `first` on stand for; returns how many of its ids are known then.
    ///
    /// Keys already known are passed over; after a gap, or of an incarnation older than the one known, nothing is
    /// learned. A newer incarnation takes the place of the one before.
    ///
    /// # Errors
    /// As [`Store::intern_row_key`], or if the child has too many.
    pub fn learn_row_keys(
        &self,
        batch: &mut Batch,
        child: &str,
        incarnation: Incarnation,
        first: RowId,
        keys: &[Labels],
    ) -> Result<u32, Error> {
        let mut dictionary = self.tree.dictionary.write().expect(UNPOISONED);
        let known = match dictionary.learned.children.get(child) {
            Some((newest, _)) if incarnation < *newest => return Ok(0),
            Some((newest, ids)) if incarnation == *newest => ids.len(),
            Some((newest, _)) => {
                self.forget_ids(batch, child, *newest)?;
                0
            }
            None => 0,
        };
        let Some(skipped) = known.checked_sub(first.0 as usize).filter(|skipped| *skipped < keys.len()) else {
            return Ok(known as u32);
        };
        if known + keys.len() - skipped > ROW_KEYS_OF_CHILD_MAX as usize {
            return Err(Error::Full { what: "row keys of a child", max: ROW_KEYS_OF_CHILD_MAX });
        }
        let ids = dictionary.intern(&self.db, &keys[skipped..])?;
        let mut value = Vec::with_capacity(8 + 3 * ids.len());
        put_varint(&mut value, ids.len() as u64);
        ids.iter().for_each(|id| put_varint(&mut value, u64::from(id.0)));
        let mut key = child_prefix(child, incarnation);
        key.extend_from_slice(&(known as u32).to_be_bytes());
        batch.0.put_cf(self.family(FAMILY), key, value);
        let entry = dictionary.learned.children.entry(child.to_owned()).or_insert((incarnation, Vec::new()));
        if entry.0 != incarnation {
            *entry = (incarnation, Vec::new());
        }
        entry.1.extend(ids);
        Ok(entry.1.len() as u32)
    }

    fn forget_ids(&self, batch: &mut Batch, child: &str, incarnation: Incarnation) -> Result<(), Error> {
        for pair in scan(&self.db, FAMILY, &child_prefix(child, incarnation)) {
            batch.0.delete_cf(self.family(FAMILY), pair?.0);
        }
        Ok(())
    }

    /// Returns how many ids of a child's incarnation are known: all under it.
    pub fn known_row_keys(&self, child: &str, incarnation: Incarnation) -> u32 {
        let dictionary = self.dictionary();
        let learned = dictionary.learned.children.get(child).filter(|(newest, _)| *newest == incarnation);
        learned.map_or(0, |(_, ids)| ids.len() as u32)
    }

    /// Returns this store's id for a child's.
    pub fn translate_row_id(&self, child: &str, incarnation: Incarnation, id: RowId) -> Option<RowId> {
        self.translate_row_ids(child, incarnation, std::iter::once(id))?.pop()
    }

    /// Returns this store's ids for a child's, in their order; `None` if any of them is not known.
    pub fn translate_row_ids(
        &self,
        child: &str,
        incarnation: Incarnation,
        ids: impl IntoIterator<Item = RowId>,
    ) -> Option<Vec<RowId>> {
        let dictionary = self.dictionary();
        let (_, known) = dictionary.learned.children.get(child).filter(|(newest, _)| *newest == incarnation)?;
        ids.into_iter().map(|id| known.get(id.0 as usize).copied()).collect()
    }
}

fn child_prefix(child: &str, incarnation: Incarnation) -> Vec<u8> {
    let mut key = vec![CHILD];
    put_text(&mut key, child.as_bytes());
    key.extend_from_slice(&incarnation.to_bytes());
    key
}

#[cfg(test)]
mod tests {
    use firetower_model::labels::NAME;

    use super::*;
    use crate::tree::tests::{TestStore, at};

    #[test]
    fn ids_of_children_are_learned_in_order_and_forgotten_with_their_incarnation() {
        let keys: Vec<Labels> = ["a", "b", "c", "d"].map(|name| Labels::new([(NAME, name)])).into();
        let life = |seconds| Incarnation { created: at(seconds), random: 0 };
        let test = TestStore::new();
        test.store.intern_row_key(&keys[2]).unwrap();
        let learn = |test: &TestStore, child: &str, seconds, first, keys: &[Labels]| {
            let mut batch = Batch::default();
            let known = test.store.learn_row_keys(&mut batch, child, life(seconds), RowId(first), keys).unwrap();
            test.store.commit(batch).unwrap();
            known
        };
        assert_eq!(learn(&test, "s0", 1, 1, &keys), 0, "a gap");
        assert_eq!(learn(&test, "s0", 1, 0, &keys[..2]), 2);
        assert_eq!(learn(&test, "s0", 1, 0, &keys[..2]), 2, "known");
        assert_eq!(learn(&test, "s0", 1, 1, &keys[1..]), 4, "half known");
        assert_eq!(learn(&test, "s1", 5, 0, &keys[2..3]), 1);
        let test = test.reopen();
        let ids: Vec<RowId> = (0..4).map(RowId).collect();
        let translate = |test: &TestStore, seconds, ids: &[RowId]| {
            test.store.translate_row_ids("s0", life(seconds), ids.iter().copied())
        };
        assert_eq!(translate(&test, 1, &ids), Some(vec![RowId(1), RowId(2), RowId(0), RowId(3)]));
        assert_eq!(test.store.translate_row_id("s0", life(1), RowId(4)), None);
        assert_eq!(learn(&test, "s0", 2, 0, &keys[3..]), 1, "a new life");
        assert_eq!(learn(&test, "s0", 1, 0, &keys), 0, "the old one is over");
        let test = test.reopen();
        assert_eq!((translate(&test, 1, &ids[..1]), translate(&test, 2, &ids[..1])), (None, Some(vec![RowId(3)])));
        assert_eq!((test.store.known_row_keys("s0", life(1)), test.store.known_row_keys("s0", life(2))), (0, 1));
        assert_eq!(test.store.row_key_count(), 4);
    }
}
