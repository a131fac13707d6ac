//! The raw tier as a whole, against plain maps.

mod model;

use std::path::Path;
use std::time::Duration;

use firetower_model::labels::NAME;
use firetower_model::{
    Kind, Labels, Matcher, MetricId, PageRow, STALE, Sample, Select, Series, ShapeId, TargetId, TimeRange, Timestamp,
};

use crate::database::{Batch, Options, Store};
use crate::error::Error;
use crate::raw::loose::LooseSample;

fn ms(at: i64) -> Timestamp {
    Timestamp::from_millis(at)
}

/// Opens a store with buckets of 100 s.
fn open(path: &Path) -> Store {
    let mut options = Options::new(ms(0), 1);
    options.bucket = Duration::from_secs(100);
    Store::open(path, &options).unwrap()
}

fn target(store: &Store, instance: &str) -> TargetId {
    store.intern_target(&Labels::new([("instance", instance), ("job", "node")])).unwrap()
}

fn metric(store: &Store, name: &str) -> MetricId {
    store.intern_metric(&Labels::new([(NAME, name)]), Kind::Unknown).unwrap()
}

fn row(target: TargetId, at: i64, shape: ShapeId, values: &[f64]) -> PageRow {
    PageRow { target, at: ms(at), shape, values: values.to_vec(), timed: Vec::new() }
}

fn select(store: &Store, matchers: &[Matcher], range: TimeRange) -> Vec<Series> {
    let batches: Result<Vec<Vec<Series>>, Error> = store.select(matchers, range).unwrap().collect();
    let mut series: Vec<Series> = batches.unwrap().into_iter().flatten().collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

fn select_newest(store: &Store, matchers: &[Matcher], range: TimeRange) -> Vec<Series> {
    let batches: Result<Vec<Vec<Series>>, Error> = store.select_newest(matchers, range).unwrap().collect();
    let mut series: Vec<Series> = batches.unwrap().into_iter().flatten().collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

/// Returns the newest sample of each.
fn newest(series: &[Series]) -> Vec<(Labels, Option<(Timestamp, u64)>)> {
    let newest = |series: &Series| series.samples.last().map(|sample| (sample.at, sample.value.to_bits()));
    series.iter().map(|series| (series.labels.clone(), newest(series))).collect()
}

/// Writes `label: time=value …` of each series, `stale` for markers.
fn show(series: &[Series]) -> Vec<String> {
    let value = |v: f64| if firetower_model::is_stale(v) { "stale".into() } else { v.to_string() };
    let sample = |s: &Sample| format!("{}={}", s.at.as_millis(), value(s.value));
    let line = |s: &Series| format!("{}: {}", s.labels, s.samples.iter().map(sample).collect::<Vec<_>>().join(" "));
    series.iter().map(line).collect()
}

fn settle_all(store: &Store) {
    while let Some(settle) = store.settle_due(Timestamp::MAX, Duration::ZERO, 1000).unwrap() {
        settle.run().unwrap();
    }
}

#[test]
fn what_was_committed_is_there_after_the_process_ends() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    let (a, m, n) = (target(&store, "a"), metric(&store, "m"), metric(&store, "n"));
    let shape = store.intern_shape(&[m, n]).unwrap();
    let mut appender = store.appender().unwrap();
    for at in 0..50 {
        let mut batch = Batch::default();
        appender
            .append(&mut batch, &row(a, at * 10_000, shape, &[at as f64, if at == 40 { STALE } else { 0.5 }]))
            .unwrap();
        store.commit(batch).unwrap();
    }
    assert_eq!(
        appender.last(a).map(|last| (last.at, last.shape, last.values.to_vec())),
        Some((ms(490_000), shape, vec![49.0, 0.5]))
    );
    let expected = select(&store, &[], TimeRange::ALL);
    assert_eq!(expected.iter().map(|series| series.samples.len()).collect::<Vec<_>>(), [50, 50]);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let killed = open(copy.path());
    assert_eq!(select(&killed, &[], TimeRange::ALL), expected);
    let restored = killed.appender().unwrap();
    assert_eq!(
        restored.last(a).map(|last| (last.at, last.shape, last.values.to_vec())),
        Some((ms(490_000), shape, vec![49.0, 0.5]))
    );
    assert_eq!(killed.raw_stats().active_series, 2);
    assert_eq!((killed.intern_metric(&Labels::new([(NAME, "n")]), Kind::Gauge).unwrap(), target(&killed, "a")), (n, a));
    drop(restored);
    drop((store, appender));
    assert_eq!(select(&open(dir.path()), &[], TimeRange::ALL), expected);
}

#[test]
fn settling_may_stop_anywhere_and_begin_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let metrics: Vec<MetricId> = (0..20).map(|n| metric(&store, &format!("m{n}"))).collect();
    let shape = store.intern_shape(&metrics).unwrap();
    let mut appender = store.appender().unwrap();
    let targets: Vec<TargetId> = (0..70).map(|n| target(&store, &n.to_string())).collect();
    for at in 0..12 {
        let mut batch = Batch::default();
        for target in &targets {
            let values: Vec<f64> = (0..20).map(|n| (at * n) as f64 / 7.0).collect();
            appender.append(&mut batch, &row(*target, at * 10_000 + i64::from(target.0), shape, &values)).unwrap();
        }
        store.commit(batch).unwrap();
    }
    drop(appender);
    let expected = select(&store, &[], TimeRange::ALL);
    assert_eq!(expected.len(), 1400);
    for steps in [0, 1, 2, 4, 1000] {
        let mut settle = store.settle_due(ms(i64::MAX), Duration::from_secs(1), 100_000).unwrap().unwrap();
        assert_eq!(settle.range().0, ms(0));
        assert!(store.settle_due(Timestamp::MAX, Duration::ZERO, 1).unwrap().is_none(), "one at a time");
        for _ in 0..steps {
            settle.step().unwrap();
        }
        assert_eq!(select(&store, &[], TimeRange::ALL), expected, "after {steps} steps");
        drop(settle);
        drop(store);
        store = open(dir.path());
        assert_eq!(select(&store, &[], TimeRange::ALL), expected, "reopened after {steps} steps");
    }
    let next = store.settle_due(ms(i64::MAX), Duration::ZERO, 1000).unwrap().unwrap();
    assert_eq!(next.range().0, ms(100_000));
}

#[test]
fn a_sample_that_comes_while_its_bucket_settles_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (a, m) = (target(&store, "a"), metric(&store, "m"));
    let shape = store.intern_shape(&[m]).unwrap();
    let mut appender = store.appender().unwrap();
    let mut batch = Batch::default();
    appender.append(&mut batch, &row(a, 10_000, shape, &[1.0])).unwrap();
    store.commit(batch).unwrap();
    let mut waiting = Batch::default();
    appender.append(&mut waiting, &row(a, 11_000, shape, &[2.0])).unwrap();
    let mut settle = store.settle_due(Timestamp::MAX, Duration::ZERO, 1000).unwrap().unwrap();
    assert!(matches!(store.commit(waiting), Err(Error::BucketClosed)));
    while settle.current_is_unfinished() {
        settle.step().unwrap();
    }
    let mut batch = Batch::default();
    store.put_samples(&mut batch, (m, a), &[Sample { at: ms(10_000), value: 5.0 }]);
    store.commit(batch).unwrap();
    settle.run().unwrap();
    assert_eq!(show(&select(&store, &[], TimeRange::ALL)), ["m{instance=\"a\",job=\"node\"}: 10000=5"]);
    let mut batch = Batch::default();
    let late = store.appender().unwrap().append(&mut batch, &row(a, 20_000, shape, &[3.0])).unwrap();
    assert_eq!((late.samples, late.loose), (1, 1));
}

#[test]
fn matchers_see_final_labels_and_equal_ones_merge() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let t0 = store.intern_target(&Labels::new([("job", "a"), ("zone", "z")])).unwrap();
    let t1 = store.intern_target(&Labels::new([("job", "b")])).unwrap();
    let plain = metric(&store, "m");
    let intern =
        |labels: &[(&str, &str)]| store.intern_metric(&Labels::new(labels.iter().copied()), Kind::Gauge).unwrap();
    let own_job = intern(&[(NAME, "m"), ("job", "b"), ("zone", "")]);
    let other = intern(&[(NAME, "n"), ("cpu", "0")]);
    let mut batch = Batch::default();
    let mut put = |target, metric, at, value| {
        store.put_samples(&mut batch, (metric, target), &[Sample { at: ms(at), value }]);
    };
    put(t0, plain, 1, 1.0);
    put(t1, plain, 1, 2.0);
    put(t1, plain, 2, 3.0);
    put(t0, own_job, 1, 4.0);
    put(t0, other, 5, 5.0);
    put(t1, other, 9, STALE);
    store.commit(batch).unwrap();
    let check = |matchers: &[Matcher], expected: &[&str]| {
        assert_eq!(show(&select(&store, matchers, TimeRange::ALL)), expected, "{matchers:?}");
    };
    let equal = |name: &str, value: &str| Matcher::equal(name, value);
    let not_equal = |name: &str, value: &str| Matcher::not_equal(name, value);
    let (ma, mb) = ("m{job=\"a\",zone=\"z\"}: 1=1", "m{job=\"b\"}: 1=4 2=3");
    let (na, nb) = ("n{cpu=\"0\",job=\"a\",zone=\"z\"}: 5=5", "n{cpu=\"0\",job=\"b\"}: 9=stale");
    for _ in 0..2 {
        check(&[], &[ma, mb, na, nb]);
        check(&[equal(NAME, "m")], &[ma, mb]);
        check(&[equal(NAME, "m"), equal("job", "b")], &[mb]);
        check(&[equal("job", "a")], &[ma, na]);
        check(&[equal("zone", "")], &[mb, nb]);
        check(&[not_equal("zone", ""), equal(NAME, "m")], &[ma]);
        check(&[equal("cpu", "0"), not_equal("job", "a")], &[nb]);
        check(&[Matcher::regex(NAME, "m|n").unwrap(), Matcher::not_regex("zone", "z.*").unwrap()], &[mb, nb]);
        check(&[equal("cpu", "1")], &[]);
        check(&[equal("nothing", "x")], &[]);
        settle_all(&store);
    }
    assert!(store.raw_stats().duplicates_merged > 0);
    let range = TimeRange { start: ms(2), end: ms(9) };
    assert_eq!(show(&select(&store, &[], range)), ["m{job=\"b\"}: 2=3", na]);
}

#[test]
fn a_kind_is_learnt_later_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let labels = Labels::new([(NAME, "m")]);
    let id = store.intern_metric(&labels, Kind::Unknown).unwrap();
    assert_eq!(store.intern_metric(&labels, Kind::Counter).unwrap(), id);
    assert_eq!(store.intern_metric(&labels, Kind::Unknown).unwrap(), id);
    store.commit(Batch::default()).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).metric_labels(id), Some((labels, Kind::Counter)));
}

#[test]
fn rows_and_loose_samples_are_read_back_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (a, b, m, n) = (target(&store, "a"), target(&store, "b"), metric(&store, "m"), metric(&store, "n"));
    let shape = store.intern_shape(&[m, n]).unwrap();
    let mut appender = store.appender().unwrap();
    let mut batch = Batch::default();
    for at in 0..45 {
        appender.append(&mut batch, &row(b, at * 10_000, shape, &[0.0, STALE])).unwrap();
        let values = [at as f64, if at % 2 == 0 { 1.0 } else { STALE }];
        if !(15..25).contains(&at) {
            appender.append(&mut batch, &row(a, at * 10_000, shape, &values)).unwrap();
        }
    }
    let late = appender.append(&mut batch, &row(a, 155_000, shape, &[7.0, STALE])).unwrap();
    assert_eq!((late.samples, late.loose, late.is_repeated), (1, 1, false));
    let again = appender.append(&mut batch, &row(a, 440_000, shape, &[7.0, 7.0])).unwrap();
    assert_eq!((again.samples, again.is_repeated), (0, true));
    assert!(matches!(appender.append(&mut batch, &row(a, 1, shape, &[1.0])), Err(Error::WrongColumns { .. })));
    assert!(matches!(appender.append(&mut batch, &row(a, 1, ShapeId(9), &[1.0])), Err(Error::UnknownShape { .. })));
    store.commit(batch).unwrap();
    let range = TimeRange { start: ms(135_000), end: ms(271_000) };
    let mut rows = store.rows(a, range).unwrap();
    let mut found = Vec::new();
    while let Some(row) = rows.next_row().unwrap() {
        assert_eq!(row.shape, shape);
        found.push((
            row.at.as_millis() / 10_000,
            row.values[0],
            firetower_model::is_stale(row.values[1]),
            row.ended.to_vec(),
        ));
    }
    let expected =
        [(14, 14.0, false, vec![]), (25, 25.0, true, vec![1]), (26, 26.0, false, vec![]), (27, 27.0, true, vec![1])];
    assert_eq!(found, expected);
    let loose: Result<Vec<LooseSample>, Error> = store.loose(range).collect();
    assert_eq!(loose.unwrap(), [LooseSample { metric: m, target: a, sample: Sample { at: ms(155_000), value: 7.0 } }]);
    assert_eq!(store.loose(TimeRange { start: ms(5), end: ms(5) }).count(), 0);
}
