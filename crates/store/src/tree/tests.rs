//! What the tests of the tree share.

use std::time::Duration;

use firetower_model::{Coverage, Epoch, JobDurations, KeptVersion, Revision, Timestamp, Watermark, Window, WindowRows};

use crate::database::{Options, Store};

/// A store in a directory that goes with it.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    dir: tempfile::TempDir,
}

impl TestStore {
    pub(crate) fn new() -> TestStore {
        let dir = tempfile::tempdir().unwrap();
        TestStore { store: open(&dir), dir }
    }

    /// Closes the store and opens it again; nothing else may hold it.
    pub(crate) fn reopen(self) -> TestStore {
        drop(self.store);
        TestStore { store: open(&self.dir), dir: self.dir }
    }
}

fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(dir.path(), &Options::new(at(1), 1)).unwrap()
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(0) + Duration::from_secs(seconds)
}

/// Returns a window of 15 s without rows, `reported` of 9 slots of which came.
pub(crate) fn rows_of(datacenter: &str, at: Timestamp, revision: u64, reported: u64) -> WindowRows {
    WindowRows {
        datacenter: datacenter.to_owned(),
        window: Window::containing(at, Duration::from_secs(15)),
        revision: Revision(revision),
        epoch: Epoch(0),
        coverage: Coverage::new(9, reported, 0),
        slots: None,
        watermark: Watermark { newest: at, complete_through: at },
        rows: Vec::new(),
        durations: vec![JobDurations { job: "node".into(), histogram: vec![revision as u8] }],
        kept: KeptVersion::default(),
    }
}
