//! The time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::collect::Error;
use crate::page::{Kind, Page};

/// Writes the host's own time of day: it is a reading like the others, by which a wrong clock shows, and so not the
/// clock that the process is handed.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    write(page, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    Ok(())
}

/// Writes the time `since_epoch`.
pub(crate) fn write(page: &mut Page, since_epoch: Duration) {
    page.single("node_time_seconds", Kind::Gauge, "The host's time of day, in unix time.", since_epoch.as_secs_f64());
}
