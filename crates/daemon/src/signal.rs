//! Signals of the operating system.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits until the process is asked to stop; returns the signal's name.
///
/// # Errors
/// If the handlers cannot be installed.
pub async fn stop_signal() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
