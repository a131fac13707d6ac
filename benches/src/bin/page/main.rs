//! `page`: what it costs to read pages of known and of new targets, and to remember them.
//!
//! One thread, no network. Each figure stands for one line with a sample; comments are read too, and not counted.
//! Times are medians over the pages, so that a busy machine does not spoil them.

mod fleet;

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use firetower_benches::{Ids, Percentiles};
use firetower_model::{Labels, Timestamp};
use firetower_scrape::{LEADING, PageReader, PageShapes, ReadOptions, Resolve, TargetPage};
use firetower_store::{Options, Store};

use self::fleet::{Kind, Pages};

/// Measures the reading of pages.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many targets.
    #[arg(long, default_value_t = 5_000)]
    targets: usize,
    /// How many samples a page has.
    #[arg(long, default_value_t = 1_000)]
    series: usize,
    /// How often each target is read.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(2..))]
    scrapes: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    writeln!(out, "fleet      first sight  known line  shapes made  held B/line")?;
    for kind in [Kind::Same, Kind::Alike, Kind::Unlike] {
        let figures = measure(&arguments, kind)?;
        let Figures { first_sight, known, shapes, held } = figures;
        let name = kind.name();
        writeln!(out, "{name:<9}  {first_sight:>8.0} ns  {known:>7.1} ns  {shapes:>11}  {held:>11.1}")?;
    }
    Ok(())
}

struct Figures {
    first_sight: f64,
    known: f64,
    shapes: u64,
    held: f64,
}

fn measure(arguments: &Arguments, kind: Kind) -> Result<Figures> {
    let pages = Pages::new(kind, arguments.series);
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path(), &Options::new(Timestamp::from_millis(1), 1))?;
    let labels = [("instance", "host-00001:9100"), ("job", "node"), ("region", "eu"), ("datacenter", "dub")];
    let mut ids = Ids::new(store.clone(), Labels::new(labels))?;
    let (mut reader, shapes) = (PageReader::default(), PageShapes::default());
    let mut targets: Vec<TargetPage> = (0..arguments.targets).map(|_| TargetPage::default()).collect();
    let mut text = Vec::new();
    let mut took = vec![Vec::new(); arguments.scrapes as usize];
    for scrape in 0..arguments.scrapes {
        for (at, target) in targets.iter_mut().enumerate() {
            text.clear();
            pages.render(at, scrape, &mut text);
            let begun = Instant::now();
            read(&mut reader, target, &shapes, &text, &mut ids)?;
            took[scrape as usize].push(begun.elapsed().as_secs_f64() * 1e9 / arguments.series as f64);
        }
    }
    let samples = (arguments.targets * arguments.series) as f64;
    let mut median = |scrape: usize| Percentiles::new(std::mem::take(&mut took[scrape])).at(0.5);
    Ok(Figures {
        first_sight: median(0),
        known: median(arguments.scrapes as usize - 1),
        shapes: store.raw_stats().shapes,
        held: shapes.held().bytes as f64 / samples,
    })
}

fn read(
    reader: &mut PageReader,
    target: &mut TargetPage,
    shapes: &PageShapes,
    page: &[u8],
    ids: &mut dyn Resolve,
) -> Result<()> {
    let (mut row, mut timed) = (vec![0.0; LEADING], Vec::new());
    reader.read(target, shapes, page, ReadOptions::default(), ids, &mut row, &mut timed)?;
    black_box(row);
    Ok(())
}
