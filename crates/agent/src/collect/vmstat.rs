//! Paging and swapping.

use std::collections::HashMap;

use procfs::{Current, VmStat};

use crate::collect::Error;
use crate::page::{Kind, Page};

/// Writes the counts of `/proc/vmstat` that node_exporter takes.
pub(crate) fn collect(page: &mut Page) -> Result<(), Error> {
    write(page, &VmStat::current()?.0);
    Ok(())
}

/// Writes those of `counts` that tell of paging, swapping and lack of memory, in the order of their names.
pub(crate) fn write(page: &mut Page, counts: &HashMap<String, i64>) {
    let mut counts: Vec<_> = counts.iter().filter(|(name, _)| is_taken(name)).collect();
    counts.sort();
    for (name, value) in counts {
        page.single(&format!("node_vmstat_{name}"), Kind::Untyped, "What /proc/vmstat calls so.", value);
    }
}

/// Source: the default of node_exporter's `--collector.vmstat.fields`, `^(oom_kill|pgpg|pswp|pg.*fault).*`.
fn is_taken(name: &str) -> bool {
    ["oom_kill", "pgpg", "pswp"].iter().any(|prefix| name.starts_with(prefix))
        || name.strip_prefix("pg").is_some_and(|rest| rest.contains("fault"))
}
