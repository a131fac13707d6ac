//! Programs that are started, to be measured or to measure with.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// Returns where the program `name` is: where it was `given`, or beside the one that asks.
///
/// # Errors
/// If it was not given and there is none beside.
pub fn beside(name: &str, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.into());
    }
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "no {}: build it, or say where it is", path.display());
    Ok(path)
}
