//! One secondary alone, from a plain Prometheus file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_benches::{Page, read_log};
use firetower_tests::{Answers, Ports, Process, check_served, firetower, fleet, now_ms, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_secondary_alone_scrapes_stores_and_answers() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut ports = Ports::claim()?;
    let _fleet = start_fleet(directory.path())?;
    let config = directory.path().join("prometheus.yml");
    let text = "global: { scrape_interval: 1s, scrape_timeout: 1s }\n\
        scrape_configs:\n  - job_name: fleet\n    file_sd_configs: [ { files: [ targets.json ] } ]\n";
    fs::write(&config, text)?;
    let port = ports.take()?;
    let start_ms = now_ms();
    let mut secondary = start_secondary(directory.path(), &config, port)?;
    let answers = Answers::of_port(port);
    wait_for("all targets are up", LIMIT, || {
        secondary.check_running()?;
        let ups = answers.series("up")?;
        Ok((ups.len() == 10 && ups.iter().all(|up| up.samples[0].1 == 1.0)).then_some(()))
    })?;
    wait_sampled(&answers, now_ms() + 3_000)?;

    let one = answers.series("fleet_scrapes_total{instance=\"host-00003:9100\"}")?;
    ensure!(one.len() == 1 && one[0].samples.len() == 1, "{one:?}");
    let labels: Vec<(&str, &str)> = one[0].labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [("__name__", "fleet_scrapes_total"), ("instance", "host-00003:9100"), ("job", "fleet")];
    ensure!(labels == expected, "standalone adds no labels: {labels:?}");
    ensure!(answers.series("up{instance=~\"host-0000[12]:9100\",job!=\"other\"}")?.len() == 2, "matchers");
    ensure!(answers.series("nothing_of_this_name")?.is_empty(), "an unknown name gives an empty answer");
    ensure!(answers.get("/api/v1/query?query=up%7B")?.0 == 400, "a broken selector is a bad request");

    check(&answers, directory.path(), start_ms, now_ms() - 1_000)?;
    // What was synced, a second ago or more, survives.
    let (durable_ms, page_ms) = (now_ms() - 1_500, start_ms);
    secondary.kill()?;
    secondary = start_secondary(directory.path(), &config, port)?;
    wait_for("ready again", LIMIT, || Ok(answers.is_ready()?.then_some(())))?;
    check(&answers, directory.path(), page_ms, durable_ms)?;
    secondary.terminate()?;
    let status = secondary.wait(LIMIT)?;
    ensure!(status.code() == Some(0), "ended with {status}: {}", secondary.last_lines());
    Ok(())
}

fn check(answers: &Answers, directory: &Path, start_ms: i64, end_ms: i64) -> Result<()> {
    let raw = answers.series("{job=\"fleet\"}[10m]")?;
    check_served(&Page::new(1, 50), &read_log(&directory.join("fleet.log"))?, &raw, start_ms, end_ms, 1_000)
}

fn wait_sampled(answers: &Answers, until_ms: i64) -> Result<()> {
    wait_for("newer samples", LIMIT, || {
        let ups = answers.series("up[1m]")?;
        Ok(ups.iter().flat_map(|up| &up.samples).any(|(at, _)| *at >= until_ms).then_some(()))
    })
}

fn start_fleet(directory: &Path) -> Result<Process> {
    let targets = directory.join("targets.json");
    let mut command = Command::new(fleet()?);
    command.args(["--targets", "10", "--series", "50", "--gzip", "--log"]).arg(directory.join("fleet.log"));
    command.arg("--write-file-sd").arg(&targets);
    let fleet = Process::start("fleet", directory, &mut command)?;
    wait_for("the fleet listens", LIMIT, || Ok(targets.exists().then_some(())))?;
    Ok(fleet)
}

fn start_secondary(directory: &Path, config: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new(firetower()?);
    command.args(["secondary", "--standalone", "--http", &format!("127.0.0.1:{port}"), "--scrape-config"]).arg(config);
    command.arg("--data").arg(directory.join("data"));
    Process::start("secondary", directory, &mut command).context("start the secondary")
}
