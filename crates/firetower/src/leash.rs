//! A foreign program that ends when whoever started it has gone.

use std::io::{self, Read};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::arguments::LeashArguments;

/// How often the program is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Runs the program until it ends or standard input closes; its exit code is this one's.
pub(crate) fn leash(arguments: &LeashArguments) -> anyhow::Result<ExitCode> {
    let (program, rest) = arguments.program.split_first().context("no program is named")?;
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let (closed, is_closed) = mpsc::channel();
    thread::spawn(move || {
        let mut byte = [0];
        while !matches!(io::stdin().read(&mut byte), Ok(0) | Err(_)) {}
        let _ = closed.send(());
    });
    loop {
        if let Some(status) = child.try_wait().context("wait for the program")? {
            return Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)));
        }
        if is_closed.recv_timeout(POLL).is_ok() {
            child.kill().context("kill the program")?;
            child.wait().context("wait for the program")?;
            return Ok(ExitCode::SUCCESS);
        }
    }
}
