//! `stages`: each step of a sample's way on its own, beside what the machine could do at best.

#![allow(clippy::print_stdout, reason = "its figures are its output")]

mod get;
mod pages;
mod store;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use firetower_benches::exit_code;

/// Bytes walked through to find how fast memory is; more than any cache holds.
const MEMORY_BYTES: usize = 512 << 20;

/// Measures each stage on its own, with the physical limit beside it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many targets.
    #[arg(long, default_value_t = 256)]
    targets: usize,
    /// How many samples a page has.
    #[arg(long, default_value_t = 1_000)]
    series: usize,
    /// How many scrapes of each target are stored and settled.
    #[arg(long, default_value_t = 240)]
    scrapes: u64,
    /// How many GETs are measured.
    #[arg(long, default_value_t = 20_000)]
    gets: usize,
    /// Which stages.
    #[arg(long, value_delimiter = ',', default_value = "pages,store,get")]
    only: Vec<String>,
    /// The firetower binary; without it the one beside this program.
    #[arg(long)]
    firetower: Option<PathBuf>,
}

/// What a stage came to.
struct Stage {
    name: &'static str,
    figure: String,
    /// What bounds it from below, and that bound.
    limit: String,
}

impl Stage {
    fn new(name: &'static str, figure: String, limit: String) -> Stage {
        Stage { name, figure, limit }
    }
}

fn main() -> ExitCode {
    exit_code(measure(&Arguments::parse()))
}

fn measure(arguments: &Arguments) -> Result<()> {
    let bandwidth = memory_bandwidth();
    let mut stages = Vec::new();
    for group in &arguments.only {
        stages.extend(match group.as_str() {
            "pages" => pages::measure(arguments, bandwidth)?,
            "store" => store::measure(arguments, bandwidth)?,
            "get" => get::measure(arguments)?,
            _ => anyhow::bail!("no stages {group}: there are pages, store and get"),
        });
    }
    println!("| stage | reached | limit |\n| --- | --- | --- |");
    for Stage { name, figure, limit } in stages {
        println!("| {name} | {figure} | {limit} |");
    }
    Ok(())
}

/// Returns how many bytes a second one core reads from memory, in order.
fn memory_bandwidth() -> f64 {
    let words = vec![1u64; MEMORY_BYTES / 8];
    let pass = || black_box(&words).iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
    best_of(3, || _ = black_box(pass())).map_or(f64::NAN, |seconds| MEMORY_BYTES as f64 / seconds)
}

/// Returns the seconds of the fastest of some runs: on a shared machine the others measure the neighbours.
fn best_of(runs: usize, mut run: impl FnMut()) -> Option<f64> {
    let seconds = |_| {
        let started = Instant::now();
        run();
        started.elapsed().as_secs_f64()
    };
    (0..runs).map(seconds).min_by(f64::total_cmp)
}

fn gigabytes(bytes: f64, seconds: f64) -> String {
    format!("{:.2} GB/s", bytes / seconds / 1e9)
}
