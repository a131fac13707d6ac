//! What others write to a secondary: a real Prometheus, and whoever means ill.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Answers, Ports, Process, RawSeries, WriteBody, firetower, fleet, now_ms, wait_for};

const LIMIT: Duration = Duration::from_secs(120);
const JOB: &str = "{job=\"fleet\"}";

#[test]
fn what_a_prometheus_writes_is_what_it_has() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut ports = Ports::claim()?;
    let (port, theirs) = (ports.take()?, ports.take()?);
    let mut secondary = start_secondary(directory.path(), port)?;
    let answers = Answers::of_port(port);
    wait_for("the secondary is ready", LIMIT, || Ok(answers.is_ready()?.then_some(())))?;
    let mut targets = start_fleet(directory.path())?;
    let mut prometheus = start_prometheus(directory.path(), theirs, port)?;
    let peer = Answers::of_port(theirs);
    wait_for("samples arrive", LIMIT, || {
        prometheus.check_running()?;
        let found = answers.series(&format!("{JOB}[1m]"))?;
        Ok(found.iter().any(|series| series.samples.len() >= 3).then_some(()))
    })?;
    // It goes on from where it was once it is there again.
    secondary.kill()?;
    let away_ms = now_ms();
    wait_for("a scrape while nobody listens", LIMIT, || Ok((now_ms() > away_ms + 2_000).then_some(())))?;
    secondary = start_secondary(directory.path(), port)?;
    wait_for("all of that arrives", LIMIT, || {
        secondary.check_running()?;
        let newest = answers.series("up[5m]").unwrap_or_default();
        let newest = newest.iter().flat_map(|up| &up.samples).map(|(at, _)| *at).max();
        Ok((newest > Some(away_ms + 3_000)).then_some(()))
    })?;
    // Series end with a marker, which is written too.
    targets.kill()?;
    wait_for("the targets are down", LIMIT, || {
        let ups = answers.series("up{job=\"fleet\"}")?;
        Ok((ups.len() == 5 && ups.iter().all(|up| up.samples[0].1 == 0.0)).then_some(()))
    })?;
    ensure!(answers.series("fleet_scrapes_total")?.is_empty(), "what has ended is not in an instant's answer");
    let end_ms = now_ms() - 3_000;
    wait_for("both have the same", LIMIT, || {
        let (ours, theirs) = (until(&answers, end_ms)?, until(&peer, end_ms)?);
        ensure!(theirs.len() > 100, "{} series", theirs.len());
        Ok((ours == theirs).then_some(()))
    })?;
    let status = answers.json("/api/v1/status")?;
    ensure!(status["data"]["targets"]["total"] == 0, "they are no targets: {status}");
    check_lists(port, answers.series("{job=\"fleet\"}[10m]")?.len())?;
    ensure!(answers.metric("firetower_write_requests_total{outcome=\"ok\"}")?.is_some_and(|count| count > 0.0), "ok");
    ensure!(answers.metric("firetower_write_requests_total{outcome=\"partial\"}")?.is_none(), "nothing is refused");
    secondary.terminate()?;
    let status = secondary.wait(LIMIT)?;
    ensure!(status.code() == Some(0), "ended with {status}: {}", secondary.last_lines());
    Ok(())
}

#[test]
fn hostile_bodies_cost_nothing_but_an_answer() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut ports = Ports::claim()?;
    let port = ports.take()?;
    let mut secondary = start_secondary(directory.path(), port)?;
    let answers = Answers::of_port(port);
    wait_for("the secondary is ready", LIMIT, || Ok(answers.is_ready()?.then_some(())))?;
    let now = now_ms();
    let write = |body: &[u8]| answers.write("/api/v1/write", body);
    let check = |body: &[u8], status: u16, text: &str| -> Result<()> {
        let answer = write(body)?;
        ensure!(answer.0 == status && answer.1.contains(text), "{answer:?}, not {status} {text}");
        Ok(())
    };
    let good = WriteBody::new().series(&[("__name__", "good"), ("job", "j")], &[(now, 1.0)]);
    check(&good.packed(), 204, "")?;
    check(b"", 400, "decompress")?;
    check(&[0xff; 4_096], 400, "decompress")?;
    check(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], 413, "over the limit")?;
    // One byte becomes 21: 32 MiB of zeros are no fields, 16 million series without anything are.
    check(&WriteBody::zeros(32 << 20), 400, "decode write request")?;
    check(&WriteBody::empty_series(16 << 20), 413, "series in a write request of size 200001")?;
    let twice = WriteBody::new().series(&[("__name__", "m"), ("a", "1"), ("a", "2")], &[(now, 1.0)]);
    let twice = twice.series(&[("__name__", "kept")], &[(now, 2.0)]);
    check(&twice.packed(), 400, "the label \"a\" is there twice")?;
    ensure!(answers.series("kept")?.len() == 1, "the rest of a request is kept");
    let old = WriteBody::new().series(&[("__name__", "old")], &[(now - 2 * 86_400_000, 1.0)]);
    check(&old.packed(), 400, "older than 86400s")?;
    let early = WriteBody::new().series(&[("__name__", "early")], &[(now + 3_600_000, 1.0)]);
    check(&early.packed(), 400, "ahead")?;
    ensure!(answers.series("good")?.len() == 1, "what was good is there");
    let refused = answers.metric("firetower_write_refused_samples_total{reason=\"bad_labels\"}")?;
    ensure!(refused == Some(1.0), "{refused:?}");
    let peak = peak_kib(&secondary)?;
    ensure!(peak < 400 << 10, "{peak} KiB at most: a bomb of gigabytes was not unpacked");
    secondary.check_running()
}

/// Asks as Prometheus's own tool does; `count` series there are.
fn check_lists(port: u16, count: usize) -> Result<()> {
    let server = format!("http://127.0.0.1:{port}");
    let ask = |arguments: &[&str]| -> Result<Vec<String>> {
        let output = Command::new("promtool").arg("query").args(arguments).output().context("start promtool")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    };
    let series = ask(&["series", "--match={job=\"fleet\"}", &server])?;
    ensure!(series.len() == count, "{} series of {count}", series.len());
    ensure!(ask(&["series", "--match=nobody", &server])?.is_empty(), "no series");
    let instances = ask(&["labels", &server, "instance"])?;
    ensure!(instances.len() == 5 && instances.is_sorted(), "{instances:?}");
    let jobs = ask(&["labels", &server, "job"])?;
    ensure!(jobs == ["fleet"], "{jobs:?}");
    Ok(())
}

/// Returns labels and samples of the fleet's series until `end_ms`, values by their text.
fn until(answers: &Answers, end_ms: i64) -> Result<BTreeMap<String, Vec<(i64, u64)>>> {
    let found = answers.series(&format!("{JOB}[10m] @ {}", end_ms as f64 / 1e3))?;
    let bits = |series: &RawSeries| series.samples.iter().map(|(at, value)| (*at, value.to_bits())).collect();
    Ok(found.iter().map(|series| (format!("{:?}", series.labels), bits(series))).collect())
}

fn peak_kib(process: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).with_context(|| format!("no VmHWM: {status}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn start_secondary(directory: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new(firetower()?);
    command.args(["secondary", "--standalone", "--http", &format!("127.0.0.1:{port}"), "--data"]);
    command.arg(directory.join("data"));
    Process::start("secondary", directory, &mut command).context("start the secondary")
}

fn start_fleet(directory: &Path) -> Result<Process> {
    let targets = directory.join("targets.json");
    let mut command = Command::new(fleet()?);
    command.args(["--targets", "5", "--series", "50", "--write-file-sd"]).arg(&targets);
    let fleet = Process::start("fleet", directory, &mut command)?;
    wait_for("the fleet listens", LIMIT, || Ok(targets.exists().then_some(())))?;
    Ok(fleet)
}

fn start_prometheus(directory: &Path, port: u16, to: u16) -> Result<Process> {
    let config = directory.join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs:\n  - job_name: fleet\n    file_sd_configs: [ {{ files: [ targets.json ] }} ]\n\
         remote_write:\n  - url: http://127.0.0.1:{to}/api/v1/write\n    queue_config: {{ batch_send_deadline: 1s }}\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let prometheus = Process::start("prometheus", directory, &mut command)?;
    let answers = Answers::of_port(port);
    wait_for("Prometheus is ready", LIMIT, || Ok(answers.is_ready().unwrap_or(false).then_some(())))?;
    Ok(prometheus)
}
