//! `compare`: measures the tree, and Debian's Prometheus and VictoriaMetrics beside it, over the same simulated fleet.

#![allow(clippy::print_stdout, reason = "its figures are its output")]

mod bytes;
mod cardinality;
mod churn;
mod freshness;
mod history;
mod peers;
mod queries;
mod questions;
mod restart;
mod run;
mod table;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use firetower_benches::{exit_code, stop_on_signals};

#[derive(Debug, Parser)]
#[command(
    version,
    about = "Measures the tree, and Debian's Prometheus and VictoriaMetrics beside it, over the same simulated fleet"
)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Processor, memory, punctuality, disk: the peers and a secondary with its primary attached, in turns.
    Peers(peers::Options),
    /// Bytes a window from secondary to primary, for fleets of two sizes.
    Bytes(bytes::Options),
    /// How long after its end a window is visible at the global aggregator.
    Freshness(freshness::Options),
    /// A secondary killed and started again: how soon it is ready, whether anything durable is lost.
    Restart(restart::Options),
    /// Memory and disk while a share of the targets is replaced again and again.
    Churn(churn::Options),
    /// One question to the whole tree, beside the same question to each secondary.
    Questions(questions::Options),
    /// One target suddenly exposes a hundred times its series: what that costs the others.
    Cardinality(cardinality::Options),
    /// PromQL: the peers and a secondary answer the same questions over the same data, in turns.
    Queries(queries::Options),
}

/// What every measurement takes.
#[derive(Clone, Debug, Args)]
struct Common {
    /// How many targets.
    #[arg(long, global = true, default_value_t = 5_000)]
    targets: usize,
    /// How many samples a page has.
    #[arg(long, global = true, default_value_t = 200)]
    series: usize,
    /// Seconds between two scrapes of a target.
    #[arg(long, global = true, default_value_t = 10)]
    interval_seconds: u64,
    /// Length of a window.
    #[arg(long, global = true, default_value_t = 15)]
    window_seconds: u64,
    /// Lets the fleet compress its pages.
    #[arg(long, global = true)]
    gzip: bool,
    /// After how many scrapes a target's compressed pages come again, so that the fleet compresses each once; 0 for never.
    #[arg(long, global = true, default_value_t = 0)]
    gzip_cycle: u64,
    /// Makes pages that share little: lines that name the target, that come and go, in orders that differ.
    #[arg(long, global = true)]
    unlike: bool,
    /// Lets the fleet show containers whose pods come and go.
    #[arg(long, global = true)]
    cadvisor: bool,
    /// Lets the fleet show the recorded pages in a directory.
    #[arg(long, global = true, value_name = "DIR")]
    recorded: Option<PathBuf>,
    /// Shortens the secondary's blocks to this, like 2m, so that some settle while it is measured; they wait for late
    /// samples for 30 s then, or a window if that is longer.
    #[arg(long, global = true, value_name = "DURATION")]
    block: Option<String>,
    /// The firetower binary; without it the one beside this program.
    #[arg(long, global = true)]
    firetower: Option<PathBuf>,
    /// The fleet binary; without it the one beside this program.
    #[arg(long, global = true)]
    fleet: Option<PathBuf>,
    /// Where to put data; without it a temporary directory.
    #[arg(long, global = true)]
    directory: Option<PathBuf>,
    /// Where to write the figures as JSON too.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_code(stop_on_signals().and_then(|()| measure(&arguments)))
}

fn measure(arguments: &Arguments) -> Result<()> {
    let figures = match &arguments.what {
        What::Peers(options) => peers::measure(options, &arguments.common)?,
        What::Bytes(options) => bytes::measure(options, &arguments.common)?,
        What::Freshness(options) => freshness::measure(options, &arguments.common)?,
        What::Restart(options) => restart::measure(options, &arguments.common)?,
        What::Churn(options) => churn::measure(options, &arguments.common)?,
        What::Questions(options) => questions::measure(options, &arguments.common)?,
        What::Cardinality(options) => cardinality::measure(options, &arguments.common)?,
        What::Queries(options) => queries::measure(options, &arguments.common)?,
    };
    let text = serde_json::to_string_pretty(&figures)?;
    println!("\n{text}");
    if let Some(path) = &arguments.common.json {
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
