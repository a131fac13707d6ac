//! A parent that says when what has come, on standard output.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use firetower_benches::now_ms;
use firetower_daemon::{Clock, Listener};
use firetower_model::{Assignment, Generation, HealthReport, KeptLabels, Role, Timestamp, WindowRows};
use firetower_relay::{Callers, Children, Error, Identity, Keeping, Orders, Parent, RelayMetrics, keep};
use firetower_store::{Batch, Options as StoreOptions, Store};
use firetower_wire::{Hello, Refusal};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backlog::CHILD;

/// How often a command is sent.
const COMMAND_EVERY: Duration = Duration::from_millis(100);
/// Commands without an answer, at most.
const OPEN_MAX: usize = 64;

/// What `relay parent` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where its data goes.
    #[arg(long)]
    data: PathBuf,
    /// Bytes of frames that it may hold.
    #[arg(long)]
    inbox_bytes: u64,
}

/// Says `W start-of-window-ms unix-ms` of each window that has come and `C microseconds` of each command answered.
struct Witness {
    store: Store,
    started: Instant,
    open: BTreeMap<u64, Instant>,
    sent: u64,
    due: Instant,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let clock = Clock::system();
    let store = Store::open(&options.data, &StoreOptions::new(clock.now(), 7))?;
    let listener = Listener::bind("127.0.0.1:0").await?;
    println!("A {}", listener.local_address());
    let (to_keeper, calls) = mpsc::channel(8);
    let cancel = CancellationToken::new();
    let now = Instant::now();
    let witness = Witness { store: store.clone(), started: now, open: BTreeMap::new(), sent: 0, due: now };
    let identity =
        Identity { node: "parent".into(), role: Role::Primary, region: String::new(), datacenter: "dub".into() };
    let metrics = RelayMetrics::default();
    let callers = Callers::new(metrics.clone());
    let keeping = Keeping { identity, store, inbox_bytes: options.inbox_bytes, clock, metrics, callers };
    let serving = firetower_wire::serve(listener, to_keeper, firetower_wire::CallMetrics::default(), cancel.clone());
    let (_, kept) = tokio::join!(serving, keep(keeping, witness, calls, cancel));
    Ok(kept?)
}

impl Witness {
    fn say(&self, line: std::fmt::Arguments<'_>) {
        // Whoever reads it is gone when the measurement is over.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

impl Parent for Witness {
    fn admit(&self, _hello: &Hello) -> Result<(), Refusal> {
        Ok(())
    }

    fn greet(&mut self, _child: &str) -> Orders {
        Orders::default()
    }

    fn apply_rows(
        &mut self,
        batch: &mut Batch,
        child: &str,
        rows: WindowRows,
        _weight: u64,
        _now: Timestamp,
    ) -> Result<(), Error> {
        self.store.put_partial(batch, child, &rows)?;
        self.say(format_args!("W {} {}", rows.window.start().as_millis(), now_ms()));
        Ok(())
    }

    fn apply_health(&mut self, _: &mut Batch, _: &str, _: HealthReport, _: Timestamp) -> Result<(), Error> {
        Ok(())
    }

    fn apply_unknown(&mut self, _: &mut Batch, _: u64) {}

    fn apply_kept(&mut self, _: &mut Batch, _: &str, _: KeptLabels) -> Result<(), Error> {
        Ok(())
    }

    fn taken(&mut self, _child: &str, generation: Generation, _fingerprint: u64) {
        if let Some(sent) = self.open.remove(&generation.0) {
            let answered_at = self.started.elapsed().as_millis();
            self.say(format_args!("C {} {answered_at}", sent.elapsed().as_micros()));
        }
    }

    fn tick(&mut self, children: &Children, now: Timestamp) -> Result<(), Error> {
        if self.due <= Instant::now() && children.is_connected(CHILD, now) {
            self.due = Instant::now() + COMMAND_EVERY;
            self.sent += 1;
            self.open.insert(self.sent, Instant::now());
            while self.open.len() > OPEN_MAX {
                self.open.pop_first();
            }
            children.assign(CHILD, Assignment::new(Generation(self.sent), now, Vec::new()));
        }
        Ok(())
    }
}
