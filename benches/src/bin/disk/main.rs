//! `disk`: feeds pages to a store, lets it settle, and says what a sample takes.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use firetower_benches::{Feed, Page, Pages, Recorded, Values};
use firetower_model::{Labels, Select, TimeRange, Timestamp};
use firetower_store::{Appender, Batch, Options, Store};

/// Memory for settling, as a secondary has it.
const SETTLE_BYTES: usize = 32 << 20;
/// Scrapes fed between two looks at whether a bucket is over.
const SETTLE_EVERY: u64 = 60;

/// Feeds pages to a store as fast as it takes them, and says what a sample takes.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Takes recorded pages: one folder a host, in it a file a page, in time order of their names.
    #[arg(long, value_name = "DIR")]
    recorded: Option<PathBuf>,
    /// Of so many recorded pages one is taken.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// What simulated values are like.
    #[arg(long, value_enum, default_value_t = Values::Lifelike)]
    values: Values,
    /// How many hosts to simulate.
    #[arg(long, default_value_t = 64)]
    hosts: usize,
    /// How many lines each has.
    #[arg(long, default_value_t = 1000)]
    series: usize,
    /// How many scrapes, of those there are.
    #[arg(long, default_value_t = 1200)]
    scrapes: u64,
    /// How many scrapes are in a bucket.
    #[arg(long, default_value_t = 480)]
    bucket: u32,
    /// Time from scrape to scrape, as the store is told.
    #[arg(long, default_value_t = 15)]
    interval_seconds: u32,
    /// Memory for what is not yet in files, in MiB: less makes as many files of less data.
    #[arg(long, default_value_t = 64)]
    write_buffer_mib: usize,
}

/// What is fed.
struct Source {
    pages: Pages,
    hosts: usize,
    /// How many scrapes of each host.
    scrapes: u64,
    /// Of so many pages one is taken.
    every: u64,
}

/// What was spent, in nanoseconds of this thread's time.
#[derive(Default)]
struct Spent {
    append: u64,
    commit: u64,
    settle: u64,
    longest_step: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let source = source(&arguments)?;
    measure(&arguments, &source)
}

fn source(arguments: &Arguments) -> Result<Source> {
    let Arguments { hosts, scrapes, every, .. } = *arguments;
    let Some(directory) = &arguments.recorded else {
        let page = Page::new(1, arguments.series).with_decimals().with_values(arguments.values);
        return Ok(Source { pages: Pages::Node(page), hosts, scrapes, every: 1 });
    };
    let recorded = Recorded::read(directory)?;
    let scrapes = scrapes.min((recorded.pages() as u64).div_ceil(every));
    Ok(Source { hosts: recorded.hosts(), pages: Pages::Recorded(recorded), scrapes, every })
}

fn measure(arguments: &Arguments, source: &Source) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut options = Options::new(Timestamp::from_millis(0), 1);
    options.bucket = Duration::from_secs(u64::from(arguments.bucket) * u64::from(arguments.interval_seconds));
    options.memory.write_buffer_bytes = arguments.write_buffer_mib << 20;
    let store = Store::open(directory.path(), &options)?;
    let written = bytes_written()?;
    let mut run = Run::new(arguments, store.clone(), source.hosts)?;
    for scrape in 0..source.scrapes {
        run.scrape(source, scrape)?;
        if scrape + 1 == u64::from(arguments.bucket) {
            print_rows(&run, &store)?;
        }
        if scrape % SETTLE_EVERY == 0 || scrape + 1 == source.scrapes {
            run.settle(scrape)?;
        }
    }
    store.sync()?;
    store.flush()?;
    print_usage(&run, &store, bytes_written()? - written)?;
    read_back(&run, &store)
}

/// A store that is fed, and what that costs.
struct Run {
    store: Store,
    appender: Appender,
    feed: Feed,
    hosts: usize,
    interval: Duration,
    bucket: u32,
    samples: u64,
    settled: u64,
    spent: Spent,
}

impl Run {
    fn new(arguments: &Arguments, store: Store, hosts: usize) -> Result<Run> {
        let labels = |host: usize| Labels::new([("instance", Page::node_name(host).as_str()), ("job", "node")]);
        Ok(Run {
            appender: store.appender()?,
            feed: Feed::new(&store, &(0..hosts).map(labels).collect::<Vec<_>>())?,
            hosts,
            interval: Duration::from_secs(u64::from(arguments.interval_seconds)),
            bucket: arguments.bucket,
            samples: 0,
            settled: 0,
            spent: Spent::default(),
            store,
        })
    }

    /// Feeds one page of each host.
    fn scrape(&mut self, source: &Source, scrape: u64) -> Result<()> {
        let rows = self.feed.rows(&source.pages, scrape * source.every, self.start_of(scrape), self.interval)?;
        let mut batch = Batch::default();
        let before = thread_nanoseconds()?;
        for row in &rows {
            self.samples += u64::from(self.appender.append(&mut batch, row)?.samples);
        }
        let appended = thread_nanoseconds()?;
        self.store.commit(batch)?;
        self.spent.append += appended - before;
        self.spent.commit += thread_nanoseconds()? - appended;
        Ok(())
    }

    /// Returns when the hosts begin to be scraped for the `scrape`th time.
    fn start_of(&self, scrape: u64) -> Timestamp {
        Timestamp::from_millis(scrape as i64 * self.interval.as_millis() as i64)
    }

    /// Settles what is over at `scrape`.
    fn settle(&mut self, scrape: u64) -> Result<()> {
        let now = self.start_of(scrape + 1);
        while let Some(mut settle) = self.store.settle_due(now, Duration::ZERO, SETTLE_BYTES)? {
            loop {
                let before = thread_nanoseconds()?;
                let is_more = settle.step()?;
                let step = thread_nanoseconds()? - before;
                self.spent.settle += step;
                self.spent.longest_step = self.spent.longest_step.max(step);
                if !is_more {
                    break;
                }
            }
        }
        let buckets = (scrape + 1) / u64::from(self.bucket);
        self.settled = self.samples * buckets * u64::from(self.bucket) / (scrape + 1);
        Ok(())
    }
}

/// Says what rows take before anything is settled.
fn print_rows(run: &Run, store: &Store) -> Result<()> {
    store.flush()?;
    let rows = store.usage()?.iter().find(|family| family.name == "raw_rows").map_or(0, |family| family.file_bytes);
    writeln!(std::io::stdout(), "before settling: {:.4} bytes a sample of rows", ratio(rows, run.samples))?;
    Ok(())
}

fn print_usage(run: &Run, store: &Store, written: u64) -> Result<()> {
    let samples = run.samples;
    writeln!(std::io::stdout(), "{samples} samples of {} hosts, {} of them settled", run.hosts, run.settled)?;
    let mut settled = 0;
    for family in store.usage()?.iter().filter(|family| family.file_bytes > 0) {
        let bytes = family.file_bytes;
        writeln!(
            std::io::stdout(),
            "  {:10} {bytes:>11} bytes  {:.4} a settled sample",
            family.name,
            ratio(bytes, run.settled)
        )?;
        settled += if family.name == "raw_rows" { 0 } else { bytes };
    }
    writeln!(std::io::stdout(), "  settled, with index: {:.4} bytes a sample", ratio(settled, run.settled))?;
    writeln!(std::io::stdout(), "  written: {:.2} bytes a sample to log and files", ratio(written, samples))?;
    let spent = &run.spent;
    writeln!(
        std::io::stdout(),
        "  ns a sample: append {:.1}, commit {:.1}, settle {:.1}; longest step {} ms",
        ratio(spent.append, samples),
        ratio(spent.commit, samples),
        ratio(spent.settle, run.settled),
        spent.longest_step / 1_000_000
    )?;
    Ok(())
}

/// Reads all that is settled.
fn read_back(run: &Run, store: &Store) -> Result<()> {
    let (before, mut found) = (thread_nanoseconds()?, 0);
    for batch in store.select(&[], TimeRange::ALL)? {
        found += batch?.iter().map(|series| series.samples.len() as u64).sum::<u64>();
    }
    ensure!(found == run.samples, "{found} samples are read back of {}", run.samples);
    writeln!(
        std::io::stdout(),
        "  ns a sample: read {:.1}, rows of the last bucket included",
        ratio(thread_nanoseconds()? - before, found)
    )?;
    Ok(())
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Returns how long this thread has run.
fn thread_nanoseconds() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("read this thread's time")?;
    text.split_whitespace().next().and_then(|field| field.parse().ok()).context("read this thread's time")
}

/// Returns how many bytes this process has written.
fn bytes_written() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io").context("read what was written")?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|field| field.parse().ok()).context("read what was written")
}
