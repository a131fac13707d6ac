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

/// Waits until the process is asked to read its configuration again, each time it is called anew.
///
/// Made once and kept, so that no signal between two waits is missed.
#[derive(Debug)]
pub struct ReloadSignal(tokio::signal::unix::Signal);

impl ReloadSignal {
    /// Starts to listen for SIGHUP.
    ///
    /// # Errors
    /// If the handler cannot be installed.
    pub fn new() -> io::Result<ReloadSignal> {
        Ok(ReloadSignal(signal(SignalKind::hangup())?))
    }

    /// Waits for the next SIGHUP.
    ///
    /// # Cancel safety
    /// No signal is lost if it is dropped.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}
