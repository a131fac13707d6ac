//! Finds the programs under test.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// Returns the `firetower` binary: `FIRETOWER_BIN`, else the one beside these tests, built if need be.
///
/// # Errors
/// If it cannot be built.
pub fn firetower() -> Result<PathBuf> {
    find("FIRETOWER_BIN", "firetower")
}

/// Returns the `fleet` binary: `FLEET_BIN`, else the one beside these tests, built if need be.
///
/// # Errors
/// If it cannot be built.
pub fn fleet() -> Result<PathBuf> {
    find("FLEET_BIN", "fleet")
}

fn find(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    let test = env::current_exe().context("find this test")?;
    let directory = test.ancestors().nth(2).context("a test lies in target/PROFILE/deps")?;
    let path = directory.join(name);
    if !path.exists() {
        build(directory)?;
    }
    ensure!(path.exists(), "no {} even after a build", path.display());
    Ok(path)
}

/// Builds both programs, once however many tests ask.
fn build(directory: &Path) -> Result<()> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--locked", "-p", "firetower-firetower", "-p", "firetower-benches"]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        if let Some(target) = directory.parent() {
            cargo.env("CARGO_TARGET_DIR", target);
        }
        match cargo.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("cargo build: {status}")),
            Err(error) => Err(format!("cargo build: {error}")),
        }
    });
    built.clone().map_err(anyhow::Error::msg)
}
