//! A GET: what a bare socket costs, and what a scrape costs a secondary that has nothing else to do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_benches::{Process, Running, beside, sleep, stop_on_signals, wait_for};

use crate::{Arguments, Stage};

/// Samples of a page, few, so that the page itself costs nothing.
const SERIES: usize = 2;
/// Connections of the bare loop, and targets of the secondary.
const TARGETS: usize = 1_000;
/// How long the fleet may take to listen.
const READY: Duration = Duration::from_secs(10);
const WARMUP: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(15);

/// Measures both.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Stage>> {
    stop_on_signals()?;
    let directory = tempfile::tempdir()?;
    let (fleet, address) = fleet(directory.path())?;
    let bare = bare(&address, arguments.gets)?;
    let scrape = scrape(arguments, directory.path(), &address)?;
    drop(fleet);
    let micros = |seconds: f64| format!("{:.1} µs of processor", seconds * 1e6);
    Ok(vec![Stage::new(
        "scrape of a page of two lines, all of a secondary's work counted",
        micros(scrape),
        format!("GET by a bare socket loop: {}", micros(bare)),
    )])
}

fn fleet(directory: &Path) -> Result<(Running, String)> {
    let mut command = Command::new(beside("fleet", None)?);
    command.args(["--targets", &TARGETS.to_string(), "--series", &SERIES.to_string(), "--write-file-sd"]);
    command.arg(directory.join("targets.json"));
    let mut running = Running::start("fleet", directory, &mut command)?;
    let address = wait_for("the fleet says its address", READY, || {
        running.check()?;
        Ok(running.output()?.strip_suffix('\n').map(str::to_owned))
    })?;
    Ok((running, address))
}

/// Returns the processor seconds of one GET: write, then read until the page is whole, over kept connections.
fn bare(address: &str, gets: usize) -> Result<f64> {
    let mut sockets = Vec::new();
    for target in 0..TARGETS {
        let socket = TcpStream::connect(address).context("connect to the fleet")?;
        socket.set_nodelay(true)?;
        let request = format!("GET /t/{target}/metrics HTTP/1.1\r\nHost: {address}\r\n\r\n");
        sockets.push((socket, request.into_bytes()));
    }
    let own = Process { id: std::process::id() };
    let mut buffer = vec![0u8; 64 << 10];
    let before = own.read()?.cpu_seconds;
    for at in 0..gets {
        let (socket, request) = &mut sockets[at % TARGETS];
        socket.write_all(request)?;
        let read = socket.read(&mut buffer)?;
        ensure!(read > 0 && buffer[..read].ends_with(b"\n"), "a small page comes whole");
    }
    Ok((own.read()?.cpu_seconds - before) / gets as f64)
}

/// Returns the processor seconds of one scrape by a secondary that runs alone.
fn scrape(arguments: &Arguments, directory: &Path, address: &str) -> Result<f64> {
    let config = directory.join("prometheus.yml");
    let targets = directory.join("targets.json");
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n  - job_name: fleet\n    \
         file_sd_configs: [ {{ files: [ {} ] }} ]\n",
        targets.display()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(beside("firetower", arguments.firetower.as_deref())?);
    command.args(["secondary", "--standalone", "--http", "127.0.0.1:0", "--scrape-config"]).arg(&config);
    command.arg("--data").arg(directory.join("data"));
    let running = Running::start("secondary", directory, &mut command)?;
    let secondary = running.process();
    sleep(WARMUP)?;
    let (before, served_before) = (secondary.read()?.cpu_seconds, served(address)?);
    sleep(MEASURED)?;
    let (after, served_after) = (secondary.read()?.cpu_seconds, served(address)?);
    ensure!(served_after > served_before, "the secondary scrapes nothing");
    Ok((after - before) / (served_after - served_before) as f64)
}

fn served(address: &str) -> Result<u64> {
    let mut answer = ureq::get(format!("http://{address}/served")).call().context("ask the fleet")?;
    let served: serde_json::Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
    served["responses"].as_u64().context("responses served")
}
