use std::collections::BTreeMap;

use firetower_model::{Budget, CrossSum, Labels, Revision};
use firetower_relay::OutboxLimits;
use firetower_scrape::{PageCounts, Read};
use firetower_store::Options;

use super::*;
use crate::window::rows;

const WINDOW: Duration = Duration::from_secs(15);
const LIMITS: OutboxLimits = OutboxLimits { bytes: 1 << 30, age: Duration::from_secs(3_600) };
const CONTAINERS: usize = 6;
const NAMES: [&str; 5] = [
    "container_cpu_usage_seconds_total",
    "container_memory_rss",
    "container_fs_reads_total",
    "container_network_receive_bytes_total",
    "container_threads",
];

/// A fleet whose targets each show some containers that no other shows, and of which a tenth is replaced every window.
struct Fleet {
    store: Store,
    outlet: Arc<Outlet>,
    collector: Collector,
    places: Vec<u32>,
    now: Timestamp,
    _directory: tempfile::TempDir,
}

impl Fleet {
    fn new(targets: usize) -> Fleet {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::from_millis(1_700_000_010_000);
        let store = Store::open(directory.path(), &Options::new(now, 7)).unwrap();
        let outlet = Outlet::open(&store, &["dub-p0".to_owned()], LIMITS).unwrap();
        let place = Place {
            node: "dub-s0".into(),
            datacenter: "dub".into(),
            window: WINDOW,
            late_window: Duration::from_secs(3_600),
            default_interval: WINDOW,
            raw_retention: Duration::from_secs(3_600),
        };
        let budget = Budget { label_values_max: 100, job_rows_max: 20_000, promoted: Vec::new() };
        let plans = Plans::open(store.clone(), budget).unwrap();
        let census = Census::new("dub-s0", "dub", 0);
        let open = Collector::open(place, store.clone(), Some(Arc::clone(&outlet)), plans, census, now);
        let mut collector = open.unwrap();
        let targets = (0..targets).map(|at| Target {
            job_name: "cadvisor".into(),
            labels: Labels::new([("job", "cadvisor".to_owned()), ("instance", format!("h{at}:4194"))]),
            url: format!("http://h{at}:4194/metrics"),
            interval: WINDOW,
            timeout: Duration::from_secs(10),
        });
        let share = Assignment::new(firetower_model::Generation(1), now, targets.collect());
        let mut batch = Batch::default();
        let places = collector.assign(share, now, &mut batch).unwrap();
        store.commit(batch).unwrap();
        Fleet { store, outlet, collector, places, now, _directory: directory }
    }

    /// Scrapes every target once, closes the window, and returns how many bytes its frame adds to the outbox.
    fn window(&mut self, number: usize) -> u64 {
        let leading = self.collector.leading();
        for at in 0..self.places.len() {
            let metrics: Vec<MetricId> = leading.iter().copied().chain(self.page(at, number)).collect();
            let shape = self.store.intern_shape(&metrics).unwrap();
            // Alike in size and otherwise at random, as values are.
            let value = |column: usize| {
                let place = (number * self.places.len() + at) * metrics.len() + column;
                (1_000_000 + ((place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44)) as f64
            };
            let values = (0..metrics.len()).map(value).collect();
            let read = Read { shape, values, timed: Vec::new(), counts: PageCounts::default() };
            let scrape = Scrape {
                index: self.places[at],
                slot: self.now,
                at: self.now,
                started: self.now,
                duration: Duration::from_millis(5),
                response_bytes: 0,
                outcome: Ok(read),
                ended: Vec::new(),
            };
            let mut batch = Batch::default();
            self.collector.take(scrape, &mut batch, self.now).unwrap();
            self.store.commit(batch).unwrap();
        }
        self.now = self.now + WINDOW;
        let before = self.outlet.queued().1;
        self.collector.close_due(self.now).unwrap();
        self.outlet.queued().1 - before
    }

    fn page(&self, target: usize, number: usize) -> impl Iterator<Item = MetricId> {
        let series = (0..CONTAINERS).flat_map(move |at| {
            // One container in ten is another one in the next window.
            let life = (number + at + target) / 10;
            NAMES.iter().map(move |name| {
                Labels::new([
                    (NAME, (*name).to_owned()),
                    ("id", format!("/kubepods/pod{target}-{at}-{life}")),
                    ("pod", format!("pod-{target}-{at}-{life}")),
                    ("name", format!("k8s_{target}_{at}_{life}")),
                    ("namespace", format!("ns{}", (target + at) % 12)),
                    ("container", format!("c{}", at % 3)),
                    ("image", format!("image{}", at % 3)),
                ])
            })
        });
        let interned: Vec<MetricId> =
            series.map(|labels| self.store.intern_metric(&labels, Kind::Unknown).unwrap()).collect();
        interned.into_iter()
    }

    /// Does what a primary does: decides what was proposed, and says so.
    fn decide(&mut self) -> usize {
        let mut decided = self.collector.plans.kept().labels().clone();
        let from = Window::containing(self.now, WINDOW).end() + WINDOW;
        let count = decided.decide(from);
        self.collector.adopt_kept(&decided);
        self.collector.send_kept(self.now).unwrap();
        count
    }
}

/// Returns the bytes of the frame of each of ten windows.
fn frame_bytes(targets: usize) -> Vec<u64> {
    let mut fleet = Fleet::new(targets);
    (0..10)
        .map(|number| {
            let bytes = fleet.window(number);
            if number == 0 {
                assert_eq!(fleet.decide(), 3 * NAMES.len(), "id, pod and name of each");
            }
            bytes
        })
        .collect()
}

#[test]
fn bytes_upward_follow_metrics_and_jobs_though_containers_come_and_go() {
    let [few, many] = [500, 5_000].map(frame_bytes);
    println!("500 targets: {few:?} bytes a window, 5,000 targets: {many:?}");
    for (few, many) in few.iter().zip(&many).skip(4) {
        assert!((*many as f64) < 1.2 * *few as f64, "{many} is over 1.2 times {few}");
    }
    let [before, after] = [many[0], many[9]];
    assert!(before < 50 * after, "{before}: the first window, before anything was decided, is bounded too");
}

#[test]
fn a_window_made_again_has_the_keys_of_its_time() {
    let mut fleet = Fleet::new(40);
    let starts: Vec<Timestamp> = (0..6)
        .map(|number| {
            let start = Window::containing(fleet.now, WINDOW).start();
            fleet.window(number);
            if number == 0 {
                fleet.decide();
            }
            start
        })
        .collect();
    let collector = &mut fleet.collector;
    for (number, start) in starts.into_iter().enumerate().skip(1) {
        let window = Window::containing(start, WINDOW);
        let mut sums: Vec<CrossSum> = Vec::new();
        let share = Arc::clone(collector.shares.of(window));
        for (id, target) in share.targets() {
            let class = collector.plans.class(&target.labels);
            crate::replay::replay(
                &fleet.store,
                &mut collector.plans,
                (id, class, Timestamp::MIN),
                None,
                (window, WINDOW),
                &mut sums,
            )
            .unwrap();
        }
        let mut by_labels: BTreeMap<bool, u64> = BTreeMap::new();
        for (row, cross) in rows(&sums) {
            let key = fleet.store.row_key(row).unwrap();
            if NAMES.contains(&key.name()) {
                *by_labels.entry(key.get("pod").is_some()).or_default() += cross.series;
            }
        }
        let is_decided = number >= 3;
        assert_eq!(by_labels.contains_key(&true), !is_decided, "window {number}: {by_labels:?}");
        assert!(by_labels.values().sum::<u64>() >= (40 * CONTAINERS * NAMES.len()) as u64, "no series is lost");
    }
}

#[test]
fn a_window_that_is_out_is_corrected_when_a_target_turns_out_to_be_anothers() {
    let mut fleet = Fleet::new(2);
    let start = fleet.now;
    for number in 0..2 {
        fleet.window(number);
    }
    let window = Window::containing(start, WINDOW);
    assert_eq!(fleet.collector.records[&start].revision, Revision(1));
    let both = fleet.collector.shares.of(window).assignment.targets.clone();
    let mut last = fleet.outlet.last_sequence();
    // It is told again later, as every primary does: that changes nothing.
    for (generation, revision) in [(2, Revision(1).corrected()), (3, Revision(1).corrected())] {
        let share = Assignment::new(firetower_model::Generation(generation), start, both[..1].to_vec());
        let mut batch = Batch::default();
        fleet.collector.assign(share, fleet.now, &mut batch).unwrap();
        fleet.store.commit(batch).unwrap();
        fleet.now = fleet.now + closing::LATE_LINGER;
        fleet.collector.close_due(fleet.now).unwrap();
        assert_eq!(fleet.collector.records[&start].revision, revision, "generation {generation}");
        let (before, count) = (last, fleet.collector.shares.of(window).assignment.targets.len());
        last = fleet.outlet.last_sequence();
        assert_eq!((count, last > before), (1, generation == 2), "generation {generation}");
    }
}
