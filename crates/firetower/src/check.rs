//! `firetower check`.

mod metrics;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use firetower_topology::{Complaint, consequences, key_reference, read};

use crate::arguments::Check;
use crate::load;
use crate::output::print;

/// Checks a file; complaints go to standard error, what follows from it to standard output.
pub(crate) fn check(what: &Check) -> anyhow::Result<ExitCode> {
    match what {
        Check::Topology { file } => check_topology(file),
        Check::Metrics { format, file } => metrics::check_page(*format, file.as_deref()),
        Check::Keys => {
            print(&key_reference())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check_topology(path: &Path) -> anyhow::Result<ExitCode> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let checked = match read(&path.display().to_string(), &text) {
        Ok(checked) => checked,
        Err(complaints) => return Ok(complain(&complaints)),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let found: Vec<load::Found> =
        checked.topology.datacenters().map(|datacenter| load::targets(datacenter, folder)).collect();
    for warning in &checked.warnings {
        eprintln!("warning: {warning}");
    }
    for warning in found.iter().flat_map(|found| found.warnings.iter().chain(&found.missing)) {
        eprintln!("warning: {warning}");
    }
    let complaints: Vec<Complaint> = found.iter().flat_map(|found| found.complaints.iter().cloned()).collect();
    if !complaints.is_empty() {
        return Ok(complain(&complaints));
    }
    let counts: Vec<usize> = found.iter().map(|found| found.targets.len()).collect();
    print(&consequences(&checked.topology, &counts).to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn complain(complaints: &[Complaint]) -> ExitCode {
    for complaint in complaints {
        eprintln!("{complaint}");
    }
    ExitCode::FAILURE
}
