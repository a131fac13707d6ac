mod open_metrics;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use firetower_model::{Kind, Labels, MetricId, Sample, ShapeId, Timestamp, is_stale};

use super::{
    Held, LEADING, LabelLimit, PageCounts, PageReader, PageShapes, ReadError, ReadOptions, Resolve, TargetPage,
};
use crate::exposition::Line;

/// Gives ids as a role does; drops what is called `drop…` and gives `same…` the metric `same`.
#[derive(Default)]
struct Ids {
    metrics: HashMap<String, MetricId>,
    kinds: Vec<Kind>,
    shapes: Vec<Vec<MetricId>>,
    relabelled: usize,
    resolved: usize,
    key: Option<u64>,
}

impl Resolve for Ids {
    fn relabel(&mut self, line: &Line<'_>) -> Result<Option<Labels>, LabelLimit> {
        self.relabelled += 1;
        let name = &*line.labels[0].1;
        if name.starts_with("long") {
            return Err(LabelLimit::Count { limit: 1, metric: name.into(), found: 2 });
        }
        let labels = || Labels::new(line.labels.iter().map(|(name, value)| (name, value)));
        Ok((!name.starts_with("drop")).then(labels))
    }

    fn metric(&mut self, labels: &Labels, kind: Kind) -> Option<MetricId> {
        self.resolved += 1;
        let written = if labels.name().starts_with("same") { "same".into() } else { labels.to_string() };
        let next = MetricId(self.metrics.len() as u32);
        let id = *self.metrics.entry(written).or_insert(next);
        if id == next {
            self.kinds.push(kind);
        }
        Some(id)
    }

    fn shape(&mut self, metrics: &[MetricId]) -> Option<(ShapeId, Arc<[MetricId]>)> {
        let whole = (0..LEADING).map(|_| MetricId(u32::MAX)).chain(metrics.iter().copied()).collect();
        if let Some(at) = self.shapes.iter().position(|known| known == metrics) {
            return Some((ShapeId(at as u32), whole));
        }
        self.shapes.push(metrics.to_vec());
        Some((ShapeId(self.shapes.len() as u32 - 1), whole))
    }

    fn sharing_key(&self) -> Option<u64> {
        self.key
    }
}

/// What a page gave: values and markers by metric, samples with their own time, counts.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    values: BTreeMap<MetricId, u64>,
    markers: Vec<MetricId>,
    timed: Vec<(MetricId, i64, u64)>,
    counts: PageCounts,
}

fn read(
    reader: &mut PageReader,
    shapes: &PageShapes,
    target: &mut TargetPage,
    ids: &mut Ids,
    page: &str,
    options: ReadOptions,
) -> Result<Outcome, ReadError> {
    let (mut row, mut timed) = (vec![0.0; LEADING], Vec::new());
    let read = reader.read(target, shapes, page.as_bytes(), options, ids, &mut row, &mut timed);
    if read.is_err() {
        assert_eq!((row.len(), timed.len()), (LEADING, 0), "a page that fails leaves nothing");
    }
    let (shape, counts) = read?;
    let metrics = &ids.shapes[shape.0 as usize];
    assert_eq!(row.len(), LEADING + metrics.len(), "a value for each column");
    assert_eq!(target.shape().unwrap().metrics(), metrics);
    let mut outcome = Outcome { counts, ..Outcome::default() };
    for (column, Sample { at, value }) in timed {
        outcome.timed.push((metrics[column as usize - LEADING], at.as_millis(), value.to_bits()));
    }
    outcome.timed.sort();
    for (metric, value) in metrics.iter().zip(&row[LEADING..]) {
        if is_stale(*value) {
            outcome.markers.push(*metric);
        } else {
            assert_eq!(outcome.values.insert(*metric, value.to_bits()), None, "a metric has one column");
        }
    }
    Ok(outcome)
}

/// One target and those who read it.
#[derive(Default)]
struct Bench {
    reader: PageReader,
    shapes: PageShapes,
    target: TargetPage,
    ids: Ids,
}

impl Bench {
    fn read(&mut self, page: &str) -> Outcome {
        let options = ReadOptions { honor_timestamps: true, ..ReadOptions::default() };
        read(&mut self.reader, &self.shapes, &mut self.target, &mut self.ids, page, options).expect(page)
    }
}

#[test]
fn a_known_page_is_read_without_resolving_anything() {
    let mut bench = Bench::default();
    let page = "# HELP a x\n# TYPE a counter\na{b=\"1\"} 1\na{b=\"2\"} 2.5\nc 3e1\n";
    let first = bench.read(page);
    assert_eq!(first.counts, PageCounts { scraped: 3, kept: 3, added: 3, repeated: 0 });
    assert_eq!(bench.ids.kinds, [Kind::Counter, Kind::Counter, Kind::Unknown]);
    let second = bench.read(&page.replace("2.5", "+Inf").replace("} 1\n", "} 7\n").replace("c 3e1\n", ""));
    assert_eq!(second.values.len(), 2, "{second:?}");
    let third = bench.read(&page.replace("2.5", "NaN"));
    assert_eq!(third.counts, PageCounts { scraped: 3, kept: 3, added: 1, repeated: 0 });
    assert_eq!((bench.ids.resolved, bench.ids.shapes.len()), (3, 1));
}

#[test]
fn lines_that_vanish_leave_a_marker_and_are_known_when_they_return() {
    let mut bench = Bench::default();
    bench.read("a 1\nb 2\nc 3\n");
    let without = bench.read("a 1\nc 3\n");
    assert_eq!((without.markers.len(), without.counts.added), (1, 0));
    let moved = bench.read("c 3\nb 5\na 1\n");
    assert_eq!((moved.markers.len(), moved.counts.added, bench.ids.resolved), (0, 1, 3));
}

#[test]
fn a_shape_forgets_what_has_long_vanished_but_never_a_marker() {
    let mut bench = Bench::default();
    let pages: Vec<String> =
        (0..20).map(|n| (0..100).map(|line| format!("a{{n=\"{n}\",l=\"{line}\"}} 1\n")).collect()).collect();
    let mut before = Outcome::default();
    for page in &pages {
        let outcome = bench.read(page);
        for metric in before.values.keys() {
            assert!(outcome.markers.contains(metric), "{metric} had a value and gets its marker");
        }
        assert!(outcome.markers.len() <= 200, "{}", outcome.markers.len());
        before = outcome;
    }
    let few = bench.read("z 1\n");
    assert!(few.markers.len() >= 100);
    bench.read("z 1\n");
    assert!(bench.read("z 1\n").markers.len() <= 64);
}

#[test]
fn of_two_lines_with_one_series_the_first_counts() {
    let mut bench = Bench::default();
    for _ in 0..2 {
        let outcome = bench.read("same1 1\nsame2 2\na{x=\"1\"} 3\na{ x=\"1\"} 4\na{x=\"1\"} 5\n");
        let mut values: Vec<f64> = outcome.values.values().map(|bits| f64::from_bits(*bits)).collect();
        values.sort_by(f64::total_cmp);
        assert_eq!(values, [1.0, 3.0]);
        assert_eq!((outcome.counts.kept, outcome.counts.repeated), (5, 3));
    }
}

#[test]
fn dropped_lines_are_scraped_but_not_kept() {
    let mut bench = Bench::default();
    for _ in 0..3 {
        let outcome = bench.read("dropped 1\na 2\n");
        assert_eq!((outcome.counts.scraped, outcome.counts.kept, outcome.values.len()), (2, 1, 1));
    }
    assert_eq!(bench.ids.relabelled, 2, "a dropped line is asked for once");
}

#[test]
fn times_of_lines_are_kept_only_where_they_are_honoured() {
    let mut bench = Bench::default();
    for _ in 0..2 {
        let outcome = bench.read("a 1 1000\nb 2\nc 3 -1000\n".replace(" -1000", "").as_str());
        assert_eq!((outcome.timed.len(), outcome.values.len(), outcome.markers.len()), (1, 2, 1));
        assert_eq!((outcome.timed[0].1, f64::from_bits(outcome.timed[0].2)), (1000, 1.0));
    }
    assert_eq!(bench.read("a 1 1000\nb 2\nd 3 9\n").counts.added, 1);
    let mut other = Bench::default();
    let plain = ReadOptions::default();
    let outcome =
        read(&mut other.reader, &other.shapes, &mut other.target, &mut other.ids, "a 1 1000\n", plain).unwrap();
    assert_eq!((outcome.timed.len(), outcome.values.len()), (0, 1));
    assert!(Timestamp::from_millis(1000) > Timestamp::default());
}

#[test]
fn a_page_that_fails_changes_nothing() {
    let mut bench = Bench::default();
    bench.read("a 1\nb 2\n");
    let options = ReadOptions { sample_limit: Some(2), ..ReadOptions::default() };
    let mut fail = |page: &str| {
        read(&mut bench.reader, &bench.shapes, &mut bench.target, &mut bench.ids, page, options)
            .expect_err(page)
            .to_string()
    };
    assert_eq!(fail("a 1\nb 2\nc\n"), "line 3: a value must follow the name");
    assert_eq!(fail("a 1\nb x\n"), "line 2: the value is not a number");
    assert_eq!(fail("a 1\nb 2\nc{d=\"e\",d=\"f\"} 3\n"), "line 3: label name \"d\" is not unique");
    assert_eq!(fail("a 1\nb 2\nc 3\n"), "sample_limit of 2 samples is exceeded");
    let outcome = bench.read("a 1\n");
    assert_eq!((outcome.values.len(), outcome.markers.len(), outcome.counts.added), (1, 1, 0));
}

#[test]
fn alike_targets_share_one_shape() {
    let (mut reader, shapes) = (PageReader::default(), PageShapes::default());
    let mut ids = Ids { key: Some(1), ..Ids::default() };
    let mut targets: Vec<TargetPage> = (0..10).map(|_| TargetPage::default()).collect();
    let mut page: String = (0..50).map(|line| format!("a{{l=\"{line}\"}} {line}\n")).collect();
    for _ in 0..2 {
        for target in &mut targets {
            let outcome = read(&mut reader, &shapes, target, &mut ids, &page, ReadOptions::default()).unwrap();
            assert!(outcome.markers.is_empty());
        }
        assert_eq!(shapes.held().shapes, 1);
        page.push_str("b 1\n");
    }
    drop(targets);
    assert_eq!(shapes.held(), Held::default(), "a shape that nobody has is gone");
}

#[test]
fn alike_targets_share_all_lines_but_their_own() {
    let (mut reader, shapes) = (PageReader::default(), PageShapes::default());
    let mut ids = Ids { key: Some(1), ..Ids::default() };
    let common: String = (0..50).map(|line| format!("a{{l=\"{line}\"}} {line}\n")).collect();
    let mut targets: Vec<TargetPage> = (0..10).map(|_| TargetPage::default()).collect();
    for (at, target) in targets.iter_mut().enumerate() {
        let page = format!("own{{node=\"{at}\"}} 1\n{common}");
        let outcome = read(&mut reader, &shapes, target, &mut ids, &page, ReadOptions::default()).unwrap();
        assert_eq!((outcome.values.len(), outcome.markers.len()), (51, 0), "others' own lines are not taken over");
    }
    assert_eq!((shapes.held().shapes, shapes.held().lines, ids.resolved), (10, 60, 60));
}

#[test]
fn targets_whose_lines_come_and_go_end_with_one_shape() {
    let (mut reader, shapes) = (PageReader::default(), PageShapes::default());
    let mut ids = Ids { key: Some(1), ..Ids::default() };
    let mut targets: Vec<TargetPage> = (0..10).map(|_| TargetPage::default()).collect();
    for scrape in 0..20 {
        for (at, target) in targets.iter_mut().enumerate() {
            let is_there = |line: &usize| !line.is_multiple_of(5) || !(line / 5 + at + scrape).is_multiple_of(3);
            let page: String = (0..50).filter(is_there).map(|line| format!("a{{l=\"{line}\"}} 1\n")).collect();
            read(&mut reader, &shapes, target, &mut ids, &page, ReadOptions::default()).unwrap();
        }
    }
    assert_eq!((shapes.held().shapes, ids.resolved), (1, 50));
    assert!(ids.shapes.len() <= 6, "{} shapes were made on the way", ids.shapes.len());
}

#[test]
fn a_page_that_is_refused_costs_no_id() {
    let mut bench = Bench { ids: Ids { key: Some(1), ..Ids::default() }, ..Bench::default() };
    bench.read("a 1\n");
    let lines = bench.shapes.held().lines;
    let many = format!("a{{{}}} 1\n", (0..5_000).map(|l| format!("l{l}=\"\",")).collect::<String>());
    let long = format!("b 1\na{{b=\"{}\"}} 1\n", "x".repeat(2 << 20));
    let exploded: String = (0..1000).map(|line| format!("a{{l=\"{line}\"}} 1\n")).collect();
    let limited = ReadOptions { sample_limit: Some(100), ..ReadOptions::default() };
    let cases = [
        (exploded.as_str(), limited, "sample_limit of 100 samples is exceeded"),
        ("b 1\nlong 1\n", limited, "label_limit of 1 is exceeded by metric \"long\" with 2 labels"),
        (&many, limited, "label_limit of 4096 is exceeded by metric \"a\" with 5000 labels"),
        (&long, limited, "line 2: the name and labels are longer than 1 MiB"),
        ("b 1\nb{c=\"d\",c=\"d\"} 1\n", limited, "line 2: label name \"c\" is not unique"),
    ];
    for (page, options, message) in cases {
        let Bench { reader, shapes, target, ids } = &mut bench;
        assert_eq!(read(reader, shapes, target, ids, page, options).unwrap_err().to_string(), message);
        assert_eq!((ids.resolved, ids.shapes.len(), shapes.held().lines), (1, 1, lines), "{message}");
    }
    assert!(bench.ids.relabelled < 110, "relabelling ends with the limit");
}

#[test]
fn a_line_of_another_kind_is_another_line() {
    let mut bench = Bench { ids: Ids { key: Some(1), ..Ids::default() }, ..Bench::default() };
    let bucket = "h_bucket{le=\"1\"} 1\n";
    let pages = [bucket.to_owned(), format!("# TYPE h histogram\n{bucket}"), bucket.to_owned()];
    for (page, resolved) in pages.iter().zip([1, 2, 2]) {
        // The target before is gone, and its shape with it; its line is still in the pool.
        bench.target = TargetPage::default();
        bench.read(page);
        assert_eq!((bench.ids.relabelled, bench.ids.resolved), (resolved, resolved), "{page:?}");
    }
    assert_eq!(bench.ids.metrics.len(), 2, "bounds of a histogram are written one way");
}

#[test]
fn series_with_their_own_time_end_with_a_marker_only_where_that_is_asked_for() {
    let at = |scrape: i64| Timestamp::from_millis(scrape * 10_000);
    let check = |is_tracked: bool, expected: &[&[(u32, i64)]]| {
        let mut bench = Bench::default();
        let pages = ["a 1 1000\nb 2\n", "b 2\n", "c 1\na 1 2000\nb 2\n", "d 1\nb 2\nc 1\n", "a 1 3000\nb 2\n"];
        for (scrape, (page, expected)) in pages.iter().zip(expected).enumerate() {
            let timed_end_at = is_tracked.then(|| at(scrape as i64));
            let options = ReadOptions { honor_timestamps: true, timed_end_at, ..ReadOptions::default() };
            let Bench { reader, shapes, target, ids } = &mut bench;
            let outcome = read(reader, shapes, target, ids, page, options).unwrap();
            let ended = outcome.timed.iter().filter(|(_, _, value)| is_stale(f64::from_bits(*value)));
            let ended: Vec<(u32, i64)> = ended.map(|(metric, at, _)| (metric.0, *at)).collect();
            assert_eq!(ended, *expected, "{page:?}");
        }
        bench.target.end_timed(at(9)).len()
    };
    assert_eq!(check(true, &[&[], &[(0, 10_000)], &[], &[(0, 30_000)], &[]]), 1);
    assert_eq!(check(false, &[&[], &[], &[], &[], &[]]), 0);
}

mod mutated {
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

    use super::*;

    /// A line of some page: which of a few series, in which spelling, with which value.
    fn line() -> impl Strategy<Value = String> {
        let series = prop_oneof![
            (0u8..12).prop_map(|n| format!("a{n} ")),
            (0u8..12).prop_map(|n| format!("a{{n=\"{n}\"}} ")),
            (0u8..4).prop_map(|n| format!("a{{n=\"{n}\"}}")),
            (0u8..4).prop_map(|n| format!("a{{ n=\"{n}\"}} ")),
            (0u8..4).prop_map(|n| format!("a{n}-")),
            (0u8..4).prop_map(|n| format!("same{n} ")),
            (0u8..4).prop_map(|n| format!("drop{n} ")),
            Just("a{n=\"x\ny\"} ".to_owned()),
        ];
        let value = prop_oneof![
            any::<u32>().prop_map(|value| value.to_string()),
            any::<f64>().prop_map(|value| format!("{}", value.abs())),
            any::<f32>().prop_map(|value| format!("{:e}", value.abs())),
            Just("1".to_owned()),
        ];
        let time =
            prop_oneof![8 => Just(String::new()), 1 => (0u16..).prop_map(|at| format!(" {at}")), 1 => Just(" ".into())];
        let sample = (series, value, time).prop_map(|(series, value, time)| format!("{series}{value}{time}\n"));
        prop_oneof![
            12 => sample,
            1 => (0u8..3).prop_map(|n| format!("# HELP a{n} help\n")),
            1 => (0u8..3).prop_map(|n| format!("# TYPE a{n} counter\n")),
            1 => Just("\n".to_owned()),
        ]
    }

    /// Pages of which each is the one before with a few lines exchanged, left out, put in or moved.
    fn pages() -> impl Strategy<Value = Vec<String>> {
        let changes = proptest::collection::vec((0usize..40, 0u8..5, line()), 0..6);
        (proptest::collection::vec(line(), 0..30), proptest::collection::vec(changes, 1..6)).prop_map(
            |(mut lines, rounds)| {
                let mut pages = vec![lines.concat()];
                for changes in rounds {
                    for (at, change, line) in changes {
                        let at = if lines.is_empty() { 0 } else { at % lines.len() };
                        match change {
                            0 if !lines.is_empty() => lines[at] = line,
                            1 if !lines.is_empty() => drop(lines.remove(at)),
                            2 if !lines.is_empty() => {
                                let last = lines.len() - 1;
                                lines.swap(at, last);
                            }
                            3 if !lines.is_empty() => lines.rotate_left(at),
                            _ => lines.insert(at, line),
                        }
                    }
                    pages.push(lines.concat());
                }
                pages
            },
        )
    }

    /// Reads a page of a target that is known, and as if it were unknown; checks that both give the same.
    fn check(bench: &mut Bench, at: usize, targets: &mut [(TargetPage, Outcome)], page: &str, options: ReadOptions) {
        let Bench { reader, shapes, ids, .. } = bench;
        let (target, before) = &mut targets[at];
        let fast = read(reader, shapes, target, ids, page, options).expect(page);
        let (fresh_shapes, mut fresh) = (PageShapes::default(), TargetPage::default());
        let plain = read(&mut PageReader::default(), &fresh_shapes, &mut fresh, ids, page, options).expect(page);
        assert_eq!((&fast.values, &fast.timed), (&plain.values, &plain.timed), "{page:?}");
        let counts = PageCounts { added: 0, ..fast.counts };
        assert_eq!(counts, PageCounts { added: 0, ..plain.counts }, "{page:?}");
        let parsed = crate::exposition::parse(page.as_bytes(), options.format).unwrap();
        assert_eq!(parsed.len(), counts.scraped);
        for metric in before.values.keys().filter(|metric| !fast.values.contains_key(metric)) {
            assert!(fast.markers.contains(metric), "{metric} ends with a marker: {page:?}");
        }
        let had = |metric: &MetricId| {
            before.values.contains_key(metric) || before.timed.iter().any(|(timed, ..)| timed == metric)
        };
        let timed = fast.timed.iter().map(|(metric, ..)| metric).filter(|metric| !fast.values.contains_key(metric));
        let has: std::collections::BTreeSet<&MetricId> = fast.values.keys().chain(timed).collect();
        assert_eq!(fast.counts.added, has.into_iter().filter(|metric| !had(metric)).count(), "{page:?}");
        *before = fast;
    }

    proptest! {
        #[test]
        fn a_known_page_reads_as_an_unknown_one(pages in pages(), honor_timestamps in any::<bool>(), key in proptest::option::of(Just(1u64))) {
            let mut bench = Bench { ids: Ids { key, ..Ids::default() }, ..Bench::default() };
            let options = ReadOptions { honor_timestamps, ..ReadOptions::default() };
            let mut targets: [(TargetPage, Outcome); 2] = Default::default();
            for (one, other) in pages.iter().zip(pages.iter().rev()) {
                check(&mut bench, 0, &mut targets, one, options);
                check(&mut bench, 1, &mut targets, other, options);
            }
        }
    }
}
