//! What is said in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::act::Ongoing;
use crate::check::Figures;
use crate::plan::Kind;

/// How much of what was said is shown.
const SAID_BYTES_MAX: usize = 160;

/// What became of the faults of one kind.
#[derive(Debug, Default)]
struct OfKind {
    count: usize,
    found: Vec<Duration>,
    missed: Vec<Duration>,
    recovered: Vec<Duration>,
    found_by: Option<String>,
}

/// What became of all faults.
#[derive(Debug, Default)]
pub(crate) struct Report(BTreeMap<Kind, OfKind>);

impl Report {
    /// Adds a fault that is over.
    pub(crate) fn add(&mut self, one: &Ongoing) {
        let of = self.0.entry(one.fault.kind).or_default();
        of.count += 1;
        if let Some((after, line)) = &one.found {
            of.found.push(*after);
            of.found_by.get_or_insert_with(|| essence(line));
        }
        of.missed.extend(one.missed);
        of.recovered.extend(one.recovered);
    }

    /// Returns the table of faults: times are those of the middle and of the slowest. On a link the child finds it, and the
    /// parent too if it lasts.
    pub(crate) fn faults(&self) -> String {
        let head =
            ["FAULT", "COUNT", "FOUND", "AFTER s", "MOST", "BY PARENT", "AFTER s", "MOST", "WELL AGAIN s", "MOST"];
        let mut text = line(&head.map(str::to_owned), "FOUND BY");
        for (kind, of) in &self.0 {
            let found = format!("{}/{}", of.found.len(), of.count);
            let missed = if kind.is_of_link() { format!("{}/{}", of.missed.len(), of.count) } else { "-".to_owned() };
            let cells = [
                kind.name().to_owned(),
                of.count.to_string(),
                found,
                middle(&of.found),
                most(&of.found),
                missed,
                middle(&of.missed),
                most(&of.missed),
                middle(&of.recovered),
                most(&of.recovered),
            ];
            text += &line(&cells, of.found_by.as_deref().unwrap_or("nobody has to: it goes on"));
        }
        text
    }
}

/// Returns what was compared.
pub(crate) fn invariants(figures: &Figures) -> String {
    let mut text =
        format!("{} pages served, {} raw samples held by the secondaries\n", figures.pages_served, figures.raw_samples);
    text += "account of each hop: collected = delivered + queued + dropped, and what the parent applied\n";
    for ((child, parent), hop) in &figures.hops {
        let dropped: Vec<String> = hop.dropped.iter().map(|(reason, samples)| format!("{reason} {samples}")).collect();
        let dropped = if dropped.is_empty() { "0".to_owned() } else { dropped.join(", ") };
        text += &format!(
            "  {child:<8} > {parent:<8}  {:>9} = {:>9} + {} + {dropped}; applied {}\n",
            hop.collected, hop.delivered, hop.queued, hop.applied
        );
    }
    for of in &figures.globals {
        text += &format!(
            "{}: {} rows of {} windows equal the raw samples', {} windows around lost data left out; \
             slots expected {}, reported {}, lost {}\n",
            of.name, of.rows, of.windows, of.windows_left_out, of.expected, of.reported, of.lost
        );
    }
    text += "held by each process, when it had just started and in the end\n";
    for (name, before, now) in &figures.usages {
        text += &format!(
            "  {name:<8}  memory {:>6} > {:>6} kB, files {:>3} > {:>3}, sockets {:>2} > {:>2}, tasks {:>3} > {:>3}\n",
            before.memory_kb,
            now.memory_kb,
            before.files,
            now.files,
            before.sockets,
            now.sockets,
            before.tasks,
            now.tasks
        );
    }
    text
}

fn line(cells: &[String], last: &str) -> String {
    let widths = [32, 5, 6, 8, 6, 9, 8, 6, 12, 6];
    let mut text = String::new();
    for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
        text += &if at == 0 { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
    }
    format!("{text}{last}\n")
}

fn middle(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    seconds(times.get(times.len() / 2))
}

fn most(times: &[Duration]) -> String {
    seconds(times.iter().max())
}

fn seconds(time: Option<&Duration>) -> String {
    time.map_or("-".to_owned(), |time| format!("{:.1}", time.as_secs_f64()))
}

/// Returns the beginning of a log line, without its time and where it was logged.
fn essence(line: &str) -> String {
    let said = line.split_once(": ").map_or(line, |(_, rest)| rest);
    said[..said.floor_char_boundary(SAID_BYTES_MAX)].to_owned()
}
