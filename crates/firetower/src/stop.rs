//! When a process stops.

use std::future::Future;
use std::io::{self, Read};
use std::thread;

use anyhow::{Context, bail};
use firetower_daemon::stop_signal;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// What a process stops for besides signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopOn {
    /// Nothing.
    Signals,
    /// That its standard input closes: whoever started it has gone.
    SignalsAndStdin,
}

/// Runs `run` until it ends; a signal cancels it, a second one gives it up.
///
/// # Errors
/// What `run` returned, or that it was given up.
pub(crate) async fn until_stopped(
    stop_on: StopOn,
    cancel: CancellationToken,
    run: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let closed = stdin_closed(stop_on);
    tokio::pin!(run);
    tokio::select! {
        ended = &mut run => return ended,
        signal = stop_signal() => tracing::info!(signal = signal.context("listen for signals")?, "stopping"),
        () = closed => tracing::info!("standard input closed, stopping"),
    }
    cancel.cancel();
    tokio::select! {
        ended = run => ended,
        signal = stop_signal() => bail!("given up at the second signal, {}", signal.context("listen for signals")?),
    }
}

/// Waits until standard input closes; for ever if that is no reason to stop.
async fn stdin_closed(stop_on: StopOn) {
    let (sender, receiver) = oneshot::channel();
    if stop_on == StopOn::Signals {
        std::future::pending::<()>().await;
    }
    // Reading cannot be interrupted, so the thread has no owner that awaits it: it ends with the process.
    thread::spawn(move || {
        let mut byte = [0];
        while !matches!(io::stdin().read(&mut byte), Ok(0) | Err(_)) {}
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
