//! The assignments last received or made, and small notes of the roles.

use firetower_model::Generation;

use crate::database::{Batch, Store};
use crate::error::Error;
use crate::tree::{Pair, scan_around};

const FAMILY: &str = "meta";
const ASSIGNMENT: &[u8] = b"tree/assignment/";

impl Store {
    /// Keeps an assignment, to be started from when no parent answers.
    pub fn put_assignment(&self, batch: &mut Batch, generation: Generation, bytes: &[u8]) {
        let value = [&generation.0.to_be_bytes(), bytes].concat();
        batch.0.put_cf(self.family(FAMILY), assignment_key(generation), value);
    }

    /// Forgets an assignment.
    pub fn forget_assignment(&self, batch: &mut Batch, generation: Generation) {
        batch.0.delete_cf(self.family(FAMILY), assignment_key(generation));
    }

    /// Returns the assignments that are kept, the newest last.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn assignments(&self) -> Result<Vec<(Generation, Vec<u8>)>, Error> {
        let read = |pair: Result<Pair, Error>| {
            let (key, value) = pair?;
            let (generation, bytes) = value.split_first_chunk().ok_or_else(|| Error::corrupt("assignment", &key))?;
            Ok((Generation(u64::from_be_bytes(*generation)), bytes.to_vec()))
        };
        scan_around(self, FAMILY, ASSIGNMENT).map(read).collect()
    }

    /// Replaces the note under `key`.
    pub fn put_note(&self, batch: &mut Batch, key: &str, bytes: &[u8]) {
        batch.0.put_cf(self.family(FAMILY), note_key(key), bytes);
    }

    /// Forgets the note under `key`.
    pub fn forget_note(&self, batch: &mut Batch, key: &str) {
        batch.0.delete_cf(self.family(FAMILY), note_key(key));
    }

    /// Returns the note last committed under `key`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn note(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.db.get_cf(self.family(FAMILY), note_key(key)).map_err(Error::at("read a note"))
    }
}

fn assignment_key(generation: Generation) -> Vec<u8> {
    [ASSIGNMENT, &generation.0.to_be_bytes()].concat()
}

fn note_key(key: &str) -> String {
    format!("tree/note/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::TestStore;

    #[test]
    fn notes_and_assignments_survive() {
        let test = TestStore::new();
        assert_eq!((test.store.assignments().unwrap(), test.store.note("k").unwrap()), (Vec::new(), None));
        let mut batch = Batch::default();
        for generation in [300, 9, 255] {
            test.store.put_assignment(&mut batch, Generation(generation), b"targets");
        }
        test.store.forget_assignment(&mut batch, Generation(255));
        test.store.put_note(&mut batch, "gone", b"");
        test.store.forget_note(&mut batch, "gone");
        test.store.put_note(&mut batch, "k", b"");
        test.store.commit(batch).unwrap();
        let test = test.reopen();
        let kept = [9, 300].map(|generation| (Generation(generation), b"targets".to_vec()));
        assert_eq!(test.store.assignments().unwrap(), kept);
        assert_eq!(test.store.note("k").unwrap(), Some(Vec::new()));
        assert_eq!(test.store.note("gone").unwrap(), None);
    }
}
