//! The store: appending, settling, reading, and how many bytes it writes for each that stays.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use firetower_benches::{Page, disk_bytes};
use firetower_model::{Kind, Labels, Matcher, MetricId, PageRow, Select, ShapeId, TargetId, TimeRange, Timestamp};
use firetower_store::{Batch, Options, Store};

use crate::{Arguments, Stage, gigabytes};

const INTERVAL_MS: i64 = 15_000;
/// Memory for settling, as the secondary's.
const SETTLE_BYTES: usize = 32 << 20;

/// Measures over a store of its own.
pub(crate) fn measure(arguments: &Arguments, bandwidth: f64) -> Result<Vec<Stage>> {
    let directory = tempfile::tempdir()?;
    let mut options = Options::new(Timestamp::from_millis(0), 1);
    let length_ms = arguments.scrapes as i64 * INTERVAL_MS;
    options.bucket = Duration::from_millis(length_ms as u64);
    let store = Store::open(directory.path(), &options)?;
    let page = Page::new(1, arguments.series).with_decimals();
    let (targets, metrics, shape) = names(&store, arguments, &page)?;
    let written_before = written_bytes()?;
    let append = append(&store, arguments, &page, &targets, shape)?;
    store.sync()?;
    let samples = (arguments.targets * arguments.series) as f64 * arguments.scrapes as f64;
    let before_settling = disk_bytes(directory.path());
    let started = Instant::now();
    let end = Timestamp::from_millis(length_ms);
    let settle = store.settle_due(end, Duration::ZERO, SETTLE_BYTES)?.context("a bucket is due")?;
    settle.run()?;
    let settle = started.elapsed().as_secs_f64();
    let read = read(&store, &metrics, samples)?;
    // Dropped, it writes what is still in memory; opened again, it drops its log.
    drop(store);
    drop(Store::open(directory.path(), &options)?);
    let (written, stays) = (written_bytes()? - written_before, disk_bytes(directory.path()));
    let raw = samples * 8.0;
    let per_sample = |bytes: u64| bytes as f64 / samples;
    Ok(vec![
        Stage::new(
            "append and commit, one batch a scrape of all targets",
            format!("{}, {:.1} ns a sample", gigabytes(raw, append), append / samples * 1e9),
            format!("memory, twice: {}", gigabytes(bandwidth / 2.0, 1.0)),
        ),
        Stage::new(
            "settle: rows to encoded blocks",
            format!("{} of values, {:.1} ns a sample", gigabytes(raw, settle), settle / samples * 1e9),
            format!("memory, twice: {}", gigabytes(bandwidth / 2.0, 1.0)),
        ),
        Stage::new(
            "decode: all series of each metric selected",
            format!("{} of values, {:.1} ns a sample", gigabytes(raw, read), read / samples * 1e9),
            format!("memory, twice, 16 bytes a sample: {}", gigabytes(bandwidth / 4.0, 1.0)),
        ),
        Stage::new(
            "bytes on disk a sample",
            format!("{:.2} unsettled, {:.2} settled, all files", per_sample(before_settling), per_sample(stays)),
            format!("entropy of the values: {:.2}", entropy_bytes(arguments, &page)),
        ),
        Stage::new(
            "write amplification",
            format!("{:.1} bytes written for each that stays", written as f64 / stays as f64),
            "2: once to the log, once to a block".into(),
        ),
    ])
}

fn names(store: &Store, arguments: &Arguments, page: &Page) -> Result<(Vec<TargetId>, Vec<String>, ShapeId)> {
    let target = |target: usize| {
        let labels = Labels::new([("job", "fleet".to_owned()), ("instance", Page::node_name(target))]);
        Ok(store.intern_target(&labels)?)
    };
    let targets: Vec<TargetId> = (0..arguments.targets).map(target).collect::<Result<_>>()?;
    let metric = |(at, line): (usize, &firetower_benches::Line)| {
        let kind = if line.is_cumulative() { Kind::Counter } else { Kind::Gauge };
        let labels = Labels::new([("__name__", line.name.clone()), ("line", at.to_string())]);
        Ok(store.intern_metric(&labels, kind)?)
    };
    let metrics: Vec<MetricId> = page.lines().iter().enumerate().map(metric).collect::<Result<_>>()?;
    let mut names: Vec<String> = page.lines().iter().map(|line| line.name.clone()).collect();
    names.dedup();
    Ok((targets, names, store.intern_shape(&metrics)?))
}

/// Returns the seconds that appending and committing took, without making the values.
fn append(store: &Store, arguments: &Arguments, page: &Page, targets: &[TargetId], shape: ShapeId) -> Result<f64> {
    let mut appender = store.appender()?;
    let mut seconds = 0.0;
    for scrape in 0..arguments.scrapes {
        let row = |(target, id): (usize, &TargetId)| PageRow {
            target: *id,
            at: Timestamp::from_millis(scrape as i64 * INTERVAL_MS),
            shape,
            values: (0..arguments.series).map(|at| page.value(target, at, scrape)).collect(),
            timed: Vec::new(),
        };
        let rows: Vec<PageRow> = targets.iter().enumerate().map(row).collect();
        let started = Instant::now();
        let mut batch = Batch::default();
        for row in &rows {
            appender.append(&mut batch, row)?;
        }
        store.commit(batch)?;
        seconds += started.elapsed().as_secs_f64();
    }
    Ok(seconds)
}

/// Returns the seconds that selecting every series took.
fn read(store: &Store, names: &[String], samples: f64) -> Result<f64> {
    let started = Instant::now();
    let mut count = 0;
    for name in names {
        for batch in store.select(&[Matcher::equal("__name__", name.as_str())], TimeRange::ALL)? {
            count += batch?.iter().map(|series| series.samples.len()).sum::<usize>();
        }
    }
    ensure!(count as f64 == samples, "{count} samples were read of {samples}");
    Ok(started.elapsed().as_secs_f64())
}

fn entropy_bytes(arguments: &Arguments, page: &Page) -> f64 {
    (0..arguments.targets).map(|target| page.entropy_bits(target)).sum::<f64>() / arguments.targets as f64 / 8.0
}

/// Returns how many bytes this process has had written to disk.
///
/// Source: `man 5 proc`, `/proc/pid/io`.
fn written_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/io").context("read /proc/self/io")?;
    let value = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    value.and_then(|value| value.parse().ok()).context("write_bytes of /proc/self/io")
}
