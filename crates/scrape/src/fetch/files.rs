//! Files behind a configuration, looked at again now and then.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A file changed this shortly before it was read may change again without a newer time: it is read once more.
const UNSETTLED: Duration = Duration::from_secs(2);

/// The state in which a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
    is_settled: bool,
}

impl Stamp {
    /// Takes the state of a file before it is read.
    pub(crate) fn new(found: &Metadata) -> Stamp {
        let modified = found.modified().ok();
        let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        let is_settled = age.is_some_and(|age| age > UNSETTLED);
        Stamp { modified, length: found.len(), inode: found.ino(), is_settled }
    }

    /// Tells whether what was read in this state is still what is in the file.
    pub(crate) fn holds(&self, found: &Metadata) -> bool {
        self.is_settled && (self.modified, self.length, self.inode) == (found.modified().ok(), found.len(), found.ino())
    }
}

/// Files, each in the state in which it was read; none if it could not be.
#[derive(Debug, Default)]
pub(super) struct Files(Vec<(PathBuf, Option<Stamp>)>);

impl Files {
    /// Takes the state of a file that is about to be read.
    pub(super) fn note(&mut self, path: PathBuf) {
        let stamp = fs::metadata(&path).ok().map(|found| Stamp::new(&found));
        self.0.push((path, stamp));
    }

    /// Tells whether any of them is to be read again.
    pub(super) fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, stamp)| match (stamp, fs::metadata(path)) {
            (Some(stamp), Ok(found)) => !stamp.holds(&found),
            _ => true,
        })
    }

    /// Tells whether there are none, so that nothing can change.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
