//! A child with backlog behind a slow link.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use firetower_benches::{Percentiles, Process, Proxy, now_ms};
use firetower_daemon::{Clock, Connector, Random};
use firetower_model::{Body, NodeStatus, Role, Timestamp, Window};
use firetower_relay::{Identity, Link, OutboxLimits, Outlet, ParentEvent, RelayMetrics};
use firetower_store::{Batch, Options as StoreOptions, Store};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::fleet::{row_keys, window_rows};

/// The child's name.
pub(crate) const CHILD: &str = "child";

/// What `relay backlog` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rows of a window.
    #[arg(long, default_value_t = 1_000)]
    rows: usize,
    /// Length of a window.
    #[arg(long, default_value_t = 5)]
    window_seconds: u64,
    /// Windows that wait when the link comes up.
    #[arg(long, default_value_t = 200)]
    windows: i64,
    /// How many times the rate of fresh frames the link carries.
    #[arg(long, default_value_t = 25.0)]
    times: f64,
    /// Bits a second that the link carries, in place of `--times`.
    #[arg(long)]
    bits_per_second: Option<u64>,
    /// When to stop if the backlog takes longer.
    #[arg(long, default_value_t = 120)]
    seconds_max: u64,
    /// Bytes of frames that the parent may hold.
    #[arg(long, default_value_t = 64 << 20)]
    inbox_bytes: u64,
}

/// What the parent has said.
#[derive(Debug, Default)]
struct Heard {
    /// When each window came, in milliseconds since the epoch.
    windows: BTreeMap<i64, i64>,
    /// How long each command took, in milliseconds.
    commands: Vec<f64>,
}

/// The parent's process; killed when dropped.
struct Above {
    process: Child,
    address: String,
    heard: Arc<Mutex<Heard>>,
}

impl Drop for Above {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Above {
    fn start(data: &Path, inbox_bytes: u64) -> Result<Above> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["parent", "--inbox-bytes", &inbox_bytes.to_string(), "--data"]).arg(data);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start the parent")?;
        let mut lines = BufReader::new(process.stdout.take().context("its output")?).lines();
        let first = lines.next().context("the parent says nothing")??;
        let address = first.strip_prefix("A ").context("its address")?.to_owned();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let into = Arc::clone(&heard);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                note(&mut into.lock().unwrap_or_else(PoisonError::into_inner), &line);
            }
        });
        Ok(Above { process, address, heard })
    }

    fn heard<T>(&self, read: impl FnOnce(&Heard) -> T) -> T {
        read(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn note(heard: &mut Heard, line: &str) {
    let mut words = line.split(' ');
    let kind = words.next();
    let numbers: Vec<i64> = words.filter_map(|word| word.parse().ok()).collect();
    match (kind, &numbers[..]) {
        (Some("W"), [window, at]) => drop(heard.windows.insert(*window, *at)),
        (Some("C"), [took, _]) => heard.commands.push(*took as f64 / 1e3),
        _ => {}
    }
}

/// The child: a store, and what goes up from it.
struct Below {
    store: Store,
    outlet: Arc<Outlet>,
    rows: usize,
    length: Duration,
}

impl Below {
    fn push(&self, start: Timestamp, now: Timestamp) -> Result<()> {
        let mut batch = Batch::default();
        self.outlet.collect(&mut batch, self.rows as u64);
        let body = Body::Rows(window_rows(start, self.length, 1, self.rows));
        self.outlet.push(&mut batch, &body, self.rows as u64, now)?;
        self.store.commit(batch)?;
        self.store.sync()?;
        self.outlet.publish();
        Ok(())
    }
}

/// Lets windows wait, brings the link up, goes on with fresh windows, and watches until no old one waits.
pub(crate) async fn measure(options: &Options) -> Result<Value> {
    let directory = tempfile::Builder::new().prefix("firetower-bench-").tempdir()?;
    let above = Above::start(&directory.path().join("parent"), options.inbox_bytes)?;
    let clock = Clock::system();
    let store = Store::open(&directory.path().join(CHILD), &StoreOptions::new(clock.now(), 8))?;
    for key in row_keys(options.rows) {
        store.intern_row_key(&key)?;
    }
    let limits = OutboxLimits { bytes: 1 << 30, age: Duration::from_secs(86_400) };
    let outlet = Outlet::open(&store, &["parent".to_owned()], limits)?;
    let length = Duration::from_secs(options.window_seconds);
    let below = Below { store, outlet: Arc::clone(&outlet), rows: options.rows, length };
    let first = Window::containing(clock.now(), length).start();
    let proxy = Proxy::start(above.address.as_str())?;
    deliver_one(&below, &proxy, &clock, first - Duration::from_secs(86_400)).await?;
    for back in (1..=options.windows).rev() {
        let start = first - Duration::from_millis(length.as_millis() as u64 * back as u64);
        below.push(start, start)?;
    }
    let (_, bytes) = outlet.queued();
    let frame_bytes = bytes as f64 / options.windows as f64;
    let live_rate = frame_bytes / length.as_secs_f64();
    let rate = options.bits_per_second.map_or(live_rate * options.times, |bits| bits as f64 / 8.0);
    proxy.set_rate(rate as u64);

    let before = above.heard(|heard| heard.commands.len());
    let cancel = CancellationToken::new();
    let linking = tokio::spawn(link(&below, &proxy, &clock, &cancel).run(cancel.clone()));
    let seen = watch_draining(options, &above, &below, &clock).await;
    cancel.cancel();
    linking.await??;
    let Seen { drained, lateness, resident, is_done } = seen?;
    // The first went before.
    let old = above.heard(|heard| heard.windows.range(..first.as_millis()).count()) - 1;
    let commands = Percentiles::new(above.heard(|heard| heard.commands[before..].to_vec()));
    let account = outlet.accounts(0).remove(0);
    ensure!(account.residual() == 0, "{account:?}");
    Ok(json!({
        "frame_bytes": frame_bytes,
        "link_bytes_per_second": rate,
        "link_times_live_rate": rate / live_rate,
        "backlog_windows_delivered": old,
        "backlog_is_done": is_done,
        "seconds": drained.as_secs_f64(),
        "times_real_time": old as f64 * length.as_secs_f64() / drained.as_secs_f64(),
        "live_windows": lateness.count(),
        "live_late_seconds": { "p50": lateness.at(0.5), "p99": lateness.at(0.99), "worst": lateness.at(1.0) },
        "commands": commands.count(),
        "command_ms": { "p50": commands.at(0.5), "p99": commands.at(0.99), "worst": commands.at(1.0) },
        "sender_resident_mib": { "first": resident.0, "highest": resident.1 },
    }))
}

/// Delivers one window over a link without a limit, so that the parent has the row keys as one has that was away.
async fn deliver_one(below: &Below, proxy: &Proxy, clock: &Clock, start: Timestamp) -> Result<()> {
    let cancel = CancellationToken::new();
    let linking = tokio::spawn(link(below, proxy, clock, &cancel).run(cancel.clone()));
    below.push(start, clock.now())?;
    while below.outlet.queued() != (0, 0) {
        sleep(Duration::from_millis(20)).await;
    }
    cancel.cancel();
    Ok(linking.await??)
}

struct Seen {
    drained: Duration,
    lateness: Percentiles,
    resident: (f64, f64),
    is_done: bool,
}

async fn watch_draining(options: &Options, above: &Above, below: &Below, clock: &Clock) -> Result<Seen> {
    let process = Process { id: std::process::id() };
    let mib = || Ok::<f64, anyhow::Error>(process.read()?.resident_bytes as f64 / f64::from(1 << 20));
    let started = Instant::now();
    // Once the link is up and the first frames have gone.
    sleep(Duration::from_secs(2)).await;
    let (mut pushed, mut resident) = (BTreeMap::new(), (mib()?, 0.0f64));
    let mut window = Window::containing(clock.now(), below.length);
    let mut is_done = false;
    while !is_done && started.elapsed() < Duration::from_secs(options.seconds_max) {
        clock.sleep_until(window.end()).await;
        pushed.insert(window.start().as_millis(), now_ms());
        below.push(window.start(), clock.now())?;
        window = window.next();
        let pause = Instant::now() + below.length / 2;
        while Instant::now() < pause && !is_done {
            resident.1 = resident.1.max(mib()?);
            is_done = above.heard(|heard| heard.windows.len()) as i64 > options.windows + pushed.len() as i64;
            sleep_until(Instant::now() + Duration::from_millis(20)).await;
        }
    }
    let drained = started.elapsed();
    // What was pushed last may still be on its way.
    sleep(below.length.min(Duration::from_secs(2))).await;
    let late = |(start, at): (&i64, &i64)| {
        let came = above.heard(|heard| heard.windows.get(start).copied()).unwrap_or_else(now_ms);
        (came - at) as f64 / 1e3
    };
    let lateness = Percentiles::new(pushed.iter().map(late).collect());
    Ok(Seen { drained, lateness, resident, is_done })
}

fn link(below: &Below, proxy: &Proxy, clock: &Clock, cancel: &CancellationToken) -> Link {
    let (events, mut heard) = mpsc::channel(16);
    let taken = watch::Sender::new(Default::default());
    let status = NodeStatus::silent(CHILD, Role::Secondary, "", "dub", "");
    let link = Link {
        identity: Identity {
            node: CHILD.into(),
            role: Role::Secondary,
            region: String::new(),
            datacenter: "dub".into(),
        },
        parent: "parent".into(),
        address: proxy.address().to_string(),
        connector: Connector::tcp(),
        clock: clock.clone(),
        random: Random::system(),
        outlet: Arc::clone(&below.outlet),
        status: watch::Sender::new(status).subscribe(),
        taken: taken.subscribe(),
        events,
        metrics: RelayMetrics::default(),
        answers: None,
    };
    // Does at once what it is told: so a command's way there and back is what is measured.
    let cancel = cancel.clone();
    tokio::spawn(async move {
        while let Some(event) = tokio::select! { event = heard.recv() => event, () = cancel.cancelled() => None } {
            if let ParentEvent::Assignment { assignment, .. } = event {
                taken.send_replace((assignment.generation, assignment.fingerprint));
            }
        }
    });
    link
}
