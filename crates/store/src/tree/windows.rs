//! A secondary's own bookkeeping of its windows.

use firetower_model::{Revision, Timestamp, Window};

use crate::database::{Batch, Store};
use crate::engine::WriteBatch;
use crate::error::Error;
use crate::tree::codec::{Reader, put_varint, time_key, window_key, window_of_key};
use crate::tree::scan_around;

const FAMILY: &str = "windows";

/// What a secondary has framed of one window, and what not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WindowRecord {
    /// Of the last frame of it; 0 before the first.
    pub revision: Revision,
    /// Raw samples in frames.
    pub framed_weight: u64,
    /// Raw samples stored and not yet in a frame.
    pub pending_weight: u64,
    /// Slots that came after the window had closed.
    pub late: u64,
    /// Whether something came that is in no frame yet, even if it weighs nothing.
    pub is_changed: bool,
}

impl WindowRecord {
    /// Tells whether something of the window is in no frame yet.
    pub fn is_open(&self) -> bool {
        self.pending_weight > 0 || self.is_changed
    }
}

/// Counts nothing as pending any more: what was is of an earlier life.
pub(crate) fn end_windows(store: &Store, batch: &mut WriteBatch) -> Result<(), Error> {
    for (window, record) in store.open_windows()? {
        let record = WindowRecord { pending_weight: 0, is_changed: false, ..record };
        batch.put_cf(store.family(FAMILY), window_key(window), record_value(&record));
    }
    Ok(())
}

impl Store {
    /// Returns what was committed about `window`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn window_record(&self, window: Window) -> Result<Option<WindowRecord>, Error> {
        let key = window_key(window);
        let found = self.read_value(self.family(FAMILY), key, "read a window's record")?;
        found.found().map(|value| read_record(&key, &value)).transpose()
    }

    /// Replaces what is known about `window`.
    pub fn put_window_record(&self, batch: &mut Batch, window: Window, record: &WindowRecord) {
        batch.0.put_cf(self.family(FAMILY), window_key(window), record_value(record));
    }

    /// Returns the windows with something that is in no frame yet, oldest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn open_windows(&self) -> Result<Vec<(Window, WindowRecord)>, Error> {
        let mut open = Vec::new();
        for pair in scan_around(self, FAMILY, &[]) {
            let (key, value) = pair?;
            let window = window_of_key(&key).ok_or_else(|| Error::corrupt("window", &key))?;
            let record = read_record(&key, &value)?;
            if record.is_open() {
                open.push((window, record));
            }
        }
        Ok(open)
    }

    /// Forgets the windows that start before `before`, but for those with something that is in no frame yet: the account
    /// needs it.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn prune_windows(&self, batch: &mut Batch, before: Timestamp) -> Result<(), Error> {
        let end = time_key(before);
        for pair in scan_around(self, FAMILY, &[]) {
            let (key, value) = pair?;
            if end.as_slice() <= &*key {
                break;
            }
            if !read_record(&key, &value)?.is_open() {
                batch.0.delete_cf(self.family(FAMILY), key);
            }
        }
        Ok(())
    }
}

fn record_value(record: &WindowRecord) -> Vec<u8> {
    let mut value = Vec::with_capacity(16);
    let counts = [record.revision.0, record.framed_weight, record.pending_weight, record.late];
    for count in counts.into_iter().chain(record.is_changed.then_some(1)) {
        put_varint(&mut value, count);
    }
    value
}

pub(super) fn read_record(key: &[u8], value: &[u8]) -> Result<WindowRecord, Error> {
    let mut reader = Reader::new(value);
    let mut read = || {
        Some(WindowRecord {
            revision: Revision(reader.varint()?),
            framed_weight: reader.varint()?,
            pending_weight: reader.varint()?,
            late: reader.varint()?,
            is_changed: !reader.rest().is_empty(),
        })
    };
    read().ok_or_else(|| Error::corrupt("window's record", key))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tree::tests::{TestStore, at};

    #[test]
    fn open_windows_are_those_with_something_pending() {
        let test = TestStore::new();
        let window = |seconds| Window::containing(at(seconds), Duration::from_secs(15));
        let record = |pending_weight| {
            let is_changed = pending_weight == 1;
            WindowRecord { revision: Revision(2), framed_weight: 300, pending_weight, late: 1, is_changed }
        };
        let weightless = WindowRecord { is_changed: true, ..record(0) };
        let mut batch = Batch::default();
        for (seconds, pending) in [(45, 3), (0, 9), (15, 0), (30, 1)] {
            test.store.put_window_record(&mut batch, window(seconds), &record(pending));
        }
        test.store.put_window_record(&mut batch, window(60), &weightless);
        test.store.commit(batch).unwrap();
        let test = test.reopen();
        assert_eq!(test.store.window_record(window(15)).unwrap(), Some(record(0)));
        let mut batch = Batch::default();
        test.store.prune_windows(&mut batch, at(30)).unwrap();
        test.store.commit(batch).unwrap();
        assert_eq!(test.store.window_record(window(15)).unwrap(), None);
        let open = [(0, record(9)), (30, record(1)), (45, record(3)), (60, weightless)];
        let open = open.map(|(seconds, record)| (window(seconds), record));
        assert_eq!(test.store.open_windows().unwrap(), open, "the first is old, and still to be put out");
    }
}
