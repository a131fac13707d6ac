//! Files that nobody else reads, and that are there whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Its owner alone.
    Secret,
    /// Everybody.
    Public,
}

impl Mode {
    fn bits(self) -> u32 {
        match self {
            Mode::Secret => 0o600,
            Mode::Public => 0o644,
        }
    }
}

/// Makes a folder, if it is not there.
pub(super) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))
}

/// Writes a file that is not there yet.
///
/// # Errors
/// If it is there.
pub(super) fn write_new(path: &Path, text: &str, mode: Mode) -> anyhow::Result<()> {
    let step = || format!("write {}", path.display());
    let mut file = File::options().write(true).create_new(true).mode(mode.bits()).open(path).with_context(step)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(step)
}

/// Writes a file, in place of one that may be there.
pub(super) fn replace(path: &Path, text: &str, mode: Mode) -> anyhow::Result<()> {
    let new = path.with_added_extension("new");
    // One that was left by an earlier attempt.
    let _ = fs::remove_file(&new);
    write_new(&new, text, mode)?;
    fs::rename(&new, path).with_context(|| format!("put {} in its place", path.display()))
}
