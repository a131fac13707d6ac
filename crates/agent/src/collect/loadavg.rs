//! Load averages.

use procfs::{Current, LoadAverage};

use crate::collect::Error;
use crate::page::{Kind, Page};

/// Writes the host's load averages.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    write(page, &LoadAverage::current()?);
    Ok(())
}

/// Writes `load`, in single precision as it was parsed: 0.1 stays 0.1.
pub(crate) fn write(page: &mut Page, load: &LoadAverage) {
    page.single("node_load1", Kind::Gauge, "Load, averaged over 1 minute.", load.one);
    page.single("node_load15", Kind::Gauge, "Load, averaged over 15 minutes.", load.fifteen);
    page.single("node_load5", Kind::Gauge, "Load, averaged over 5 minutes.", load.five);
}
