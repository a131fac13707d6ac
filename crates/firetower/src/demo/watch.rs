//! The live table.

use std::path::Path;
use std::time::Instant;

use crate::access::Access;
use crate::client::Client;
use crate::output::print;
use crate::show::status_text;
use crate::table::{count, coverage, time_of_day};

use super::plan::Plan;

/// Where the tree is shown: in place on a terminal, a line for each window elsewhere.
pub(super) struct Screen {
    is_terminal: bool,
    began: Instant,
    hints: String,
    is_first: bool,
}

impl Screen {
    pub(super) fn new(plan: &Plan, topology: &Path, is_terminal: bool) -> Screen {
        let topology = topology.display();
        let curl = curl(&plan.global);
        let secondary = plan.processes.iter().find_map(|process| process.name.strip_prefix("secondary "));
        let hints = format!(
            "ask   firetower status --topology {topology}\n      \
                   firetower health --topology {topology}\n      \
                   firetower query up --topology {topology} --node {}\n      \
                   {curl}\n\
             with  export FIRETOWER_TOPOLOGY={topology}   # --topology is that, then\n",
            secondary.unwrap_or_default(),
        );
        Screen { is_terminal, began: Instant::now(), hints, is_first: true }
    }

    /// Asks the global aggregator and shows what it says.
    pub(super) fn show(&mut self, client: &Client) -> anyhow::Result<()> {
        let body = client.json("/api/v1/status", &[])?;
        let data = &body["data"];
        if self.is_terminal {
            // Home, then clear to the end: less flicker than the other way round.
            let text = format!("\x1b[H\x1b[J{}\n{}\nCtrl-C stops everything.\n", status_text(data), self.hints);
            return Ok(print(&text)?);
        }
        if std::mem::take(&mut self.is_first) {
            print(&format!("\n{}\n", self.hints))?;
        }
        let totals = &data["totals"];
        let line = format!(
            "{:6.1}s  {}  targets {}, up {}, degraded {}, down {}, coverage {}\n",
            self.began.elapsed().as_secs_f64(),
            time_of_day(&data["at"]),
            count(&totals["targets"]["total"]),
            count(&totals["targets"]["up"]),
            count(&totals["targets"]["degraded"]),
            count(&totals["targets"]["down"]),
            coverage(&totals["coverage"]),
        );
        Ok(print(&line)?)
    }
}

/// Returns a command that asks a monitor for the rows of `up`.
fn curl(access: &Access) -> String {
    let mut command = "curl -s".to_owned();
    if let Some(ca) = &access.ca {
        command += &format!(" --cacert {}", ca.display());
    }
    if let Some(token_file) = &access.token_file {
        command += &format!(" -H \"Authorization: Bearer $(cat {})\"", token_file.display());
    }
    format!("{command} '{}/api/v1/rows?name=up'", access.url)
}
