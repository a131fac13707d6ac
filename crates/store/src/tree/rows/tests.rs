use firetower_model::labels::NAME;
use firetower_model::{Cross, Incarnation, Labels, RowId, Sequence, TimeRange, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::tree::applied::Receiver;
use crate::tree::tests::{TestStore, at, rows_of};

const ALL: RowQuery<'static> = RowQuery {
    tier: RowTier::Window,
    name: None,
    job: None,
    datacenter: None,
    range: TimeRange::ALL,
    points_max: usize::MAX,
};

fn store_with_keys() -> TestStore {
    let test = TestStore::new();
    let keys = ["a", "b", "c"].map(|name| Labels::new([(NAME, name), ("job", "node")]));
    test.store.intern_row_keys(&keys).unwrap();
    test
}

fn row(id: u32, sum: f64) -> (RowId, Cross) {
    let cross = Cross { series: 2, special: 0, sum, min: sum, max: sum + 1.0, increase: 1.0, unanchored: 1 };
    (RowId(id), cross)
}

fn put(test: &TestStore, rows: &WindowRows) -> Put {
    let mut batch = Batch::default();
    let put = test.store.put_rows(&mut batch, rows).unwrap();
    test.store.commit(batch).unwrap();
    put
}

fn roll_all(test: &TestStore, now: Timestamp) -> usize {
    let due = test.store.roll_due(now).unwrap();
    for roll in &due {
        let mut batch = Batch::default();
        test.store.roll(&mut batch, roll).unwrap();
        test.store.commit(batch).unwrap();
    }
    due.len()
}

/// Returns (datacenter, name, seconds, sum) of every point.
fn points(test: &TestStore, query: &RowQuery<'_>) -> Vec<(String, String, i64, f64)> {
    let series = test.store.read_rows(query).unwrap().series;
    let point = |series: &RowSeries, (window, value): &(Window, RowValue)| {
        let seconds = window.start().as_millis() / 1_000;
        (series.datacenter.clone(), series.key.name().to_owned(), seconds, value.over_time().sum_mean())
    };
    series.iter().flat_map(|series| series.points.iter().map(|at| point(series, at))).collect()
}

#[test]
fn more_slots_then_the_epoch_then_the_revision_decide() {
    let (accepted, stale) = (Put::Accepted, Put::Stale);
    for (reported, epoch, revision, expected) in [
        (5, 5, 5, stale),
        (5, 5, 4, stale),
        (5, 5, 6, accepted),
        (5, 4, 9, stale),
        (5, 6, 1, accepted),
        (4, 9, 9, stale),
        (6, 0, 0, accepted),
    ] {
        for is_committed in [true, false] {
            let test = store_with_keys();
            let rows = |reported, epoch, revision| WindowRows {
                coverage: Coverage::new(9, reported, 0),
                epoch: Epoch(epoch),
                ..rows_of("dub", at(0), revision, 1)
            };
            let mut batch = Batch::default();
            assert_eq!(test.store.put_rows(&mut batch, &rows(5, 5, 5)).unwrap(), accepted);
            if is_committed {
                test.store.commit(std::mem::take(&mut batch)).unwrap();
            }
            let test = if is_committed { test.reopen() } else { test };
            let put = test.store.put_rows(&mut batch, &rows(reported, epoch, revision)).unwrap();
            assert_eq!(put, expected, "{reported} {epoch} {revision} {is_committed}");
        }
    }
}

#[test]
fn a_window_is_replaced_as_a_whole() {
    let test = store_with_keys();
    put(&test, &WindowRows { rows: vec![row(0, 1.0), row(1, 2.0)], ..rows_of("dub", at(15), 1, 3) });
    put(&test, &WindowRows { rows: vec![row(1, 5.0), row(2, 6.0)], ..rows_of("dub", at(15), 2, 4) });
    let test = test.reopen();
    let expected = [("dub".into(), "b".into(), 15, 5.0), ("dub".into(), "c".into(), 15, 6.0)];
    assert_eq!(points(&test, &ALL), expected);
    let answer = test.store.read_rows(&ALL).unwrap();
    assert_eq!((answer.worst, answer.total, answer.windows), (Coverage::new(9, 4, 0), Coverage::new(9, 4, 0), 1));
    let window = Window::containing(at(15), Duration::from_secs(15));
    let header = test.store.row_header(RowTier::Window, "dub", window).unwrap().unwrap();
    assert_eq!((header.revision, header.put), (Revision(2), 2));
    assert_eq!(test.store.row_durations("dub", window).unwrap(), rows_of("dub", at(15), 2, 4).durations);
    assert_eq!(test.store.row_header(RowTier::Window, "ams", window).unwrap(), None);
}

#[test]
fn rows_are_found_by_name_job_datacenter_and_time() {
    let test = store_with_keys();
    for (datacenter, seconds) in [("dub", 3_585), ("ams", 3_585), ("dub", 3_600), ("ams", 7_200), ("dub", 90_000)] {
        let rows = vec![row(0, seconds as f64), row(1, 0.5)];
        put(&test, &WindowRows { rows, ..rows_of(datacenter, at(seconds), 1, 9) });
    }
    put(&test, &WindowRows { coverage: Coverage::new(9, 2, 0), ..rows_of("ams", at(3_600), 1, 0) });
    let times = |query: &RowQuery<'_>| -> Vec<(String, i64)> {
        points(&test, query).into_iter().map(|(datacenter, _, seconds, _)| (datacenter, seconds)).collect()
    };
    let check = |query: RowQuery<'_>, expected: &[(&str, i64)]| {
        let expected: Vec<(String, i64)> = expected.iter().map(|(name, at)| (name.to_string(), *at)).collect();
        assert_eq!(times(&query), expected, "{query:?}");
    };
    let a = RowQuery { name: Some("a"), ..ALL };
    let range = |start, end| TimeRange { start: at(start), end: at(end) };
    check(a, &[("ams", 3_585), ("ams", 7_200), ("dub", 3_585), ("dub", 3_600), ("dub", 90_000)]);
    check(RowQuery { datacenter: Some("dub"), ..a }, &[("dub", 3_585), ("dub", 3_600), ("dub", 90_000)]);
    check(RowQuery { datacenter: Some("ams"), ..a }, &[("ams", 3_585), ("ams", 7_200)]);
    check(RowQuery { range: range(3_600, 7_200), ..a }, &[("dub", 3_600)]);
    check(RowQuery { range: range(3_585, 3_600), datacenter: Some("dub"), ..a }, &[("dub", 3_585)]);
    check(RowQuery { range: range(7_200, 7_200), ..a }, &[]);
    check(RowQuery { job: Some("node"), points_max: 2, ..a }, &[("ams", 3_585), ("dub", 3_585)]);
    check(RowQuery { job: Some("other"), ..a }, &[]);
    check(RowQuery { datacenter: Some("par"), ..a }, &[]);
    let answer = test.store.read_rows(&RowQuery { range: range(3_600, 7_200), points_max: 0, ..a }).unwrap();
    assert_eq!((answer.worst, answer.total), (Coverage::new(9, 2, 0), Coverage::new(18, 11, 0)));
    assert!(answer.is_truncated);
    let latest = |name: &str| test.store.latest_window(name).unwrap().map(|window| window.start());
    assert_eq!((latest("ams"), latest("dub"), latest("par")), (Some(at(7_200)), Some(at(90_000)), None));
    assert_eq!(test.store.row_datacenters(), ["ams", "dub"]);
}

#[test]
fn old_buckets_go_as_a_whole() {
    let test = store_with_keys();
    for seconds in [0, 3_585, 3_600] {
        put(&test, &WindowRows { rows: vec![row(0, 1.0)], ..rows_of("dub", at(seconds), 1, 9) });
    }
    assert!(!test.store.retain_rows(RowTier::Window, at(3_599)).unwrap());
    assert!(test.store.retain_rows(RowTier::Window, at(3_600)).unwrap());
    assert!(!test.store.retain_rows(RowTier::Window, at(3_600)).unwrap());
    assert_eq!(points(&test, &ALL), [("dub".into(), "a".into(), 3_600, 1.0)]);
    assert_eq!(test.store.read_rows(&ALL).unwrap().windows, 1);
}

#[test]
fn times_without_a_place_are_errors() {
    let test = store_with_keys();
    let early = rows_of("dub", Timestamp::from_millis(-1), 1, 1);
    let result = test.store.put_rows(&mut Batch::default(), &early);
    assert!(matches!(result, Err(Error::NoPlace { .. })));
}

#[test]
fn steps_are_made_of_windows_and_made_anew_when_one_changes() {
    let test = store_with_keys();
    let quarter = |seconds: u64, revision, reported, sum| WindowRows {
        rows: if seconds == 15 { vec![row(0, sum), row(1, 8.0)] } else { vec![row(0, sum)] },
        ..rows_of("dub", at(seconds), revision, reported)
    };
    for (seconds, sum) in [(0, 4.0), (15, 6.0), (285, 2.0), (300, 9.0)] {
        put(&test, &quarter(seconds, 1, 8, sum));
    }
    let five = RowQuery { tier: RowTier::FiveMinutes, ..ALL };
    assert_eq!((roll_all(&test, at(329)), roll_all(&test, at(330)), roll_all(&test, at(331))), (0, 1, 0));
    assert_eq!(points(&test, &five), [("dub".into(), "a".into(), 0, 4.0), ("dub".into(), "b".into(), 0, 8.0)]);
    put(&test, &quarter(0, 2, 9, 10.0));
    let test = test.reopen();
    assert_eq!((roll_all(&test, at(400)), roll_all(&test, at(400))), (1, 0));
    let answer = test.store.read_rows(&five).unwrap();
    let RowValue::Tier(a) = answer.series[0].points[0].1 else { panic!("a step") };
    assert_eq!((a.windows, a.series_mean(), a.series_min, a.series_max), (3, 2.0, 2, 2));
    assert_eq!((a.sum_mean(), a.sum_min, a.sum_max, a.min, a.max), (6.0, 2.0, 10.0, 2.0, 11.0));
    assert_eq!((a.increase, a.unanchored), (3.0, 3));
    assert_eq!((answer.worst, answer.total), (Coverage::new(9, 8, 0), Coverage::new(27, 25, 0)));
    let hour = RowQuery { tier: RowTier::Hour, ..ALL };
    assert_eq!(roll_all(&test, at(3_659)), 1, "the second five minutes");
    assert_eq!((roll_all(&test, at(3_660)), roll_all(&test, at(3_660))), (1, 0));
    let sums = [("dub".into(), "a".into(), 0, 27.0 / 4.0), ("dub".into(), "b".into(), 0, 8.0)];
    assert_eq!(points(&test, &hour), sums);
    assert_eq!(test.store.read_rows(&hour).unwrap().worst, Coverage::new(9, 8, 0));
}

#[test]
fn what_is_put_while_a_step_is_made_marks_it_again() {
    let test = store_with_keys();
    put(&test, &rows_of("dub", at(0), 1, 8));
    let due = test.store.roll_due(at(400)).unwrap();
    let mut batch = Batch::default();
    test.store.roll(&mut batch, &due[0]).unwrap();
    put(&test, &rows_of("dub", at(0), 2, 9));
    test.store.commit(batch).unwrap();
    assert_eq!((roll_all(&test, at(400)), roll_all(&test, at(400))), (1, 0));
    let five = RowQuery { tier: RowTier::FiveMinutes, ..ALL };
    assert_eq!(test.store.read_rows(&five).unwrap().worst, Coverage::new(9, 9, 0));
}

/// Applies frames as a parent does: each once, with its mark in the same batch.
fn apply(test: &TestStore, frames: &[(u64, WindowRows)]) {
    let mut receiver = Receiver::open(&test.store).unwrap();
    let life = Incarnation { created: at(1), random: 1 };
    let mut batch = Batch::default();
    receiver.hello(&mut batch, "s0", life, Sequence(1), Sequence(0));
    for (at, (sequence, rows)) in frames.iter().enumerate() {
        if receiver.mark(&mut batch, "s0", life, Sequence(*sequence), 1) {
            test.store.put_rows(&mut batch, rows).unwrap();
        }
        if at % 3 == 2 {
            test.store.commit(std::mem::take(&mut batch)).unwrap();
        }
    }
    test.store.commit(batch).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn frames_applied_in_any_order_and_twice_equal_once_in_order(
        windows in prop::collection::vec((0u64..4, prop::collection::btree_map(0u32..3, 0u32..100, 0..3)), 1..10),
        seed in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let frame = |(at_index, (window, rows)): (usize, &(u64, std::collections::BTreeMap<u32, u32>))| {
            let revision = at_index as u64 + 1;
            let rows = rows.iter().map(|(id, sum)| row(*id, f64::from(*sum))).collect();
            (revision, WindowRows { rows, ..rows_of("dub", at(15 * window), revision, 3) })
        };
        let frames: Vec<(u64, WindowRows)> = windows.iter().enumerate().map(frame).collect();
        let mut shuffled: Vec<(u64, WindowRows)> = frames.iter().chain(&frames).cloned().collect();
        for (at, index) in seed.iter().enumerate() {
            let other = index.index(shuffled.len());
            shuffled.swap(at % frames.len(), other);
        }
        let (once, shaken) = (store_with_keys(), store_with_keys());
        apply(&once, &frames);
        apply(&shaken, &shuffled);
        for test in [&once, &shaken] {
            roll_all(test, at(4_000));
            roll_all(test, at(4_000));
        }
        for tier in RowTier::ALL {
            // How often a window was written depends on the order; nothing else does.
            let read = |test: &TestStore| {
                let mut answer = test.store.read_rows(&RowQuery { tier, ..ALL }).unwrap();
                answer.headers.iter_mut().for_each(|(_, header)| header.put = 0);
                answer
            };
            prop_assert_eq!(read(&once), read(&shaken));
        }
        let receiver = Receiver::open(&shaken.store).unwrap();
        let applied = receiver.applied("s0").unwrap();
        prop_assert_eq!((applied.weight, applied.outstanding_frames()), (frames.len() as u64, 0));
    }
}
