//! Reading everything there is in a data directory, to find what is damaged.
//!
//! Every log record, every block of every file and every entry is read; each has a checksum, and entries that do not decode
//! or name what is not there are found too. Nothing is written, so that it works on a copy, on the directory of a monitor
//! that has stopped, on a read-only file system, and beside a monitor that runs.

mod entries;
mod files;
mod log;

use std::path::Path;

use rocksdb::{DB, ErrorKind};

pub(crate) use self::files::{has_content, has_damaged_log};
pub(crate) use self::log::synced_mark;

use self::entries::Entries;
use self::files::NOT_OPENED;
use crate::backup::restored_mark;
use crate::database::{FAMILIES, Store};
use crate::engine::ReadOptions;
use crate::error::Error;
use crate::unreadable::{Holes, place, skip_forward};

/// How many faults are listed; those beyond are counted.
const FAULTS_MAX: usize = 1_000;
/// How often a family is begun anew because files went away beneath it, as they do beside a monitor that runs.
const VANISHED_MAX: usize = 16;

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    /// How many files were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries by column family.
    pub entries: Vec<(&'static str, u64)>,
    /// What is wrong, at most a thousand.
    pub faults: Vec<CheckFault>,
    /// How much more is wrong.
    pub faults_unlisted: u64,
    /// What is unusual and does no harm.
    pub remarks: Vec<CheckFault>,
}

/// Something in a data directory that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckFault {
    /// The file, or empty where it is not known.
    pub file: String,
    /// The column family, or empty where it is of none.
    pub family: &'static str,
    /// What is wrong.
    pub text: String,
    /// What that means.
    pub means: &'static str,
}

impl Checked {
    fn fault(&mut self, file: impl Into<String>, family: &'static str, text: impl Into<String>, means: &'static str) {
        if self.faults.len() == FAULTS_MAX {
            self.faults_unlisted += 1;
            return;
        }
        self.faults.push(CheckFault { file: file.into(), family, text: text.into(), means });
    }

    fn remark(&mut self, file: impl Into<String>, text: impl Into<String>, means: &'static str) {
        self.remarks.push(CheckFault { file: file.into(), family: "", text: text.into(), means });
    }
}

/// Reads every file and every entry of the data directory `path`, and says what is wrong.
///
/// # Errors
/// If there is no store, or the directory cannot be listed. What is damaged in it is no error, but found.
pub fn check(path: &Path) -> Result<Checked, Error> {
    let mut checked = Checked::default();
    restored_mark(path)?;
    files::check(path, &mut checked)?;
    if checked.faults.iter().any(|fault| fault.means == NOT_OPENED) {
        return Ok(checked);
    }
    let db = match Store::open_files(path) {
        Ok(db) => db,
        Err(error @ (Error::NoStore { .. } | Error::Unfinished { .. } | Error::OtherFormat { .. })) => {
            return Err(error);
        }
        Err(error) => {
            let text = source_of(&error);
            checked.fault(file_of(&text), "", text, NOT_OPENED);
            return Ok(checked);
        }
    };
    for (family, _) in FAMILIES {
        check_blocks(&db, path, family, &mut checked);
    }
    drop(db);
    match Store::open_read_only(path) {
        Ok(store) => check_entries(&store, &mut checked)?,
        Err(error @ Error::OtherFormat { .. }) => return Err(error),
        Err(error) => {
            let text = source_of(&error);
            if !checked.faults.iter().any(|fault| fault.text == text) {
                checked.fault(file_of(&text), "", text, "the monitor does not start on this directory");
            }
        }
    }
    Ok(checked)
}

/// Reads all blocks of a family, those that are deleted already and still in its files too.
fn check_blocks(db: &DB, path: &Path, family: &'static str, checked: &mut Checked) {
    let mut from: Vec<u8> = Vec::new();
    let mut reopened: Option<DB> = None;
    for _ in 0..VANISHED_MAX {
        let db = reopened.as_ref().unwrap_or(db);
        match read_blocks(db, family, &mut from, checked) {
            Ok(()) => return,
            Err(error) if is_vanished(&error) => match Store::open_files(path) {
                Ok(again) => reopened = Some(again),
                Err(error) => return checked.fault("", family, source_of(&error), "it cannot be read any more"),
            },
            Err(error) => return checked.fault(file_of(error.as_ref()), family, error.as_ref(), meaning(family)),
        }
    }
    checked.remark("", format!("files of {family} are replaced faster than they are read"), "run it again later");
}

/// Reads the blocks of a family from the key `from` on, which moves along; what is damaged is noted and passed over.
#[expect(
    deprecated,
    reason = "it does what it did; blocks whose keys are deleted are still read when files are merged"
)]
fn read_blocks(db: &DB, family: &'static str, from: &mut Vec<u8>, checked: &mut Checked) -> Result<(), rocksdb::Error> {
    let mut options = rocksdb::ReadOptions::default();
    options.fill_cache(false);
    options.set_ignore_range_deletions(true);
    let cf = db.cf_handle(family).expect("every family is opened");
    let mut entries = db.raw_iterator_cf_opt(cf, options);
    entries.seek(&*from);
    loop {
        while let Some(key) = entries.key() {
            from.clear();
            from.extend_from_slice(key);
            entries.next();
        }
        let Err(error) = entries.status() else { return Ok(()) };
        if error.kind() != ErrorKind::Corruption {
            return Err(error);
        }
        checked.fault(file_of(error.as_ref()), family, error.as_ref(), meaning(family));
        let is_passed = skip_forward(&mut entries, place(from)).is_some() && entries.status().is_ok();
        if !is_passed {
            return Ok(());
        }
    }
}

fn check_entries(store: &Store, checked: &mut Checked) -> Result<(), Error> {
    let mut entries = Entries::new(store);
    for (family, _) in FAMILIES {
        let mut count = 0;
        let holes = Holes::default();
        let mut options = ReadOptions::default();
        options.skip_cache();
        options.read_around(&holes);
        let mut found = store.db.raw_iterator_cf_opt(store.family(family), options);
        found.seek_to_first();
        while let Some((key, value)) = found.item() {
            count += 1;
            if let Err(text) = entries.check(family, key, value, found.holes()) {
                let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                checked.fault("", family, format!("{text} under key {key}"), meaning(family));
            }
            found.next();
        }
        checked.entries.push((family, count));
    }
    Ok(())
}

/// Returns what RocksDB said, without what was being done.
fn source_of(error: &Error) -> String {
    match error {
        Error::Open { source, .. } | Error::Rocks { source, .. } => source.as_ref().to_owned(),
        Error::Damaged { what, .. } => what.clone(),
        other => other.to_string(),
    }
}

/// Tells whether a file is missing, as it may be for a moment beside a process that merges files.
pub(crate) fn is_vanished(error: &rocksdb::Error) -> bool {
    error.as_ref().contains("No such file or directory")
}

/// Returns the name of the first file that `text` speaks of.
pub(crate) fn file_of(text: &str) -> String {
    let is_file = |name: &&str| {
        [".sst", ".log"].iter().any(|end| name.ends_with(end)) || name.starts_with("MANIFEST-") || *name == "CURRENT"
    };
    let words = text.split([' ', ':', ',', '\'', '"']).map(|word| word.rsplit('/').next().unwrap_or(word));
    words.filter(|word| is_file(word)).map(str::to_owned).next().unwrap_or_default()
}

/// Says what it means that something of a family cannot be read.
pub(crate) fn meaning(family: &str) -> &'static str {
    match family {
        "raw_rows" => "scrapes not settled yet: those in it are lost, answers leave them out with a warning",
        "raw_blocks" => "settled samples: those in it are lost, answers leave them out with a warning",
        "raw_loose" => "late samples: those in it are lost, answers leave them out with a warning",
        "spans_5m" | "spans_1h" => "spans: those in it are lost, answers leave them out with a warning",
        "rows" => "rows of the tree: those in it are lost, answers leave them out with a warning",
        "partials" => "what children sent for windows that may still change: those windows keep what was merged",
        "windows" => "what was framed of recent windows: the account of those does not close",
        "names" => "what ids stand for: the monitor does not start on this directory",
        "outbox" => "frames that parents have not acknowledged: the monitor does not start on this directory",
        "applied" => "which frames of children were applied: the monitor does not start on this directory",
        "row_keys" => "what ids of rows stand for: the monitor does not start on this directory",
        "health" => "which targets are unhealthy: the monitor does not start on this directory",
        _ => "format, incarnation and notes of the roles: the monitor does not start on this directory",
    }
}

#[cfg(test)]
mod tests;
