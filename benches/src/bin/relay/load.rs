//! Many simulated children and one primary.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use firetower_benches::{Percentiles, Running, beside, now_ms, wait_for};
use firetower_daemon::Connector;
use firetower_model::{Body, Incarnation, Role, RowId, Sequence, Timestamp};
use firetower_wire::{
    Bytes, DialOptions, Features, FrameDown, FrameHead, FramePart, FrameUp, Hello, Opening, Parent, ParentControl,
    RowKeys, encode_frame, kind,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::fleet::{row_keys, window_rows};

const READY: Duration = Duration::from_secs(60);
/// Row keys in one message.
const KEYS_BATCH: usize = 256;
const WINDOW: Duration = Duration::from_secs(15);
/// Windows of the last hour that a child has, and how often each is put out.
const WINDOWS: i64 = 200;
const REVISIONS: u64 = 8;

/// What `relay load` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many children, one measurement for each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 5, 20, 50, 100])]
    children: Vec<usize>,
    /// Rows of a window.
    #[arg(long, default_value_t = 250)]
    rows: usize,
    /// Frames of each child that are on their way at once.
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// For how long each is measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The firetower binary; without it the one beside this program.
    #[arg(long)]
    firetower: Option<std::path::PathBuf>,
}

pub(crate) async fn measure(options: &Options) -> Result<Value> {
    let mut figures = Vec::new();
    for children in &options.children {
        let figure = measure_one(options, *children).await?;
        println!("{figure}");
        figures.push(figure);
    }
    Ok(figures.into())
}

async fn measure_one(options: &Options, children: usize) -> Result<Value> {
    let directory = tempfile::Builder::new().prefix("firetower-bench-").tempdir()?;
    let (http, grpc) = (free_port()?, free_port()?);
    let mut primary = start_primary(options, directory.path(), children, (http, grpc))?;
    let url = format!("http://127.0.0.1:{http}");
    wait_for("the primary is ready", READY, || {
        primary.check()?;
        Ok(ureq::get(format!("{url}/-/ready")).call().is_ok().then_some(()))
    })?;
    // The kernel's choice of ports is over once they are taken.
    let frames = Arc::new(frames(options.rows)?);
    let keys = Arc::new(row_keys(options.rows));
    let before = (primary.process().read()?, metric(&url, "firetower_relay_batches_total")?);
    let (started, until) = (Instant::now(), Instant::now() + Duration::from_secs(options.seconds));
    let mut senders = JoinSet::new();
    for at in 0..children {
        let child = Simulated {
            name: format!("s{at}"),
            address: format!("127.0.0.1:{grpc}"),
            keys: Arc::clone(&keys),
            frames: Arc::clone(&frames),
            in_flight: options.in_flight,
        };
        senders.spawn(child.run(until));
    }
    let mut latencies = Vec::new();
    while let Some(ended) = senders.join_next().await {
        latencies.extend(ended??);
    }
    let seconds = started.elapsed().as_secs_f64();
    let after = (primary.process().read()?, metric(&url, "firetower_relay_batches_total")?);
    primary.stop()?;
    let latencies = Percentiles::new(latencies);
    let per_second = latencies.count() as f64 / seconds;
    Ok(json!({
        "children": children,
        "frame_bytes": frames.iter().map(|(_, payload)| payload.len()).sum::<usize>() / frames.len(),
        "frames_per_second": per_second,
        "rows_per_second": per_second * options.rows as f64,
        "cpu_seconds": after.0.cpu_seconds - before.0.cpu_seconds,
        "syncs_per_second": (after.1 - before.1) / seconds,
        "resident_mib": after.0.resident_bytes >> 20,
        "peak_mib": after.0.peak_bytes >> 20,
        "acknowledged_ms": { "p50": latencies.at(0.5), "p99": latencies.at(0.99), "worst": latencies.at(1.0) },
    }))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn metric(url: &str, name: &str) -> Result<f64> {
    let text = ureq::get(format!("{url}/metrics")).call()?.body_mut().read_to_string()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.with_context(|| format!("no {name}"))?.parse().with_context(|| format!("read {name}"))
}

fn start_primary(options: &Options, directory: &Path, children: usize, (http, grpc): (u16, u16)) -> Result<Running> {
    let topology = directory.join("topology.yaml");
    let mut secondaries = String::new();
    for at in 0..children {
        write!(secondaries, "{{ node: s{at}, http: 127.0.0.1:{} }}, ", 1_024 + at)?;
    }
    let text = format!(
        "firetower: 1
global: [ {{ node: global-0, http: 127.0.0.1:1, grpc: 127.0.0.1:2 }} ]
regions:
  - region: eu-west
    datacenters:
      - datacenter: dub
        primaries: [ {{ node: p0, http: 127.0.0.1:{http}, grpc: 127.0.0.1:{grpc} }} ]
        secondaries: [ {secondaries} ]
"
    );
    fs::write(&topology, text)?;
    let mut command = Command::new(beside("firetower", options.firetower.as_deref())?);
    command.args(["primary", "--node", "p0", "--topology"]).arg(topology).arg("--data").arg(directory.join("p0"));
    Running::start("p0", directory, &mut command)
}

/// Returns frames of many windows of the last hour, then again with a higher revision, and what kind they are.
fn frames(rows: usize) -> Result<Vec<(u32, Bytes)>> {
    let now = now_ms();
    let frame = |(revision, back): (u64, i64)| {
        let start = Timestamp::from_millis(now - back * WINDOW.as_millis() as i64);
        let body = Body::Rows(window_rows(start, WINDOW, revision, rows));
        Ok((kind(&body), Bytes::from(encode_frame(&body)?)))
    };
    let windows = |revision| (1..WINDOWS).rev().map(move |back| (revision, back));
    (1..=REVISIONS).flat_map(windows).map(frame).collect()
}

/// A child that has frames without end.
struct Simulated {
    name: String,
    address: String,
    keys: Arc<Vec<firetower_model::Labels>>,
    frames: Arc<Vec<(u32, Bytes)>>,
    in_flight: usize,
}

impl Simulated {
    /// Sends frames until `until`, then waits for what is on its way; returns how long each acknowledgement took, in
    /// milliseconds.
    async fn run(self, until: Instant) -> Result<Vec<f64>> {
        let parent = Parent::dial(&Connector::tcp(), &self.address, DialOptions::default()).await?;
        let incarnation = Incarnation { created: Timestamp::from_millis(now_ms()), random: 1 };
        let hello = Hello {
            node: self.name.clone(),
            role: Role::Secondary,
            version: "bench".into(),
            incarnation,
            region: "eu-west".into(),
            datacenter: "dub".into(),
            highest_sequence: Sequence(0),
            row_keys: self.keys.len() as u32,
            settled_through: Sequence(0),
            features: Features::OURS,
        };
        let (_control, mut heard) = parent.control(hello).await?;
        let reply = heard.next().await?;
        ensure!(matches!(reply, Some(ParentControl::HelloReply(_))), "{reply:?}");
        let opening = Opening { node: self.name.clone(), incarnation, features: Features::OURS };
        let (up, mut down) = parent.live(opening).await?;
        for (at, keys) in self.keys.chunks(KEYS_BATCH).enumerate() {
            let first = RowId((at * KEYS_BATCH) as u32);
            up.send(FrameUp::RowKeys(RowKeys { first, keys: keys.to_vec() })).await?;
        }
        let (mut sent, mut open, mut took) = (0u64, Vec::new(), Vec::new());
        loop {
            while open.len() < self.in_flight && Instant::now() < until {
                let (kind, payload) = self.frames[sent as usize % self.frames.len()].clone();
                sent += 1;
                let head = FrameHead {
                    sequence: Sequence(sent),
                    weight: 1,
                    kind,
                    row_keys_needed: self.keys.len() as u32,
                    size: payload.len() as u32,
                };
                open.push((Sequence(sent), Instant::now()));
                up.send(FrameUp::Part(FramePart { head: Some(head), content: payload })).await?;
            }
            if open.is_empty() {
                return Ok(took);
            }
            match down.next().await?.context("the primary has ended the call")? {
                FrameDown::Acknowledged(ranges) => open.retain(|(sequence, since)| {
                    let is_done = ranges.iter().any(|range| range.contains(sequence));
                    if is_done {
                        took.push(since.elapsed().as_secs_f64() * 1e3);
                    }
                    !is_done
                }),
                FrameDown::Credit { .. } => {}
                other => anyhow::bail!("the primary says {other:?}"),
            }
        }
    }
}
