//! Waiting for a moment or for a state, until a signal ends it.

use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

/// How long after one look at a state, or for a signal, the next comes.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A shell calls the end by a signal so much more than the signal's number.
const SIGNAL_CODE: u8 = 128;

/// The exit code of the signal that has come; 0 as long as none has.
static STOP_CODE: AtomicU8 = AtomicU8::new(0);

/// Lets SIGINT and SIGTERM end whatever waits here, so that children and temporary directories go as they do after an
/// error. A second one ends this process at once.
///
/// # Errors
/// If signals cannot be listened to.
pub fn stop_on_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("listen for signals")?;
    let listen = |kind| signal(kind).context("listen for signals");
    let entered = runtime.enter();
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    drop(entered);
    let wait = async move {
        loop {
            let kind = tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            };
            let code = SIGNAL_CODE + kind.as_raw_value() as u8;
            if STOP_CODE.swap(code, Ordering::Relaxed) > 0 {
                process::exit(code.into());
            }
        }
    };
    // Nobody waits for this thread: it ends with the process.
    thread::spawn(move || runtime.block_on(wait));
    Ok(())
}

/// Says why a measurement failed, if it did, and returns the exit code: that of the signal, if one has ended it.
pub fn exit_code(ended: Result<()>) -> ExitCode {
    let Err(error) = ended else { return ExitCode::SUCCESS };
    eprintln!("Error: {error:#}");
    match STOP_CODE.load(Ordering::Relaxed) {
        0 => ExitCode::FAILURE,
        code => ExitCode::from(code),
    }
}

/// Returns the milliseconds since the unix epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Sleeps for `duration`.
///
/// # Errors
/// If a signal has come.
pub fn sleep(duration: Duration) -> Result<()> {
    let end = Instant::now() + duration;
    loop {
        ensure!(STOP_CODE.load(Ordering::Relaxed) == 0, "stopped by a signal");
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}

/// Sleeps until a moment in milliseconds since the unix epoch.
///
/// # Errors
/// If a signal has come.
pub fn sleep_until(at_ms: i64) -> Result<()> {
    sleep(Duration::from_millis((at_ms - now_ms()).max(0) as u64))
}

/// Looks again and again until there is something to see, and returns that.
///
/// # Errors
/// What `look` returns, that `limit` is over, or that a signal has come.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look().with_context(|| what.to_owned())? {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "{what}: not within {limit:?}");
        sleep(LOOK_EVERY)?;
    }
}
