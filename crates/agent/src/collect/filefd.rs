//! Open files.

use procfs::sys::fs::{FileState, file_nr};

use crate::collect::Error;
use crate::page::{Kind, Page};

/// Writes how many files are open on the host, and how many may be.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    write(page, &file_nr()?);
    Ok(())
}

/// Writes `files`.
pub(crate) fn write(page: &mut Page, files: &FileState) {
    page.single("node_filefd_allocated", Kind::Gauge, "File handles in use.", files.allocated);
    page.single("node_filefd_maximum", Kind::Gauge, "File handles that may be in use.", files.max);
}
