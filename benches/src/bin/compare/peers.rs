//! Prometheus and a secondary with its primary attached, in turns over a fresh fleet each.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use firetower_benches::{Page, Percentiles, Process, Reading, read_log, schedule_of};
use serde_json::{Value, json};

use crate::run::{Directory, Fleet, Running, Tree, free_ports, now_ms, sleep_until, stored_samples, wait_for};
use crate::{Common, print_table};

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
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Which peers: prometheus, firetower.
    #[arg(long, value_delimiter = ',', default_value = "prometheus,firetower")]
    only: Vec<String>,
    /// Debian's Prometheus.
    #[arg(long, default_value = "prometheus")]
    prometheus: String,
    /// Leaves out counting the stored samples through range selectors.
    #[arg(long)]
    no_count: bool,
}

/// What one turn of one peer came to.
#[derive(Clone, Debug)]
struct Figures {
    peer: String,
    cpu_seconds: f64,
    samples: u64,
    whole: f64,
    mean_bytes: f64,
    peak_bytes: u64,
    missed: u64,
    expected: u64,
    lateness_p99: f64,
    served: u64,
    stored: Option<u64>,
    others_cpu_seconds: f64,
}

impl Figures {
    fn per_million(&self) -> f64 {
        self.cpu_seconds / self.samples as f64 * 1e6
    }

    fn json(&self) -> Value {
        json!({
            "peer": self.peer,
            "cpu_seconds": self.cpu_seconds,
            "samples": self.samples,
            "cpu_seconds_per_million": self.per_million(),
            "cpu_seconds_per_million_from_start": self.whole,
            "resident_mean_bytes": self.mean_bytes,
            "resident_peak_bytes": self.peak_bytes,
            "scrapes_expected": self.expected,
            "scrapes_missed": self.missed,
            "lateness_p99_seconds": self.lateness_p99,
            "served_samples": self.served,
            "stored_samples": self.stored,
            "primary_and_global_cpu_seconds": self.others_cpu_seconds,
        })
    }
}

/// Measures all peers and prints the table.
pub(crate) fn measure(options: &Options, common: &Common) -> Result<Value> {
    let mut figures = Vec::new();
    for round in 0..options.rounds {
        for peer in &options.only {
            eprintln!("round {round}: {peer}, {} targets x {} series", common.targets, common.series);
            let directory = Directory::make(common, &format!("{peer}-{round}"))?;
            let turn = match peer.as_str() {
                "prometheus" => prometheus(options, common, directory.path()),
                "firetower" => firetower(options, common, directory.path()),
                _ => anyhow::bail!("no peer {peer}"),
            };
            figures.push(turn.with_context(|| format!("measure {peer}"))?);
            print(&figures);
        }
    }
    for peer in &options.only {
        let of_peer = figures.iter().filter(|one| one.peer == *peer);
        let per_million = Percentiles::new(of_peer.map(Figures::per_million).collect());
        println!("{peer}: median of {} rounds: {:.3} CPU-s per million", per_million.count(), per_million.at(0.5));
    }
    Ok(figures.iter().map(Figures::json).collect())
}

fn print(figures: &[Figures]) {
    let head = [
        "peer",
        "CPU-s/M",
        "from start",
        "CPU-s",
        "M samples",
        "RSS mean MiB",
        "peak MiB",
        "missed",
        "of",
        "late p99 s",
        "served",
        "stored",
        "others' CPU-s",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mib = |bytes: f64| format!("{:.0}", bytes / f64::from(1 << 20));
    for one in figures {
        rows.push(vec![
            one.peer.clone(),
            format!("{:.3}", one.per_million()),
            format!("{:.3}", one.whole),
            format!("{:.1}", one.cpu_seconds),
            format!("{:.2}", one.samples as f64 / 1e6),
            mib(one.mean_bytes),
            mib(one.peak_bytes as f64),
            one.missed.to_string(),
            one.expected.to_string(),
            format!("{:.3}", one.lateness_p99),
            one.served.to_string(),
            one.stored.map_or("-".into(), |stored| stored.to_string()),
            format!("{:.1}", one.others_cpu_seconds),
        ]);
    }
    print_table(&rows);
}

fn prometheus(options: &Options, common: &Common, directory: &Path) -> Result<Figures> {
    let fleet = Fleet::start(common, directory)?;
    let config = directory.join("prometheus.yml");
    let interval = common.interval_seconds;
    let text = format!(
        "global: {{ scrape_interval: {interval}s, scrape_timeout: {interval}s }}\nscrape_configs:\n  - job_name: fleet\n    \
         file_sd_configs: [ {{ files: [ {} ] }} ]\n",
        directory.join("targets.json").display()
    );
    std::fs::write(&config, text)?;
    let address = format!("127.0.0.1:{}", free_ports(1)?[0]);
    let mut command = Command::new(&options.prometheus);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()));
    command.arg(format!("--web.listen-address={address}"));
    let mut running = Running::start("prometheus", directory, &mut command)?;
    let measured = watch(options, common, &fleet, running.process(), &mut || running.check())?;
    let figures = measured.figures("prometheus", options, common, fleet, &format!("http://{address}"))?;
    running.stop()?;
    Ok(figures)
}

fn firetower(options: &Options, common: &Common, directory: &Path) -> Result<Figures> {
    let fleet = Fleet::start(common, directory)?;
    let mut tree = Tree::start(common, directory)?;
    let process = tree.secondary.process();
    let measured = watch(options, common, &fleet, process, &mut || tree.secondary.check())?;
    let others =
        [&tree.primary, &tree.global].map(|one| one.process().read().map_or(0.0, |reading| reading.cpu_seconds));
    let mut figures = measured.figures("firetower", options, common, fleet, &tree.secondary_url)?;
    for one in [tree.secondary, tree.primary, tree.global] {
        one.stop()?;
    }
    figures.others_cpu_seconds = others.iter().sum();
    Ok(figures)
}

/// Counts until all are there, or nothing changes any more.
fn count_stored(url: &str, common: &Common, age: Duration, served: u64) -> Result<u64> {
    let page = Page::new(1, common.series);
    let names: BTreeSet<&String> = page.lines().iter().map(|line| &line.name).collect();
    let names: Vec<String> = names.into_iter().cloned().collect();
    let stored = stored_samples(url, &names, age)?;
    if stored == served { Ok(stored) } else { stored_samples(url, &names, age) }
}

/// What was seen of a process while it was measured.
struct Measured {
    started: Instant,
    from: Reading,
    to: Reading,
    samples: u64,
    samples_from_start: u64,
    resident: Vec<f64>,
    from_ms: i64,
    to_ms: i64,
}

/// Lets a peer run warm, then reads what it uses each second.
fn watch(
    options: &Options,
    common: &Common,
    fleet: &Fleet,
    process: Process,
    check: &mut dyn FnMut() -> Result<()>,
) -> Result<Measured> {
    let started = Instant::now();
    wait_for("the first scrape", Duration::from_secs(60), || {
        check()?;
        Ok((fleet.samples()? > 0).then_some(()))
    })?;
    let warm_ms = now_ms() + (options.warmup_seconds * 1_000) as i64;
    sleep_until(warm_ms);
    let (from_ms, from, samples_before) = (now_ms(), process.read()?, fleet.samples()?);
    let mut resident = Vec::new();
    for second in 1..=options.seconds {
        sleep_until(from_ms + (second * 1_000) as i64);
        check()?;
        resident.push(process.read()?.resident_bytes as f64);
    }
    let (to_ms, to, samples_after) = (now_ms(), process.read()?, fleet.samples()?);
    ensure!(samples_after > samples_before, "nothing was scraped for {} s", options.seconds);
    eprintln!("{} targets for {} s: {} samples", common.targets, options.seconds, samples_after - samples_before);
    Ok(Measured {
        started,
        from,
        to,
        samples: samples_after - samples_before,
        samples_from_start: samples_after,
        resident,
        from_ms,
        to_ms,
    })
}

impl Measured {
    /// Stops the fleet, so that its log is whole, and holds what it served against what the peer at `url` has stored.
    fn figures(self, peer: &str, options: &Options, common: &Common, fleet: Fleet, url: &str) -> Result<Figures> {
        let log = fleet.log.clone();
        fleet.running.stop()?;
        let log = read_log(&log)?;
        let served = log.iter().map(|response| response.samples).sum();
        let stored = match options.no_count {
            true => None,
            false => Some(count_stored(url, common, self.started.elapsed() + Duration::from_secs(60), served)?),
        };
        let interval = Duration::from_secs(common.interval_seconds);
        let schedule = schedule_of(&log, common.targets, interval, self.from_ms, self.to_ms);
        Ok(Figures {
            peer: peer.into(),
            cpu_seconds: self.to.cpu_seconds - self.from.cpu_seconds,
            samples: self.samples,
            whole: self.to.cpu_seconds / self.samples_from_start as f64 * 1e6,
            mean_bytes: Percentiles::new(self.resident).mean(),
            peak_bytes: self.to.peak_bytes,
            missed: schedule.missed,
            expected: schedule.expected,
            lateness_p99: schedule.lateness.at(0.99),
            served,
            stored,
            others_cpu_seconds: 0.0,
        })
    }
}
