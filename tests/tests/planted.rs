//! The planted bugs can still be planted.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

#[test]
fn every_planted_bug_still_applies() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests have a folder above them")?;
    let mut count = 0;
    for entry in fs::read_dir(root.join("tests/planted"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        count += 1;
        let mut patch = Command::new("patch");
        patch.args(["--dry-run", "--batch", "--strip", "1", "--directory"]).arg(root).arg("--input").arg(&path);
        let output = patch.output().context("run patch")?;
        ensure!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stdout));
    }
    ensure!(count > 0, "there are no planted bugs");
    Ok(())
}
