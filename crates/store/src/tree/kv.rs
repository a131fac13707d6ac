//! The assignment last received, and small notes of the roles.

use firetower_model::Generation;

use crate::database::{Batch, Store};
use crate::error::Error;

const FAMILY: &str = "meta";
const ASSIGNMENT: &[u8] = b"tree/assignment";

impl Store {
    /// Replaces the assignment that is started from when no parent answers.
    pub fn put_assignment(&self, batch: &mut Batch, generation: Generation, bytes: &[u8]) {
        let value = [&generation.0.to_be_bytes(), bytes].concat();
        batch.0.put_cf(self.family(FAMILY), ASSIGNMENT, value);
    }

    /// Returns the assignment last committed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn assignment(&self) -> Result<Option<(Generation, Vec<u8>)>, Error> {
        let found = self.db.get_cf(self.family(FAMILY), ASSIGNMENT).map_err(Error::at("read the assignment"))?;
        let Some(value) = found else { return Ok(None) };
        let (generation, bytes) = value.split_first_chunk().ok_or_else(|| Error::corrupt("assignment", ASSIGNMENT))?;
        Ok(Some((Generation(u64::from_be_bytes(*generation)), bytes.to_vec())))
    }

    /// Replaces the note under `key`.
    pub fn put_note(&self, batch: &mut Batch, key: &str, bytes: &[u8]) {
        batch.0.put_cf(self.family(FAMILY), note_key(key), bytes);
    }

    /// Returns the note last committed under `key`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn note(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.db.get_cf(self.family(FAMILY), note_key(key)).map_err(Error::at("read a note"))
    }
}

fn note_key(key: &str) -> String {
    format!("tree/note/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::TestStore;

    #[test]
    fn notes_and_the_assignment_survive() {
        let test = TestStore::new();
        assert_eq!((test.store.assignment().unwrap(), test.store.note("k").unwrap()), (None, None));
        let mut batch = Batch::default();
        test.store.put_assignment(&mut batch, Generation(9), b"targets");
        test.store.put_note(&mut batch, "k", b"");
        test.store.commit(batch).unwrap();
        let test = test.reopen();
        assert_eq!(test.store.assignment().unwrap(), Some((Generation(9), b"targets".to_vec())));
        assert_eq!(test.store.note("k").unwrap(), Some(Vec::new()));
    }
}
