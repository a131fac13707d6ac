//! One question to a whole tree beside the same question to each of its secondaries.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use firetower_benches::{Percentiles, Running, beside, sleep, wait_for};
use form_urlencoded::byte_serialize;
use serde_json::{Value, json};

use crate::Common;
use crate::run::{Directory, Fleet, READY, free_ports, get_json};
use crate::table::print_table;

/// Names of the datacenters.
const DATACENTERS: [&str; 3] = ["dub", "ams", "nyc"];
/// Secondaries of each.
const SECONDARIES: usize = 2;
/// What is asked.
const QUERIES: &[&str] = &[
    "count(up == 0) or vector(0)",
    "sum by (datacenter) (rate(node_cpu_seconds_total[1m]))",
    "sum by (mode) (rate(node_cpu_seconds_total[1m]))",
    "topk(5, scrape_duration_seconds)",
    "quantile(0.9, scrape_duration_seconds)",
];

/// What `compare questions` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds of scraping before the first question.
    #[arg(long, default_value_t = 90)]
    warmup_seconds: u64,
    /// How often each is asked.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
}

struct Monitor {
    name: String,
    role: &'static str,
    http: u16,
    grpc: u16,
}

/// Asks everything of the global aggregator and of each secondary, in turns.
pub(crate) fn measure(options: &Options, common: &Common) -> Result<Value> {
    let directory = Directory::make(common, "questions")?;
    let fleet = Fleet::start(common, directory.path(), &[])?;
    let monitors = monitors()?;
    split_targets(directory.path())?;
    fs::write(directory.path().join("topology.yaml"), topology(common, directory.path(), &monitors))?;
    let mut running = Vec::new();
    for monitor in &monitors {
        let mut command = Command::new(beside("firetower", common.firetower.as_deref())?);
        command.args([monitor.role, "--node", &monitor.name, "--topology"]);
        command.arg(directory.path().join("topology.yaml"));
        command.arg("--data").arg(directory.path().join(&monitor.name));
        running.push(Running::start(&monitor.name, directory.path(), &mut command)?);
    }
    for (monitor, running) in monitors.iter().zip(&mut running) {
        wait_for(&format!("{} is ready", monitor.name), READY, || {
            running.check()?;
            Ok(ureq::get(format!("http://127.0.0.1:{}/-/ready", monitor.http)).call().is_ok().then_some(()))
        })?;
    }
    let total = common.targets / DATACENTERS.len() * DATACENTERS.len();
    let all = total.to_string();
    wait_for("all targets are up", READY, || {
        let (_, answer) = ask(&monitors[0], "count(up == 1)")?;
        Ok((answer["data"]["result"][0]["value"][1] == all.as_str()).then_some(()))
    })?;
    sleep(Duration::from_secs(options.warmup_seconds))?;
    let heads =
        ["query", "global p50 ms", "p99", "slowest secondary p50", "p99", "all at once p50", "times", "bytes up"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let mut figures = Vec::new();
    for query in QUERIES {
        let figure = measure_query(query, options.rounds, &monitors)?;
        let cell = |name: &str| format!("{:.1}", figure[name].as_f64().unwrap_or(f64::NAN));
        let cells =
            ["global_p50_ms", "global_p99_ms", "secondary_p50_ms", "secondary_p99_ms", "together_p50_ms", "times"];
        let cells = [&cells.map(cell)[..], &[cell("bytes_up")]].concat();
        rows.push([&[(*query).to_owned()][..], &cells].concat());
        figures.push(figure);
    }
    let (hung, dead) = (monitor_at(&monitors, "dub-s0"), monitor_at(&monitors, "ams-s1"));
    signal(&running[hung], "STOP")?;
    running[dead].kill()?;
    let (took, answer) = ask(&monitors[0], "count(up == 1)")?;
    println!("one secondary stopped by SIGSTOP, one killed, at once asked: {took:.0} ms, {}", answer["coverage"]);
    signal(&running[hung], "CONT")?;
    running.remove(dead);
    running.into_iter().rev().try_for_each(Running::stop)?;
    fleet.running.stop()?;
    print_table(&rows);
    Ok(json!({ "targets": total, "queries": figures, "broken_ms": took, "broken_coverage": answer["coverage"] }))
}

fn measure_query(query: &str, rounds: usize, monitors: &[Monitor]) -> Result<Value> {
    let secondaries: Vec<&Monitor> = monitors.iter().filter(|monitor| monitor.role == "secondary").collect();
    let (mut at_top, mut below) = (Vec::new(), vec![Vec::new(); secondaries.len()]);
    let before = bytes_up(&monitors[0])?;
    let started = Instant::now();
    for _ in 0..rounds {
        let (took, answer) = ask(&monitors[0], query)?;
        ensure!(answer["coverage"]["missing"] == json!([]), "{query}: {answer}");
        at_top.push(took);
    }
    let (asking, bytes) = (started.elapsed(), bytes_up(&monitors[0])? - before);
    for _ in 0..rounds {
        for (monitor, took) in secondaries.iter().zip(&mut below) {
            took.push(ask(monitor, query)?.0);
        }
    }
    let together = (0..rounds).map(|_| ask_together(&secondaries, query)).collect::<Result<Vec<f64>>>()?;
    // As long again without questions: what rows and heartbeats take.
    let before = bytes_up(&monitors[0])?;
    sleep(asking)?;
    let idle = bytes_up(&monitors[0])? - before;
    let at_top = Percentiles::new(at_top);
    let below: Vec<Percentiles> = below.into_iter().map(Percentiles::new).collect();
    let slowest = |share: f64| below.iter().map(|took| took.at(share)).fold(0.0, f64::max);
    Ok(json!({
        "query": query,
        "global_p50_ms": at_top.at(0.5),
        "global_p99_ms": at_top.at(0.99),
        "secondary_p50_ms": slowest(0.5),
        "secondary_p99_ms": slowest(0.99),
        "together_p50_ms": Percentiles::new(together).at(0.5),
        "times": at_top.at(0.5) / slowest(0.5),
        "bytes_up": (bytes - idle).max(0.0) / rounds as f64,
    }))
}

/// Asks, and returns after how many milliseconds what came.
fn ask(monitor: &Monitor, query: &str) -> Result<(f64, Value)> {
    let query: String = byte_serialize(query.as_bytes()).collect();
    let started = Instant::now();
    let answer = get_json(&format!("http://127.0.0.1:{}/api/v1/query?query={query}", monitor.http))?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    ensure!(answer["status"] == "success", "{answer}");
    Ok((took, answer))
}

/// Asks all at once, and returns after how many milliseconds the last has answered: on one machine they share its cores.
fn ask_together(monitors: &[&Monitor], query: &str) -> Result<f64> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let asking: Vec<_> = monitors.iter().map(|monitor| scope.spawn(|| ask(monitor, query).map(drop))).collect();
        asking.into_iter().try_for_each(|asked| asked.join().map_err(|_| anyhow::anyhow!("asking panicked"))?)
    })?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// Returns how many bytes the kernel has taken to a parent from its children.
fn bytes_up(parent: &Monitor) -> Result<f64> {
    let filter = format!("dport = :{}", parent.grpc);
    let output = Command::new("ss").args(["-tinH", &filter]).output().context("run ss, of iproute2")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let acked = text.split_whitespace().filter_map(|word| word.strip_prefix("bytes_acked:"));
    acked.map(|bytes| bytes.parse::<f64>().context("read ss")).sum()
}

fn signal(running: &Running, signal: &str) -> Result<()> {
    let status = Command::new("kill").args([&format!("-{signal}"), &running.process().id.to_string()]).status()?;
    ensure!(status.success(), "kill -{signal}");
    Ok(())
}

fn monitor_at(monitors: &[Monitor], name: &str) -> usize {
    monitors.iter().position(|monitor| monitor.name == name).unwrap_or_default()
}

/// Returns the global aggregator and then all others.
fn monitors() -> Result<Vec<Monitor>> {
    let mut ports = free_ports(2 * (1 + DATACENTERS.len() * (1 + SECONDARIES)))?.into_iter();
    let mut monitor = |name: String, role| {
        let (http, grpc) = (ports.next().context("a port")?, ports.next().context("a port")?);
        Ok(Monitor { name, role, http, grpc })
    };
    let mut monitors: Vec<Result<Monitor>> = vec![monitor("global-0".into(), "global")];
    for datacenter in DATACENTERS {
        monitors.push(monitor(format!("{datacenter}-p0"), "primary"));
        monitors.extend((0..SECONDARIES).map(|at| monitor(format!("{datacenter}-s{at}"), "secondary")));
    }
    monitors.into_iter().collect()
}

/// Gives each datacenter its share of the fleet's targets.
fn split_targets(directory: &Path) -> Result<()> {
    let groups: Vec<Value> = serde_json::from_str(&fs::read_to_string(directory.join("targets.json"))?)?;
    let each = groups.len() / DATACENTERS.len();
    ensure!(each > 0, "too few targets for {} datacenters", DATACENTERS.len());
    for (name, share) in DATACENTERS.iter().zip(groups.chunks_exact(each)) {
        fs::write(directory.join(format!("{name}.json")), json!(share).to_string())?;
    }
    Ok(())
}

fn topology(common: &Common, directory: &Path, monitors: &[Monitor]) -> String {
    let Common { interval_seconds, window_seconds, .. } = common;
    let of = |role: &str, prefix: &str| {
        let here = monitors.iter().filter(|monitor| monitor.role == role && monitor.name.starts_with(prefix));
        let line = |Monitor { name, http, grpc, role }: &Monitor| match *role {
            "secondary" => format!("{{ node: {name}, http: 127.0.0.1:{http} }}"),
            _ => format!("{{ node: {name}, http: 127.0.0.1:{http}, grpc: 127.0.0.1:{grpc} }}"),
        };
        here.map(line).collect::<Vec<_>>().join(", ")
    };
    let datacenter = |name: &&str| {
        let targets = directory.join(format!("{name}.json"));
        format!(
            "      - datacenter: {name}
        primaries: [ {} ]
        secondaries: [ {} ]
        scrape_configs:
          - job_name: fleet
            file_sd_configs: [ {{ files: [ {} ] }} ]
",
            of("primary", name),
            of("secondary", name),
            targets.display()
        )
    };
    let datacenters: String = DATACENTERS.iter().map(datacenter).collect();
    format!(
        "firetower: 1
defaults: {{ scrape_interval: {interval_seconds}s, scrape_timeout: {interval_seconds}s, window: {window_seconds}s }}
global: [ {} ]
regions:
  - region: eu-west
    datacenters:
{datacenters}",
        of("global", "")
    )
}
