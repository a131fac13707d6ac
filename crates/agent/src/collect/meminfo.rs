//! Memory.

use std::fs;

use crate::collect::Error;
use crate::page::{Kind, Page};

const PATH: &str = "/proc/meminfo";

/// Writes every line of `/proc/meminfo`.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    let text = fs::read_to_string(PATH).map_err(|source| Error::Read { path: PATH, source })?;
    write(page, &text)
}

/// Writes every line of `text`; `procfs` would keep only those whose names it knows, and kernels keep adding some.
pub(crate) fn write(page: &mut Page, text: &str) -> Result<(), Error> {
    for line in text.lines() {
        let (name, value) = parse(line).ok_or_else(|| Error::Malformed { path: PATH, line: line.to_owned() })?;
        page.single(&name, Kind::Gauge, "What /proc/meminfo calls so; see proc_meminfo(5).", value);
    }
    Ok(())
}

/// Returns a line's metric and its value, in bytes where it is in kB: `Active(anon)` is `Active_anon_bytes`.
pub(crate) fn parse(line: &str) -> Option<(String, u64)> {
    let (key, rest) = line.split_once(':')?;
    let key = key.replace('(', "_").replace(')', "");
    match rest.trim().split_once(' ') {
        Some((value, "kB")) => {
            Some((format!("node_memory_{key}_bytes"), value.parse::<u64>().ok()?.checked_mul(1024)?))
        }
        Some(_) => None,
        None => Some((format!("node_memory_{key}"), rest.trim().parse().ok()?)),
    }
}
