//! A router on a listener.

use std::io;

use axum::Router;
use firetower_daemon::Listener;
use tokio_util::sync::CancellationToken;

/// Answers requests until `cancel`; then takes no new ones, and ends when those under way are answered.
///
/// # Errors
/// If the listener cannot be used at all; failures of single connections are not errors.
///
/// # Cancel safety
/// If it is dropped, requests under way are cut off.
pub async fn serve(listener: Listener, router: Router, cancel: CancellationToken) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(cancel.cancelled_owned()).await
}
