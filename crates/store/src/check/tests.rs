use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use firetower_model::labels::NAME;
use firetower_model::{
    Kind, Labels, PageRow, Sample, Select, SelectSpans, Series, SpanSeries, SpanTier, TimeRange, Timestamp,
};
use tempfile::TempDir;

use super::*;
use crate::{Appender, Batch, Options, Outbox};

/// How many bits are flipped, each in a copy of its own; `SEEDS` and the first `SEED` can be set.
const SEEDS: u64 = 24;
const TARGETS: usize = 70;

#[test]
fn the_file_is_the_first_that_is_named() {
    let check = |text: &str, file: &str| assert_eq!(file_of(text), file);
    let mismatch = "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4  in /d/000012.sst offset 3";
    check(mismatch, "000012.sst");
    let missing =
        "IO error: No such file or directory: While opening a file for sequentially reading: /d/MANIFEST-000005";
    check(missing, "MANIFEST-000005");
    check("Corruption: CURRENT file does not end with newline", "CURRENT");
    check("nothing", "");
}

fn ms(at: i64) -> Timestamp {
    Timestamp::from_millis(at)
}

/// A small step from one state of a generator to the next.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Appends ten rows of each target, every second from `from` on.
fn append(store: &Store, appender: &mut Appender, from: i64) {
    let metrics: Vec<MetricIdOf> = (0..12).map(|n| metric(store, n)).collect();
    let shape = store.intern_shape(&metrics).unwrap();
    for at in from..from + 10 {
        let mut batch = Batch::default();
        for target in 0..TARGETS {
            let instance = format!("host-{target}");
            let target_id = store.intern_target(&Labels::new([("instance", &*instance), ("job", "node")])).unwrap();
            let mut state = (at as u64) << 32 | target as u64;
            let values = metrics.iter().map(|_| (next(&mut state) % 100_000) as f64).collect();
            appender
                .append(
                    &mut batch,
                    &PageRow { target: target_id, at: ms(at * 1_000), shape, values, timed: Vec::new() },
                )
                .unwrap();
        }
        store.commit(batch).unwrap();
    }
}

type MetricIdOf = firetower_model::MetricId;

fn metric(store: &Store, n: usize) -> MetricIdOf {
    store.intern_metric(&Labels::new([(NAME, &*format!("metric_{n}"))]), Kind::Gauge).unwrap()
}

/// Makes a directory with something of everything, whose process was killed: settled buckets, rows in files and in the log,
/// late samples, spans, and frames.
fn make() -> TempDir {
    let (made, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut options = Options::new(ms(0), 1);
    options.bucket = Duration::from_secs(20);
    let store = Store::open(made.path(), &options).unwrap();
    let mut appender = store.appender().unwrap();
    let mut outbox = Outbox::open(&store, &["p0".to_owned()]).unwrap();
    for part in 0..6 {
        append(&store, &mut appender, part * 10);
        let mut batch = Batch::default();
        outbox.push(&mut batch, &vec![part as u8; 3_000], 1, ms(part * 10_000));
        store.commit(batch).unwrap();
        if part % 2 == 0 {
            store.flush().unwrap();
        }
    }
    while let Some(settle) = store.settle_due(ms(42_000), Duration::ZERO, 1 << 20).unwrap() {
        settle.run().unwrap();
    }
    let mut batch = Batch::default();
    for at in 0..200 {
        let (metric, target) = (metric(&store, at % 7), firetower_model::TargetId(at as u32 % 9));
        let sample = Sample { at: ms(at as i64 * 100 + 50), value: at as f64 };
        assert_eq!(store.put_samples(&mut batch, (metric, target), &[sample]), 1);
    }
    store.commit(batch).unwrap();
    store.sync().unwrap();
    copy(made.path(), killed.path());
    killed
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

type Answers = (BTreeMap<String, Vec<(i64, u64)>>, Vec<BTreeMap<String, Vec<(i64, u64, u64)>>>);

/// Returns all samples and all spans; `None` if the store cannot answer.
fn answers(store: &Store) -> Result<Answers, Error> {
    let samples: Result<Vec<Vec<Series>>, Error> = store.select(&[], TimeRange::ALL)?.collect();
    let bits = |sample: &Sample| (sample.at.as_millis(), sample.value.to_bits());
    let series = |series: Series| (series.labels.to_string(), series.samples.iter().map(bits).collect());
    let samples = samples?.into_iter().flatten().map(series).collect();
    let mut spans = Vec::new();
    for tier in SpanTier::ALL {
        let found: Result<Vec<Vec<SpanSeries>>, Error> = store.select_spans(&[], TimeRange::ALL, tier)?.collect();
        let of = |series: SpanSeries| {
            let spans = series.spans.iter().map(|(at, span)| (at.as_millis(), span.samples, span.sum.to_bits()));
            (series.labels.to_string(), spans.collect())
        };
        spans.push(found?.into_iter().flatten().map(of).collect());
    }
    Ok((samples, spans))
}

/// Tells whether all of `some` is in `all`.
fn is_part(some: &Answers, all: &Answers) -> bool {
    some.0.iter().all(|(labels, samples)| {
        let known = all.0.get(labels).map(Vec::as_slice).unwrap_or_default();
        samples.iter().all(|sample| known.binary_search(sample).is_ok())
    })
}

#[test]
fn a_sound_directory_has_no_faults_beside_its_process_too() {
    let made = make();
    for is_open in [false, true] {
        let store = is_open.then(|| Store::open(made.path(), &Options::new(ms(0), 1)).unwrap());
        let found = check(made.path()).unwrap();
        assert_eq!((found.faults.as_slice(), found.faults_unlisted), (&[][..], 0), "open: {is_open}");
        let filled = found.entries.iter().filter(|(_, entries)| *entries > 0).map(|(family, _)| *family);
        let expected = ["meta", "names", "raw_rows", "raw_blocks", "raw_loose", "spans_5m", "spans_1h", "outbox"];
        assert_eq!(filled.collect::<Vec<_>>(), expected);
        drop(store);
    }
    assert!(matches!(check(tempfile::tempdir().unwrap().path()), Err(Error::NoStore { .. })));
}

#[test]
fn a_damaged_file_that_is_to_be_merged_ends_writing_only_until_it_is_opened_again() {
    let made = make();
    let tables = fs::read_dir(made.path()).unwrap().map(|entry| entry.unwrap().path());
    let tables = tables.filter(|path| path.extension().is_some_and(|end| end == "sst"));
    let largest = tables.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let open = || Store::open(made.path(), &Options::new(ms(0), 1)).unwrap();
    let write = |store: &Store| {
        let mut batch = Batch::default();
        store.put_note(&mut batch, "note", b"note");
        store.commit(batch)
    };
    let store = open();
    write(&store).unwrap();
    for (family, _) in FAMILIES {
        store.db.compact_range_cf(store.family(family), None::<&[u8]>, None::<&[u8]>);
    }
    let failed = write(&store).unwrap_err();
    assert!(failed.is_mended_by_opening(), "{failed}");
    drop(store);
    let store = open();
    assert!(store.is_unmerged());
    for (family, _) in FAMILIES {
        store.db.compact_range_cf(store.family(family), None::<&[u8]>, None::<&[u8]>);
    }
    write(&store).unwrap();
    assert!(answers(&store).is_ok() && store.raw_stats().damaged_places > 0);
}

#[test]
fn a_flipped_bit_anywhere_is_found_or_does_no_harm() {
    let made = make();
    let sound = answers(&Store::open_read_only(made.path()).unwrap()).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(made.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let (mut found_count, mut answered) = (0, 0);
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, seeds) = (number("SEED").unwrap_or(0), number("SEEDS").unwrap_or(SEEDS));
    let vital: Vec<&String> = names.iter().filter(|name| !file_of(name).is_empty()).collect();
    for seed in first..first + seeds {
        let mut state = seed;
        let is_any = next(&mut state).is_multiple_of(8);
        let at = next(&mut state) as usize;
        let name = if is_any { &names[at % names.len()] } else { vital[at % vital.len()] };
        let dir = tempfile::tempdir().unwrap();
        copy(made.path(), dir.path());
        let mut bytes = fs::read(made.path().join(name)).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let at = next(&mut state) as usize % bytes.len();
        let bit = next(&mut state) % 8;
        bytes[at] ^= 1 << bit;
        fs::write(dir.path().join(name), &bytes).unwrap();
        let what = format!("seed {seed}: bit {bit} of byte {at} of {name}");
        let checked = check(dir.path()).unwrap();
        let is_found = !checked.faults.is_empty();
        found_count += u64::from(is_found);
        for is_written in [false, true] {
            let opened = if is_written {
                Store::open(dir.path(), &Options::new(ms(0), 1))
            } else {
                Store::open_read_only(dir.path())
            };
            let store = match opened {
                Ok(store) => store,
                Err(error) => {
                    assert!(is_found, "{what}: does not open, and is not found: {error}");
                    continue;
                }
            };
            match answers(&store) {
                Ok(answers) if answers == sound => {}
                Ok(part) => {
                    let is_said = store.raw_stats().damaged_places > 0 || !checked.remarks.is_empty();
                    assert!(is_found || is_said, "{what}: answers differ and nothing says so");
                    assert!(is_part(&part, &sound), "{what}: a value that never was");
                    answered += 1;
                }
                Err(error) => assert!(is_found, "{what}: {error} and is not found"),
            }
        }
    }
    assert!(found_count >= seeds / 4 && answered > 0, "{found_count} found, {answered} answered around");
}
