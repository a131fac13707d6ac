//! Prometheus, VictoriaMetrics, and a secondary with its primary attached, in turns over a fresh fleet each.

mod askers;
mod figures;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use firetower_benches::{Page, Running, disk_bytes, read_log, schedule_of, sleep};
use serde_json::{Value, json};

use crate::Common;
use crate::run::{Directory, Fleet, SECONDARY, Tree, free_ports, stored_samples};
use crate::watch::{Watched, watch};

use askers::while_asked;
use figures::{Figures, medians, print};

/// How often stored samples are counted again, and after which time.
const RECOUNTS_MAX: usize = 3;
const RECOUNT_AFTER: Duration = Duration::from_secs(4);

/// What `compare peers` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long to measure, once warm.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How long a peer runs before it is measured.
    #[arg(long, default_value_t = 40)]
    warmup_seconds: u64,
    /// How often each peer takes its turn; medians are printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many clients ask one heavy query after the other meanwhile.
    #[arg(long, default_value_t = 0)]
    askers: usize,
    /// Which peers.
    #[arg(long, value_delimiter = ',', default_value = "prometheus,victoria-metrics,firetower")]
    only: Vec<String>,
    /// Debian's Prometheus.
    #[arg(long, default_value = "prometheus")]
    prometheus: String,
    /// Debian's VictoriaMetrics.
    #[arg(long, default_value = "victoria-metrics")]
    victoria_metrics: String,
    /// Leaves out counting the stored samples through range selectors.
    #[arg(long)]
    no_count: bool,
}

/// A peer that runs, what it scrapes, and where it can be asked.
struct Turn {
    peer: String,
    fleet: Fleet,
    watched: Watched,
    url: String,
    data: PathBuf,
    others_cpu_seconds: f64,
}

/// Measures all peers and prints the tables.
pub(crate) fn measure(options: &Options, common: &Common) -> Result<Value> {
    let mut turns = Vec::new();
    for round in 0..options.rounds {
        for peer in &options.only {
            eprintln!("round {round}: {peer}, {} targets x {} series", common.targets, common.series);
            let directory = Directory::make(common, &format!("{peer}-{round}"))?;
            let turn = match peer.as_str() {
                "firetower" => firetower(options, common, directory.path()),
                "prometheus" | "victoria-metrics" => alone(peer, options, common, directory.path()),
                _ => anyhow::bail!("no peer {peer}: there are prometheus, victoria-metrics and firetower"),
            };
            turns.push(turn.with_context(|| format!("measure {peer}"))?);
            print(&turns);
        }
    }
    let medians = medians(&options.only, &turns);
    Ok(json!({ "medians": medians, "turns": turns.iter().map(Figures::json).collect::<Value>() }))
}

/// Measures a peer that is one process with Prometheus's configuration file.
fn alone(peer: &str, options: &Options, common: &Common, directory: &Path) -> Result<Figures> {
    let fleet = Fleet::start(common, directory, &[])?;
    let config = directory.join("prometheus.yml");
    let interval = common.interval_seconds;
    let text = format!(
        "global: {{ scrape_interval: {interval}s, scrape_timeout: {interval}s }}\nscrape_configs:\n  - job_name: fleet\n    \
         file_sd_configs: [ {{ files: [ {} ] }} ]\n",
        directory.join("targets.json").display()
    );
    std::fs::write(&config, text)?;
    let address = format!("127.0.0.1:{}", free_ports(1)?[0]);
    let data = directory.join(peer);
    let mut command = if peer == "prometheus" {
        let mut command = Command::new(&options.prometheus);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", data.display()));
        command.arg(format!("--web.listen-address={address}"));
        command
    } else {
        let mut command = Command::new(&options.victoria_metrics);
        command.arg(format!("-promscrape.config={}", config.display()));
        command.arg(format!("-storageDataPath={}", data.display()));
        command.arg(format!("-httpListenAddr={address}"));
        command
    };
    let mut running = Running::start(peer, directory, &mut command)?;
    let length = (options.warmup_seconds, options.seconds);
    let (url, process) = (format!("http://{address}"), running.process());
    let watched = while_asked(options.askers, &url, || watch(length, &fleet, process, &mut || running.check()))?;
    let turn = Turn { peer: peer.to_owned(), fleet, watched, url, data, others_cpu_seconds: 0.0 };
    let figures = turn.end(options, common)?;
    running.stop()?;
    Ok(figures)
}

fn firetower(options: &Options, common: &Common, directory: &Path) -> Result<Figures> {
    let fleet = Fleet::start(common, directory, &[])?;
    let mut tree = Tree::start(common, directory)?;
    let process = tree.secondary.process();
    let length = (options.warmup_seconds, options.seconds);
    let url = tree.secondary_url.clone();
    let watched = while_asked(options.askers, &url, || watch(length, &fleet, process, &mut || tree.secondary.check()))?;
    let others =
        [&tree.primary, &tree.global].map(|one| one.process().read().map_or(0.0, |reading| reading.cpu_seconds));
    let turn = Turn {
        peer: "firetower".to_owned(),
        fleet,
        watched,
        url,
        data: directory.join(SECONDARY),
        others_cpu_seconds: others.iter().sum(),
    };
    let figures = turn.end(options, common)?;
    tree.stop()?;
    Ok(figures)
}

impl Turn {
    /// Stops the fleet, so that its log is whole, and holds what it served against what the peer has stored.
    fn end(self, options: &Options, common: &Common) -> Result<Figures> {
        let Turn { peer, fleet, watched, url, data, others_cpu_seconds } = self;
        let log = fleet.log.clone();
        fleet.running.stop()?;
        let disk = disk_bytes(&data);
        let log = read_log(&log)?;
        let served = log.iter().map(|response| response.samples).sum();
        let is_countable = !options.no_count && !common.cadvisor && common.recorded.is_none();
        let stored = match is_countable {
            true => Some(count_stored(&url, common, watched.started.elapsed() + Duration::from_secs(60), served)?),
            false => None,
        };
        let interval = Duration::from_secs(common.interval_seconds);
        let schedule = schedule_of(&log, common.targets, interval, watched.from_ms, watched.to_ms);
        Ok(Figures {
            peer,
            cpu_seconds: watched.cpu_seconds,
            per_million: watched.per_million(),
            whole: watched.to.cpu_seconds / watched.samples_from_start as f64 * 1e6,
            samples: watched.samples,
            mean_bytes: watched.resident_mean(),
            peak_bytes: watched.to.peak_bytes,
            missed: schedule.missed,
            expected: schedule.expected,
            lateness_p99: schedule.lateness.at(0.99),
            served,
            stored,
            disk_bytes: disk,
            others_cpu_seconds,
        })
    }
}

/// Counts until all are there, or nothing is added any more: a peer may show what it has taken some seconds later.
fn count_stored(url: &str, common: &Common, age: Duration, served: u64) -> Result<u64> {
    let page = Page::new(1, common.series);
    let names: BTreeSet<&String> = page.lines().iter().map(|line| &line.name).collect();
    let names: Vec<String> = names.into_iter().cloned().collect();
    let mut stored = stored_samples(url, &names, age)?;
    for _ in 0..RECOUNTS_MAX {
        if stored == served {
            break;
        }
        sleep(RECOUNT_AFTER)?;
        stored = stored_samples(url, &names, age)?;
    }
    Ok(stored)
}
