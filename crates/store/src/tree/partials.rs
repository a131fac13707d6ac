//! A parent's children's rows, kept so that a late change can be merged again.

use std::collections::BTreeSet;
use std::sync::Mutex;

use firetower_model::{Revision, Timestamp, Window, WindowRows};

use crate::database::{Batch, Store};
use crate::error::Error;
use crate::tree::codec::{Reader, decode_window_rows, encode_window_rows, time_key, window_key, window_of_key};
use crate::tree::recent::Recent;
use crate::tree::{UNPOISONED, scan_around};

const FAMILY: &str = "partials";

/// The revisions last put, committed or not, by window and child.
pub(crate) type Revisions = Mutex<Recent<(Window, String), Revision>>;

impl Store {
    /// Keeps `rows` of `child`, with row ids of this store, unless a revision as high is kept already.
    ///
    /// Returns whether they were kept. Sees what was put before, committed or not.
    ///
    /// # Errors
    /// If what is kept cannot be read.
    pub fn put_partial(&self, batch: &mut Batch, child: &str, rows: &WindowRows) -> Result<bool, Error> {
        let mut revisions = self.tree.partial_revisions.lock().expect(UNPOISONED);
        let entry = (rows.window, child.to_owned());
        let kept = match revisions.get(&entry) {
            Some(revision) => Some(*revision),
            None => self.kept_revision(rows.window, child)?,
        };
        if kept.is_some_and(|kept| rows.revision <= kept) {
            return Ok(false);
        }
        revisions.put(entry, rows.revision);
        batch.0.put_cf(self.family(FAMILY), partial_key(rows.window, child), encode_window_rows(rows));
        Ok(true)
    }

    fn kept_revision(&self, window: Window, child: &str) -> Result<Option<Revision>, Error> {
        let key = partial_key(window, child);
        let found = self.read_value(self.family(FAMILY), &key, "read a partial")?;
        let Some(value) = found.found() else { return Ok(None) };
        let revision = Reader::new(&value).varint().ok_or_else(|| Error::corrupt("partial", &key))?;
        Ok(Some(Revision(revision)))
    }

    /// Returns the committed rows of `window` of all children, in order of their names.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn partials(&self, window: Window) -> Result<Vec<(String, WindowRows)>, Error> {
        let prefix = window_key(window);
        let read = |key: &[u8], value: &[u8]| {
            let child = std::str::from_utf8(key.get(prefix.len()..)?).ok()?.to_owned();
            Some((child, decode_window_rows(value)?))
        };
        let pairs = scan_around(self, FAMILY, &prefix);
        pairs
            .map(|pair| pair.and_then(|(key, value)| read(&key, &value).ok_or_else(|| Error::corrupt("partial", &key))))
            .collect()
    }

    /// Returns the starts before `before` of the windows that have partials.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn partial_windows(&self, before: Timestamp) -> Result<BTreeSet<Timestamp>, Error> {
        let end = time_key(before);
        let mut starts = BTreeSet::new();
        for pair in scan_around(self, FAMILY, &[]) {
            let (key, _) = pair?;
            if end.as_slice() <= &*key {
                break;
            }
            starts.insert(window_of_key(&key).ok_or_else(|| Error::corrupt("partial", &key))?.start());
        }
        Ok(starts)
    }

    /// Forgets the partials of windows that start before `before`, but for those whose starts are in `kept`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn prune_partials(
        &self,
        batch: &mut Batch,
        before: Timestamp,
        kept: &BTreeSet<Timestamp>,
    ) -> Result<(), Error> {
        let end = time_key(before);
        for pair in scan_around(self, FAMILY, &[]) {
            let (key, _) = pair?;
            if end.as_slice() <= &*key {
                break;
            }
            let window = window_of_key(&key).ok_or_else(|| Error::corrupt("partial", &key))?;
            if !kept.contains(&window.start()) {
                batch.0.delete_cf(self.family(FAMILY), key);
            }
        }
        Ok(())
    }
}

fn partial_key(window: Window, child: &str) -> Vec<u8> {
    [&window_key(window), child.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::{TestStore, at, rows_of};

    #[test]
    fn only_a_higher_revision_replaces_and_children_come_in_order() {
        let test = TestStore::new();
        let rows = |revision| rows_of("dub", at(15), revision, 1);
        let mut batch = Batch::default();
        for (child, revision, is_kept) in [("s1", 1, true), ("s0", 2, true), ("s0", 1, false), ("s0", 2, false)] {
            assert_eq!(
                test.store.put_partial(&mut batch, child, &rows(revision)).unwrap(),
                is_kept,
                "{child} {revision}"
            );
        }
        test.store.put_partial(&mut batch, "s0", &rows_of("dub", at(0), 1, 1)).unwrap();
        test.store.commit(batch).unwrap();
        let test = test.reopen();
        let mut batch = Batch::default();
        assert!(!test.store.put_partial(&mut batch, "s0", &rows(2)).unwrap(), "read back from disk");
        test.store.prune_partials(&mut batch, at(15), &BTreeSet::from([at(0)])).unwrap();
        test.store.commit(std::mem::take(&mut batch)).unwrap();
        assert_eq!(test.store.partial_windows(at(15)).unwrap(), BTreeSet::from([at(0)]), "more may come to it");
        test.store.prune_partials(&mut batch, at(15), &BTreeSet::new()).unwrap();
        test.store.commit(batch).unwrap();
        let window = rows(1).window;
        assert_eq!(test.store.partials(window).unwrap(), [("s0".into(), rows(2)), ("s1".into(), rows(1))]);
        assert_eq!(test.store.partials(window.previous()).unwrap(), []);
    }
}
