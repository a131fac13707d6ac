//! Where reading that may block leaves the runtime's own threads.

use firetower_daemon::aside;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::error::Error;

/// Runs `read`, which may block, on a thread of its own; on a runtime of one thread it simply runs.
///
/// # Errors
/// What `read` returned, or [`Error::Unavailable`] if it panicked or the runtime is stopping.
///
/// # Cancel safety
/// `read` runs to its end even if this is dropped; its answer is lost then.
pub(crate) async fn blocking<T: Send + 'static>(
    step: &'static str,
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return read();
    }
    match aside("read", read).await {
        Ok(Some(answer)) => answer,
        Ok(None) => Err(Error::Unavailable { step, source: "its thread ended".into() }),
        Err(source) => Err(Error::Unavailable { step, source: Box::new(source) }),
    }
}
