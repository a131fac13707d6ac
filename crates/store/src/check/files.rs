//! The files of a data directory, as far as they can be read without RocksDB.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::Checked;
use super::log::{Fault, scan};
use crate::backup::RESTORED;
use crate::database::DAMAGED;
use crate::error::Error;

/// What it means that the files cannot be put together.
pub(super) const NOT_OPENED: &str = "the store does not open: nothing of it can be used";

/// What RocksDB makes first, before `CURRENT`; there is nothing in it, and it is followed by another at once.
const FIRST_MANIFEST: &str = "MANIFEST-000001";

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Names the MANIFEST that counts.
    Current,
    /// Says which files belong to the database.
    Manifest,
    /// The write-ahead log.
    Log,
    /// Entries, sorted; RocksDB reads it.
    Table,
    /// For people, or only a lock: nothing depends on what it says.
    Aside,
    Unknown,
}

fn kind(name: &str) -> Kind {
    let is_numbered = |end: &str| {
        name.strip_suffix(end).is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    match name {
        "CURRENT" => Kind::Current,
        "LOCK" | "LOG" | "IDENTITY" | "PROBE" | DAMAGED | RESTORED => Kind::Aside,
        _ if name.starts_with("MANIFEST-") => Kind::Manifest,
        _ if name.starts_with("OPTIONS-") || name.starts_with("LOG.old.") => Kind::Aside,
        _ if is_numbered(".log") => Kind::Log,
        _ if is_numbered(".sst") => Kind::Table,
        _ => Kind::Unknown,
    }
}

/// Reads all files but the tables, which RocksDB reads.
///
/// # Errors
/// If there is no store, or the directory cannot be listed.
pub(super) fn check(path: &Path, checked: &mut Checked) -> Result<(), Error> {
    let list = |source| Error::Files { step: "read the directory", path: path.into(), source };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(list)? {
        let entry = entry.map_err(list)?;
        if entry.file_type().map_err(list)?.is_file() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if !names.iter().any(|name| kind(name) == Kind::Current || is_content(name)) {
        return Err(Error::NoStore { path: path.into() });
    }
    let current = check_current(path, &names, checked);
    for name in &names {
        let read = match kind(name) {
            Kind::Manifest if current.as_ref() == Some(name) => read(path, name, checked, check_manifest),
            Kind::Log => read(path, name, checked, check_log),
            Kind::Unknown => {
                checked.remark(name.as_str(), "is no file of the store", "it is passed over");
                Ok(())
            }
            Kind::Table | Kind::Aside | Kind::Current | Kind::Manifest => count(path, name, checked),
        };
        match read {
            // Its monitor runs, and needs it no longer.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => checked.fault(name.as_str(), "", format!("cannot be read: {error}"), "its disk fails"),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Tells whether there is more in `path` than RocksDB had begun when making it was broken off.
pub(crate) fn has_content(path: &Path) -> bool {
    let mut entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.any(|entry| is_content(&entry.file_name().to_string_lossy()))
}

fn is_content(name: &str) -> bool {
    name != FIRST_MANIFEST && matches!(kind(name), Kind::Manifest | Kind::Log | Kind::Table)
}

/// Tells whether a log of `path` is damaged, with synced records after the damage: opening it loses these.
pub(crate) fn has_damaged_log(path: &Path) -> bool {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let logs = entries.filter(|entry| kind(&entry.file_name().to_string_lossy()) == Kind::Log);
    let is_damaged = |bytes: Vec<u8>| scan(&bytes).fault == Some(Fault::Damaged);
    logs.filter_map(|entry| fs::read(entry.path()).ok()).any(is_damaged)
}

fn count(path: &Path, name: &str, checked: &mut Checked) -> io::Result<()> {
    checked.bytes += fs::metadata(path.join(name))?.len();
    checked.files += 1;
    Ok(())
}

fn read(path: &Path, name: &str, checked: &mut Checked, check: fn(&str, &[u8], &mut Checked)) -> io::Result<()> {
    let bytes = fs::read(path.join(name))?;
    checked.files += 1;
    checked.bytes += bytes.len() as u64;
    check(name, &bytes, checked);
    Ok(())
}

/// Returns the MANIFEST that counts.
fn check_current(path: &Path, names: &BTreeSet<String>, checked: &mut Checked) -> Option<String> {
    let text = match fs::read(path.join("CURRENT")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            checked.fault("CURRENT", "", format!("cannot be read: {error}"), NOT_OPENED);
            return None;
        }
    };
    let named = text.strip_suffix('\n').filter(|name| kind(name) == Kind::Manifest && path.join(name).is_file());
    if named.is_none() {
        let manifests: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| kind(name) == Kind::Manifest).collect();
        let there = if manifests.is_empty() { "none".to_owned() } else { manifests.join(", ") };
        checked.fault("CURRENT", "", format!("names no MANIFEST that is there; there is {there}"), NOT_OPENED);
    }
    named.map(str::to_owned)
}

fn check_manifest(name: &str, bytes: &[u8], checked: &mut Checked) {
    let found = scan(bytes);
    match found.fault {
        None => {}
        Some(Fault::Torn) => {
            let text = format!("its last record, at byte {}, was not written whole", found.sound_bytes);
            checked.remark(name, text, "a crash or power loss cut it; what was synced is before it");
        }
        Some(Fault::Hole | Fault::Damaged) => {
            checked.fault(name, "", format!("the record at byte {} is damaged", found.sound_bytes), NOT_OPENED);
        }
    }
}

fn check_log(name: &str, bytes: &[u8], checked: &mut Checked) {
    let found = scan(bytes);
    match found.fault {
        None => {}
        Some(Fault::Torn | Fault::Hole) => {
            let text = format!("was not written whole from byte {} on", found.sound_bytes);
            checked.remark(name, text, "a crash or power loss cut it; what was synced is before it");
        }
        Some(Fault::Damaged) => {
            let text = format!("the record at byte {} is damaged, with synced ones after it", found.sound_bytes);
            let means = "what was written last is lost from there on: the monitor starts under a new incarnation \
                         and counts the loss";
            checked.fault(name, "", text, means);
        }
    }
}
