//! Copies of a data directory: made beside the running monitor, and brought back into an empty directory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use firetower_model::Incarnation;

use crate::check::{Checked, check};
use crate::database::{DAMAGED, Options, Store};
use crate::error::Error;

/// Lies in a directory that is being restored, or that was and has not been opened since.
///
/// What is in it was written by an earlier life of the directory: whoever opens it begins a new one.
pub(crate) const RESTORED: &str = "RESTORED";
/// Says which files belong to the database; without it there is none, so it is copied last.
const CURRENT: &str = "CURRENT";
/// Files that a copy does not need: locks, and what was logged for people.
const LEFT_OUT: [&str; 4] = ["LOCK", "LOG", DAMAGED, RESTORED];

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many files it has.
    pub files: u64,
    /// Their bytes. Those that did not change since are shared with the directory while it keeps them.
    pub bytes: u64,
}

impl Store {
    /// Makes a copy of the data directory in `to`, which must not exist, as it is at this moment: a checkpoint.
    ///
    /// Files are shared with the data directory where both are on one file system, and copied otherwise. What was
    /// committed is in it, also past the last sync.
    ///
    /// # Errors
    /// If `to` exists, or what it is to be made in does not, or the disk cannot take it.
    pub fn backup(&self, to: &Path) -> Result<Copied, Error> {
        if to.exists() {
            return Err(Error::Exists { path: to.into() });
        }
        let folder = to.parent().unwrap_or(to);
        fs::read_dir(folder).map_err(|source| Error::Files {
            step: "find the directory",
            path: folder.into(),
            source,
        })?;
        self.db.checkpoint(to).map_err(Error::at("make a checkpoint"))?;
        let files = files_of(to)?;
        Ok(Copied { files: files.len() as u64, bytes: files.iter().map(|(_, bytes)| bytes).sum() })
    }

    /// Brings the copy `from` back into `to`, which must be empty or not exist; it begins a new life there.
    ///
    /// The copy is read whole first. If this is broken off, what is in `to` is not opened as a store.
    ///
    /// # Errors
    /// If `to` is not empty, the copy is damaged, or the disk cannot take it.
    pub fn restore(from: &Path, to: &Path, options: &Options) -> Result<(Copied, Incarnation), Error> {
        let touch = |step, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Files { step, path, source }
        };
        if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
            restored_mark(to)?;
            return Err(Error::NotEmpty { path: to.into() });
        }
        let checked = check(from)?;
        if !checked.faults.is_empty() {
            return Err(Error::DamagedCopy { path: from.into(), faults: faults(&checked) });
        }
        fs::create_dir_all(to).map_err(|source| Error::Make { path: to.into(), source })?;
        let mark = to.join(RESTORED);
        fs::write(&mark, format!("{}\n", from.display())).map_err(touch("write", &mark))?;
        sync_file(&mark).map_err(touch("sync", &mark))?;
        let mut files = files_of(from)?;
        files.retain(|(name, _)| !LEFT_OUT.contains(&name.as_str()) && !name.starts_with("LOG.old."));
        files.sort_by_key(|(name, _)| name == CURRENT);
        for (name, _) in &files {
            let copied = to.join(name);
            fs::copy(from.join(name), &copied).map_err(touch("copy", &copied))?;
            sync_file(&copied).map_err(touch("sync", &copied))?;
        }
        sync_file(to).map_err(touch("sync", to))?;
        let copied = Copied { files: files.len() as u64, bytes: files.iter().map(|(_, bytes)| bytes).sum() };
        let store = Store::open(to, options)?;
        Ok((copied, store.incarnation()))
    }
}

fn faults(checked: &Checked) -> u64 {
    checked.faults.len() as u64 + checked.faults_unlisted
}

fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Returns the names of the files in `path`, and their bytes.
fn files_of(path: &Path) -> Result<Vec<(String, u64)>, Error> {
    let list = |source| Error::Files { step: "list", path: path.into(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(list)? {
        let entry = entry.map_err(list)?;
        let about = entry.metadata().map_err(list)?;
        if about.is_file() {
            files.push((entry.file_name().to_string_lossy().into_owned(), about.len()));
        }
    }
    Ok(files)
}

/// Returns the mark in `path` that its content is of an earlier life.
///
/// # Errors
/// If restoring it was broken off.
pub(crate) fn restored_mark(path: &Path) -> Result<Option<PathBuf>, Error> {
    let mark = path.join(RESTORED);
    match mark.exists() {
        false => Ok(None),
        true if path.join(CURRENT).exists() => Ok(Some(mark)),
        true => Err(Error::HalfRestored { path: path.into() }),
    }
}
