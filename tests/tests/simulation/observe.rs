//! What the monitors say of themselves while they run, read over their HTTP pages.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use turmoil::net::TcpStream;

use crate::monitors::HTTP_PORT;

/// How often each is asked, and how long it may take to answer.
const EVERY: Duration = Duration::from_millis(1_000);
const ANSWER_LIMIT: Duration = Duration::from_millis(300);
const ACCOUNT: &str = "firetower_relay_account_samples{";
const RESIDUAL: &str = "firetower_relay_account_residual_samples{";

/// What a monitor said last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Since the start of the simulation.
    pub(crate) at: Duration,
    /// Of its account, by parent and term, reasons of drops added up.
    pub(crate) accounts: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Reading {
    /// Returns how much is still on its way up.
    pub(crate) fn queued(&self) -> u64 {
        self.accounts.values().filter_map(|terms| terms.get("queued")).sum()
    }
}

/// What all monitors said last, and the first thing that they should not have said.
type Said = (BTreeMap<String, Reading>, Option<String>);

/// What all monitors said last; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Readings(Arc<Mutex<Said>>);

impl Readings {
    pub(crate) fn all(&self) -> BTreeMap<String, Reading> {
        self.0.lock().expect("no panics").0.clone()
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.0.lock().expect("no panics").1.clone()
    }
}

/// Monitors that are to read the topology again; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Reloads(Arc<Mutex<BTreeSet<String>>>);

impl Reloads {
    pub(crate) fn want(&self, monitor: &str) {
        self.0.lock().expect("no panics").insert(monitor.to_owned());
    }

    /// Tells those that have not heard; one that is down reads the file at its next start.
    async fn tell(&self) {
        // Taken out first: while one is told, it may be wanted once more.
        let wanted = std::mem::take(&mut *self.0.lock().expect("no panics"));
        for monitor in wanted {
            if !timeout(ANSWER_LIMIT, ask(&monitor, "POST /-/reload")).await.is_ok_and(|answer| answer.is_ok()) {
                self.want(&monitor);
            }
        }
    }
}

/// Asks all monitors, for ever.
pub(crate) async fn observe(monitors: Vec<String>, readings: Readings, reloads: Reloads) -> turmoil::Result {
    loop {
        reloads.tell().await;
        for monitor in &monitors {
            // One that is down, or cannot be reached, says nothing.
            let Ok(Ok(page)) = timeout(ANSWER_LIMIT, ask(monitor, "GET /metrics")).await else { continue };
            let at = turmoil::sim_elapsed().unwrap_or_default();
            let read = read(&page, at);
            let mut readings = readings.0.lock().expect("no panics");
            match read {
                Ok(reading) => drop(readings.0.insert(monitor.clone(), reading)),
                Err(violation) => drop(readings.1.get_or_insert(format!("{monitor} at {at:?}: {violation}"))),
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn ask(monitor: &str, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((monitor, HTTP_PORT)).await?;
    let request = format!("{request} HTTP/1.1\r\nHost: monitor\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Reads a page; what it says of an account must close.
fn read(page: &str, at: Duration) -> Result<Reading, String> {
    let mut reading = Reading { at, accounts: BTreeMap::new() };
    for line in page.lines() {
        let value = line.rsplit(' ').next().and_then(|text| text.parse::<f64>().ok());
        if let Some(labels) = line.strip_prefix(RESIDUAL) {
            if value != Some(0.0) {
                return Err(format!("an account does not close: {labels}\n{}", accounts_of(page)));
            }
        } else if let Some(labels) = line.strip_prefix(ACCOUNT) {
            let label = |name: &str| {
                let rest = labels.split_once(&format!("{name}=\""))?.1;
                Some(rest.split_once('"')?.0.to_owned())
            };
            let (Some(parent), Some(term), Some(value)) = (label("parent"), label("term"), value) else {
                return Err(format!("cannot be read: {line}"));
            };
            *reading.accounts.entry(parent).or_default().entry(term).or_default() += value as u64;
        }
    }
    Ok(reading)
}

fn accounts_of(page: &str) -> String {
    page.lines().filter(|line| line.starts_with(ACCOUNT)).collect::<Vec<_>>().join("\n")
}
