//! The live table.

use std::time::Instant;

use crate::client::Client;
use crate::output::print;
use crate::show::status_text;
use crate::table::{count, coverage, time_of_day};

use super::plan::Plan;

/// Where the tree is shown: in place on a terminal, a line for each window elsewhere.
pub(super) struct Screen {
    is_terminal: bool,
    began: Instant,
    addresses: String,
    is_first: bool,
}

impl Screen {
    pub(super) fn new(plan: &Plan, is_terminal: bool) -> Screen {
        let http = &plan.global_http;
        let addresses = format!(
            "open  http://{http}/api/v1/status\n      http://{http}/api/v1/rows?name=up\n      http://{http}/health/summary\n      http://{http}/metrics\n\
             ask   firetower status, firetower health, firetower query up --url http://{}\n",
            plan.processes
                .iter()
                .find(|process| process.name.starts_with("secondary"))
                .map_or("", |process| &process.addresses[0]),
        );
        Screen { is_terminal, began: Instant::now(), addresses, is_first: true }
    }

    /// Asks the global aggregator and shows what it says.
    pub(super) fn show(&mut self, client: &Client) -> anyhow::Result<()> {
        let body = client.json("/api/v1/status", &[])?;
        let data = &body["data"];
        if self.is_terminal {
            // Home, then clear to the end: less flicker than the other way round.
            let text = format!("\x1b[H\x1b[J{}\n{}\nCtrl-C stops everything.\n", status_text(data), self.addresses);
            return Ok(print(&text)?);
        }
        if std::mem::take(&mut self.is_first) {
            print(&format!("\n{}\n", self.addresses))?;
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
