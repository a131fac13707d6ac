//! Small file systems in memory, which fill up and can be made read-only. Mounting them takes root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::hosts::run;

/// Large enough for a store of a small tree with its write buffers.
const SIZE: &str = "size=96m";

/// A small file system in memory; it is unmounted when this is dropped.
#[derive(Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one in the folder `at`, which is made if it is not there.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn mount(at: &Path) -> Result<Disk> {
        fs::create_dir_all(at)?;
        run("mount", ["-t", "tmpfs", "-o", SIZE, "tmpfs", path(at)?])?;
        Ok(Disk(at.to_owned()))
    }

    /// Mounts it again with other options: `ro` or `rw`.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn remount(&self, how: &str) -> Result<()> {
        run("mount", ["-o", &format!("remount,{how}"), path(&self.0)?])
    }

    /// Fills it to the last byte, until [`Disk::make_room`].
    ///
    /// # Errors
    /// If that cannot be begun.
    pub fn fill(&self) -> Result<()> {
        let mut command = Command::new("dd");
        command.arg("if=/dev/zero").arg(format!("of={}", self.filler().display())).args(["bs=64k", "status=none"]);
        // It ends because there is no more room.
        command.stderr(Stdio::null()).status().context("run dd")?;
        Ok(())
    }

    /// Takes away what fills it.
    ///
    /// # Errors
    /// If that cannot be removed.
    pub fn make_room(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("make room")
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has a file open there is killed with the tree.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))
}
