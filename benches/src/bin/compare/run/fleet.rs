//! The simulated fleet.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use firetower_benches::{Running, beside, wait_for};

use crate::Common;
use crate::run::{READY, free_ports, get_json};

/// A running fleet.
pub(crate) struct Fleet {
    pub(crate) running: Running,
    pub(crate) log: PathBuf,
    base: String,
}

impl Fleet {
    /// Starts it, with its targets in `targets.json` of `directory`; `more` are arguments of this measurement.
    pub(crate) fn start(common: &Common, directory: &Path, more: &[&str]) -> Result<Fleet> {
        let (targets, log) = (directory.join("targets.json"), directory.join("fleet.log"));
        let mut command = Command::new(beside("fleet", common.fleet.as_deref())?);
        command.args(["--targets", &common.targets.to_string(), "--series", &common.series.to_string()]);
        if common.gzip {
            command.args(["--gzip", "--gzip-cycle", &common.gzip_cycle.to_string()]);
        }
        if common.unlike {
            command.arg("--unlike");
        }
        command.args(match (common.cadvisor, &common.recorded) {
            (true, _) => ["--cadvisor".into(), "--seed=1".into()],
            (false, Some(directory)) => ["--recorded".into(), directory.clone().into_os_string()],
            (false, None) => ["--decimals".into(), "--seed=1".into()],
        });
        command.args(more);
        let base = format!("127.0.0.1:{}", free_ports(1)?[0]);
        command.args(["--listen", &base, "--write-file-sd"]).arg(&targets).arg("--log").arg(&log);
        let mut running = Running::start("fleet", directory, &mut command)?;
        wait_for("the fleet listens", READY, || {
            running.check()?;
            Ok(targets.exists().then_some(()))
        })?;
        Ok(Fleet { running, log, base: format!("http://{base}") })
    }

    /// Returns how many samples it has served.
    pub(crate) fn samples(&self) -> Result<u64> {
        get_json(&format!("{}/served", self.base))?["samples"].as_u64().context("samples served")
    }
}
