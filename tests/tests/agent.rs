//! The agent shows this very host.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Answers, Ports, Process, firetower, wait_for};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn an_agent_shows_this_host() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut ports = Ports::claim()?;
    let port = ports.take()?;
    let mut command = Command::new(firetower()?);
    command.args(["agent", "--http", &format!("127.0.0.1:{port}")]);
    let mut agent = Process::start("agent", directory.path(), &mut command)?;
    let answers = Answers::of_port(port);
    wait_for("the agent is ready", LIMIT, || Ok(answers.is_ready()?.then_some(()))).with_context(|| agent.stderr())?;

    let (status, page) = answers.get("/metrics")?;
    ensure!(status == 200, "status {status}");
    let names = [
        "node_cpu_seconds_total{",
        "node_memory_MemTotal_bytes ",
        "node_memory_MemAvailable_bytes ",
        "node_disk_",
        "node_filesystem_size_bytes{",
        "node_network_receive_bytes_total{",
        "node_load1 ",
    ];
    for name in names {
        ensure!(page.lines().any(|line| line.starts_with(name)), "no {name} in\n{page}");
    }
    let total = value_of(&page, "node_memory_MemTotal_bytes ").context("total memory")?;
    ensure!(total == memory_total()?, "{total} is not this host's memory");

    let status = wait_for("all readings are there", LIMIT, || {
        let status = answers.json("/status")?;
        Ok((!status["cpu_usage"].is_null()).then_some(status))
    })?;
    for key in ["cpu_usage", "memory_usage", "disk_usage"] {
        let percent = status[key].as_f64().with_context(|| format!("{key} of {status}"))?;
        ensure!((0.0..=100.0).contains(&percent), "{key} is {percent}");
    }
    ensure!(status["uptime"].as_f64().is_some_and(|uptime| uptime > 0.0), "{status}");
    agent.terminate()?;
    let ended = agent.wait(LIMIT)?;
    ensure!(ended.code() == Some(0), "the agent ended with {ended}");
    Ok(())
}

fn value_of(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series))?.parse().ok()
}

fn memory_total() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("MemTotal")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}
