//! The kernel's name.

use rustix::system::{Uname, uname};

use crate::collect::Error;
use crate::page::{Kind, Page};

/// Writes what `uname` says.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    write(page, &uname());
    Ok(())
}

/// Writes `name`, with its parts as labels.
pub(crate) fn write(page: &mut Page, name: &Uname) {
    let parts = [
        ("domainname", name.domainname()),
        ("machine", name.machine()),
        ("nodename", name.nodename()),
        ("release", name.release()),
        ("sysname", name.sysname()),
        ("version", name.version()),
    ]
    .map(|(label, value)| (label, value.to_string_lossy()));
    let labels = parts.each_ref().map(|(label, value)| (*label, value.as_ref()));
    page.family("node_uname_info", Kind::Gauge, "The kernel's name, as labels.").line(&labels, 1);
}
