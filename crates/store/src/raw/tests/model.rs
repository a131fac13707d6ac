//! Any sequence of appends, settling, retention and restarts reads back as a plain map says.

mod spans;

use std::collections::BTreeMap;
use std::time::Duration;

use firetower_model::sample::STALE_BITS;
use firetower_model::{MetricId, PageRow, STALE, Sample, ShapeId, TargetId, TimeRange, Timestamp};
use proptest::prelude::{any, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};
use proptest::test_runner::Config;

use super::{metric, ms, newest, open, select, select_newest, target};
use crate::database::{Batch, Store};
use crate::raw::appender::Appender;
use crate::tiers::Cutoffs;

const BUCKET_MS: i64 = 100_000;
const METRICS: usize = 6;
/// Metrics of each shape.
const SHAPES: [&[usize]; 4] = [&[0, 1, 2, 3], &[0, 2, 4], &[3, 1, 0], &[5, 0, 1, 2, 3, 4]];

#[derive(Clone, Debug)]
enum Step {
    Append { target: usize, later_ms: i64, shape: usize, values: Vec<f64>, timed: Option<(usize, i64)> },
    Put { target: usize, metric: usize, at: i64, value: f64 },
    Settle { steps: usize, budget_bytes: usize },
    Retain { before_ms: i64 },
    Reopen,
}

fn a_value() -> impl Strategy<Value = f64> {
    prop_oneof![3 => Just(STALE), 3 => Just(1.0), 3 => (0..1000i32).prop_map(|n| f64::from(n) / 8.0),
        1 => any::<u64>().prop_map(f64::from_bits)]
}

fn a_step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![8 => Just(15_000i64), 2 => 1..400_000i64, 1 => Just(0i64), 1 => -200_000..0i64];
    let timed = proptest::option::weighted(0.1, (0..3usize, -300_000..300_000i64));
    let values = proptest::collection::vec(a_value(), METRICS);
    let append = (0..3usize, later, prop_oneof![4 => Just(0usize), 1 => 0..4usize], values, timed)
        .prop_map(|(target, later_ms, shape, values, timed)| Step::Append { target, later_ms, shape, values, timed });
    let put = (0..3usize, 0..METRICS, -500_000..1_000_000i64, a_value())
        .prop_map(|(target, metric, at, value)| Step::Put { target, metric, at, value });
    prop_oneof![
        30 => append, 4 => put,
        2 => (1..30usize, prop_oneof![Just(200usize), Just(2_000), Just(1 << 20)])
            .prop_map(|(steps, budget_bytes)| Step::Settle { steps, budget_bytes }),
        1 => (0..800_000i64).prop_map(|before_ms| Step::Retain { before_ms }), 1 => Just(Step::Reopen)
    ]
}

/// Target, metric, and the times and bits of the samples.
type Found = (usize, usize, Vec<(i64, u64)>);

#[derive(Clone)]
struct Last {
    at: i64,
    live: Vec<usize>,
}

/// What should be in the store.
#[derive(Default)]
struct Model {
    /// Bits, and whether they came loose, by (target, metric) and time.
    series: BTreeMap<(usize, usize), BTreeMap<i64, (u64, bool)>>,
    /// The same, with what has been dropped since.
    history: BTreeMap<(usize, usize), BTreeMap<i64, f64>>,
    /// The latest cutoff of samples.
    cutoff: i64,
    /// First bucket of each tier of spans.
    spans_kept: [i64; 2],
    last: BTreeMap<usize, Last>,
    /// Last bucket that takes no rows.
    closed: i64,
    settled: i64,
    /// Last bucket without samples.
    dropped: i64,
    /// First bucket whose loose samples are taken.
    first_taken: i64,
    newest: i64,
}

impl Model {
    fn put(&mut self, target: usize, metric: usize, at: i64, value: f64, is_loose: bool) {
        if !is_loose || at.div_euclid(BUCKET_MS) >= self.first_taken {
            self.take(target, metric, at, value, is_loose);
        }
    }

    fn take(&mut self, target: usize, metric: usize, at: i64, value: f64, is_loose: bool) {
        let samples = self.series.entry((target, metric)).or_default();
        if is_loose || samples.get(&at).is_none_or(|held| !held.1) {
            samples.insert(at, (value.to_bits(), is_loose));
            self.history.entry((target, metric)).or_default().insert(at, value);
        }
    }

    fn append(&mut self, target: usize, at: i64, shape: usize, values: &[f64], timed: Option<(usize, Sample)>) {
        if let Some((column, sample)) = timed {
            self.put(target, SHAPES[shape][column], sample.at.as_millis(), sample.value, true);
        }
        let last = self.last.get(&target).cloned();
        if last.as_ref().is_some_and(|last| last.at == at) {
            return;
        }
        let is_late = last.as_ref().is_some_and(|last| at < last.at) || at.div_euclid(BUCKET_MS) <= self.closed;
        let old = last.map(|last| last.live).unwrap_or_default();
        let mut live = Vec::new();
        for (column, metric) in SHAPES[shape].iter().enumerate() {
            if values[column].to_bits() != STALE_BITS {
                self.put(target, *metric, at, values[column], is_late);
                live.push(*metric);
            } else if !is_late && old.contains(metric) && timed.is_none_or(|(timed, _)| timed != column) {
                self.put(target, *metric, at, STALE, false);
            }
        }
        if is_late {
            return;
        }
        for metric in old.iter().filter(|metric| !SHAPES[shape].contains(metric)) {
            self.take(target, *metric, at, STALE, true);
        }
        self.last.insert(target, Last { at, live });
    }

    fn expected(&self, range: TimeRange) -> Vec<Found> {
        let inside = |samples: &BTreeMap<i64, (u64, bool)>| {
            let samples = samples.iter().map(|(at, (bits, _))| (*at, *bits));
            samples.filter(|(at, _)| range.contains(ms(*at))).collect::<Vec<_>>()
        };
        let all = self.series.iter().map(|((target, metric), samples)| (*target, *metric, inside(samples)));
        all.filter(|(_, _, samples)| !samples.is_empty()).collect()
    }
}

struct Run {
    dir: tempfile::TempDir,
    store: Option<Store>,
    appender: Option<Appender>,
    model: Model,
}

impl Run {
    fn new() -> Run {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for n in 0..3 {
            assert_eq!(target(&store, &n.to_string()), TargetId(n));
        }
        for n in 0..METRICS as u32 {
            assert_eq!(metric(&store, &format!("m{n}")), MetricId(n));
        }
        for (n, shape) in SHAPES.iter().enumerate() {
            let metrics: Vec<MetricId> = shape.iter().map(|m| MetricId(*m as u32)).collect();
            assert_eq!(store.intern_shape(&metrics).unwrap(), ShapeId(n as u32));
        }
        // Names become durable with whatever is committed next.
        store.commit(Batch::default()).unwrap();
        let appender = store.appender().unwrap();
        let model = Model {
            closed: i64::MIN,
            settled: i64::MIN,
            dropped: i64::MIN,
            first_taken: i64::MIN,
            spans_kept: [i64::MIN; 2],
            ..Model::default()
        };
        Run { dir, store: Some(store), appender: Some(appender), model }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append { target, later_ms, shape, values, timed } => {
                let at = self.model.last.get(&target).map_or(1_000, |last| last.at) + later_ms;
                let columns = SHAPES[shape].len();
                let mut values = values[..columns].to_vec();
                let timed = timed.map(|(column, ago)| (column, Sample { at: ms(at - ago), value: 77.0 }));
                if let Some((column, _)) = timed {
                    values[column] = STALE;
                }
                self.append(target, at, shape, values, timed);
            }
            Step::Put { target, metric, at, value } => {
                let mut batch = Batch::default();
                let sample = Sample { at: ms(at), value };
                let series = (MetricId(metric as u32), TargetId(target as u32));
                self.store().put_samples(&mut batch, series, &[sample]);
                self.store().commit(batch).unwrap();
                self.model.put(target, metric, at, value, true);
            }
            Step::Settle { steps, budget_bytes } => self.settle(steps, budget_bytes),
            Step::Retain { before_ms } => self.retain(self.model.newest - before_ms),
            Step::Reopen => self.reopen(),
        }
    }

    fn append(&mut self, target: usize, at: i64, shape: usize, values: Vec<f64>, timed: Option<(usize, Sample)>) {
        let mut batch = Batch::default();
        let row = PageRow {
            target: TargetId(target as u32),
            at: ms(at),
            shape: ShapeId(shape as u32),
            values,
            timed: timed.iter().map(|(column, sample)| (*column as u32, *sample)).collect(),
        };
        self.appender.as_mut().unwrap().append(&mut batch, &row).unwrap();
        self.store().commit(batch).unwrap();
        self.model.append(target, at, shape, &row.values, timed);
        self.model.newest = self.model.newest.max(at);
    }

    fn settle(&mut self, steps: usize, budget_bytes: usize) {
        let now = ms(self.model.newest);
        let Some(mut settle) = self.store().settle_due(now, Duration::from_secs(50), budget_bytes).unwrap() else {
            return;
        };
        let bucket = settle.range().0.as_millis() / BUCKET_MS;
        self.model.closed = self.model.closed.max(bucket);
        for _ in 0..steps {
            if !settle.step().unwrap() {
                self.model.settled = bucket;
            }
        }
    }

    fn retain(&mut self, cutoff: i64) {
        // Time does not go back, nor do cutoffs.
        let cutoff = cutoff.max(self.model.cutoff);
        self.model.cutoff = cutoff;
        let (five_minutes, one_hour) = (cutoff - 3 * BUCKET_MS, cutoff - 7 * BUCKET_MS);
        let cutoffs = Cutoffs { raw: ms(cutoff), five_minutes: ms(five_minutes), one_hour: ms(one_hour) };
        for (kept, cutoff) in self.model.spans_kept.iter_mut().zip([five_minutes, one_hour]) {
            *kept = (*kept).max(cutoff.div_euclid(BUCKET_MS));
        }
        self.store().retire(&cutoffs).unwrap().run().unwrap();
        self.model.first_taken = self.model.first_taken.max(cutoff.div_euclid(BUCKET_MS));
        let first_kept = cutoff.div_euclid(BUCKET_MS).min(self.model.settled.saturating_add(1));
        self.model.dropped = self.model.dropped.max(first_kept - 1);
        for samples in self.model.series.values_mut() {
            samples.retain(|at, _| at.div_euclid(BUCKET_MS) >= first_kept);
        }
    }

    fn reopen(&mut self) {
        self.appender = None;
        self.store = None;
        let store = open(self.dir.path());
        self.appender = Some(store.appender().unwrap());
        self.store = Some(store);
        self.model.closed = self.model.settled;
        self.model.first_taken = self.model.dropped.saturating_add(1);
        let settled = self.model.settled;
        self.model.last.retain(|_, last| last.at.div_euclid(BUCKET_MS) > settled);
    }

    fn check(&self, range: TimeRange) {
        let store = self.store();
        let mut found = Vec::new();
        for series in select(store, &[], range) {
            let instance = series.labels.get("instance").unwrap().parse::<usize>().unwrap();
            let metric = series.labels.name()[1..].parse::<usize>().unwrap();
            let samples: Vec<(i64, u64)> =
                series.samples.iter().map(|s| (s.at.as_millis(), s.value.to_bits())).collect();
            found.push((instance, metric, samples));
        }
        found.sort();
        assert_eq!(found, self.model.expected(range));
        assert_eq!(newest(&select_newest(store, &[], range)), newest(&select(store, &[], range)));
        let live = self.model.last.values().map(|last| last.live.len()).sum::<usize>();
        assert_eq!(store.raw_stats().active_series, live as u64);
    }
}

proptest! {
    #![proptest_config(Config { cases: 40, max_shrink_iters: 300, ..Config::default() })]

    #[test]
    fn any_history_reads_back(steps in proptest::collection::vec(a_step(), 1..120), from in 0..1_500_000i64, length in 0..500_000i64) {
        let mut run = Run::new();
        let range = TimeRange { start: ms(from), end: ms(from + length) };
        for (at, step) in steps.into_iter().enumerate() {
            run.take(step);
            if at % 16 == 0 {
                run.check(range);
                run.check_spans(range);
            }
        }
        run.check(TimeRange::ALL);
        run.reopen();
        run.check(TimeRange::ALL);
        while let Some(settle) = run.store().settle_due(Timestamp::MAX, Duration::ZERO, 500).unwrap() {
            settle.run().unwrap();
        }
        run.check(range);
        run.check(TimeRange::ALL);
        run.check_spans(TimeRange::ALL);
        run.model.settled = run.store().raw.gate.settled().map_or(i64::MIN, |settled| i64::from(settled.0));
        run.retain(run.model.newest);
        run.check_spans(TimeRange::ALL);
    }
}

#[test]
fn a_sample_counts_in_the_spans_of_a_bucket_whose_rows_have_none() {
    let mut run = Run::new();
    run.append(0, 210_000, 0, vec![STALE; 4], None);
    run.append(0, 390_000, 0, vec![STALE; 4], None);
    run.settle(9, 1 << 20);
    assert_eq!(run.model.settled, 2);
    run.take(Step::Put { target: 0, metric: 0, at: 200_109, value: 1.0 });
    run.check_spans(TimeRange::ALL);
}
