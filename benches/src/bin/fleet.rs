//! `fleet`: simulates the targets of a datacenter.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use firetower_benches::{Fleet, FleetOptions, Page};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Serves the pages of many simulated node_exporters from one process, and logs what it served.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of the first port; port 0 lets the system choose each.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How many ports; target I answers on port I % PORTS under /t/I/metrics.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    ports: u16,
    /// How many targets.
    #[arg(long, default_value_t = 20)]
    targets: usize,
    /// How many samples a page has.
    #[arg(long, default_value_t = 200)]
    series: usize,
    /// What the values follow from, beside target, line and scrape.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Gives an eighth of the changing lines two decimals.
    #[arg(long)]
    decimals: bool,
    /// Lets counters start again from zero each so many scrapes.
    #[arg(long, default_value_t = 0)]
    reset_every: u64,
    /// Compresses for clients that take gzip.
    #[arg(long)]
    gzip: bool,
    /// How many targets never answer: the last ones.
    #[arg(long, default_value_t = 0)]
    hang: usize,
    /// How many targets answer after LATENCY_MS only: those before.
    #[arg(long, default_value_t = 0)]
    slow: usize,
    /// How long the slow ones take.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// How many targets show a page with a malformed line: those before.
    #[arg(long, default_value_t = 0)]
    malformed: usize,
    /// Where to write "target scrape unix-milliseconds samples" for every response served.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Where to write the targets for file_sd_configs, once they answer.
    #[arg(long)]
    write_file_sd: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(arguments.series >= 2, "--series must be at least 2");
    let mut page = Page::new(arguments.seed, arguments.series).with_resets(arguments.reset_every);
    if arguments.decimals {
        page = page.with_decimals();
    }
    let options = FleetOptions {
        listen: arguments.listen,
        ports: arguments.ports,
        targets: arguments.targets,
        gzip: arguments.gzip,
        slow: arguments.slow,
        latency: Duration::from_millis(arguments.latency_ms),
        hung: arguments.hang,
        malformed: arguments.malformed,
        log: arguments.log,
    };
    let fleet = Fleet::bind(options, page).await.context("listen")?;
    if let Some(path) = arguments.write_file_sd {
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, fleet.file_sd().to_string()).context("write targets")?;
        std::fs::rename(&unfinished, &path).context("write targets")?;
    }
    writeln!(std::io::stdout(), "{}", fleet.address()).context("say the address")?;
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let wait_for_signal = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    };
    let (served, ()) = tokio::join!(fleet.serve(stop.clone()), wait_for_signal);
    served.context("serve")
}
