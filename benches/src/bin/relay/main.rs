//! `relay`: measures links between the tiers: backlog over a slow one, and many children at once.

#![allow(clippy::print_stdout, reason = "its figures are its output")]

mod backlog;
mod fleet;
mod load;
mod parent;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use firetower_benches::{exit_code, stop_on_signals};

#[derive(Debug, Parser)]
#[command(version, about = "Measures links between the tiers")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Where to write the figures as JSON too.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A child with backlog behind a slow link: how fast it drains, how late fresh frames are, how long a command takes,
    /// how much memory it takes.
    Backlog(backlog::Options),
    /// Many simulated children and one primary: frames and rows a second, memory, syncs, how long acknowledgements take.
    Load(load::Options),
    /// The parent of `backlog`, in a process of its own.
    #[command(hide = true)]
    Parent(parent::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    exit_code(stop_on_signals().and_then(|()| measure(&arguments)))
}

fn measure(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let figures = match &arguments.what {
        What::Backlog(options) => runtime.block_on(backlog::measure(options))?,
        What::Load(options) => runtime.block_on(load::measure(options))?,
        What::Parent(options) => return runtime.block_on(parent::run(options)),
    };
    let text = serde_json::to_string_pretty(&figures)?;
    println!("{text}");
    if let Some(path) = &arguments.json {
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
