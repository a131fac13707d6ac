use proptest::prelude::*;

use super::*;
use crate::tree::tests::{TestStore, at};

const HOUR: Duration = Duration::from_secs(3_600);

fn parents(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn ranges(from: u64, to: u64) -> RangeSet {
    RangeSet::from_iter([(from, to)])
}

fn committed<T>(store: &Store, change: impl FnOnce(&mut Batch) -> T) -> T {
    let mut batch = Batch::default();
    let result = change(&mut batch);
    store.commit(batch).unwrap();
    result
}

fn waiting(outbox: &Outbox, parent: &str) -> Vec<u64> {
    outbox.unacknowledged(parent).map(|sequence| sequence.0).collect()
}

fn frame(sequence: u64, weight: u64, payload: &[u8]) -> Option<Stored> {
    Some(Stored::Frame { sequence: Sequence(sequence), weight, payload: payload.into() })
}

#[test]
fn frames_wait_for_every_parent_and_sequences_are_never_used_again() {
    let test = TestStore::new();
    let mut outbox = Outbox::open(&test.store, &parents(&["p0", "p1"])).unwrap();
    for weight in [5, 7] {
        committed(&test.store, |batch| {
            outbox.collect(batch, weight);
            outbox.push(batch, &[weight as u8], weight, at(1))
        });
    }
    assert_eq!(outbox.read(Sequence(2)).unwrap(), frame(2, 7, &[7]));
    assert_eq!(committed(&test.store, |batch| outbox.acknowledge(batch, "p0", &ranges(2, 99))), 7);
    assert_eq!(committed(&test.store, |batch| outbox.acknowledge(batch, "p0", &ranges(2, 2))), 0, "said twice");
    assert_eq!((waiting(&outbox, "p0"), waiting(&outbox, "p1")), (vec![1], vec![1, 2]));
    committed(&test.store, |batch| outbox.acknowledge(batch, "p0", &ranges(1, 1)));
    committed(&test.store, |batch| outbox.acknowledge(batch, "p1", &ranges(1, 2)));
    assert_eq!((outbox.frames(), outbox.bytes(), outbox.read(Sequence(2)).unwrap()), (0, 0, None));
    drop(outbox);
    let store = test.reopen();
    let mut outbox = Outbox::open(&store.store, &parents(&["p0", "p1"])).unwrap();
    assert_eq!(committed(&store.store, |batch| outbox.push(batch, b"x", 1, at(2))), Sequence(3));
    assert_eq!(waiting(&outbox, "p0"), [3], "99 was not yet given out when it was acknowledged");
    assert_eq!(outbox.accounts(0)[0].delivered, 12);
}

#[test]
fn parents_come_and_go() {
    let test = TestStore::new();
    let mut outbox = Outbox::open(&test.store, &parents(&["p0", "p1"])).unwrap();
    for weight in [1, 2, 4] {
        committed(&test.store, |batch| {
            outbox.collect(batch, weight);
            outbox.push(batch, b"..", weight, at(1))
        });
    }
    committed(&test.store, |batch| outbox.collect(batch, 3));
    committed(&test.store, |batch| outbox.drop_samples(batch, DropReason::LateUnmerged, 3));
    committed(&test.store, |batch| outbox.acknowledge(batch, "p0", &ranges(1, 1)));
    committed(&test.store, |batch| outbox.acknowledge(batch, "p1", &ranges(1, 2)));
    drop(outbox);
    let mut outbox = Outbox::open(&test.store, &parents(&["p1", "p2"])).unwrap();
    assert_eq!((waiting(&outbox, "p1"), waiting(&outbox, "p2")), (vec![3], vec![2, 3]), "p2 gets what is left");
    committed(&test.store, |batch| outbox.acknowledge(batch, "p2", &ranges(3, 3)));
    let [p1, p2] = <[Account; 2]>::try_from(outbox.accounts(0)).unwrap();
    assert_eq!(
        (p1.collected, p1.delivered, p1.queued, p1.dropped.as_slice()),
        (10, 3, 4, &[(DropReason::LateUnmerged, 3)][..])
    );
    assert_eq!((p2.collected, p2.delivered, p2.queued, p2.dropped.len()), (6, 4, 2, 0));
    assert_eq!((p1.residual(), p2.residual()), (0, 0));
    drop(outbox);
    let outbox = Outbox::open(&test.store, &parents(&["p1"])).unwrap();
    assert_eq!((waiting(&outbox, "p1"), outbox.frames()), (vec![3], 1), "p2 holds nothing any more");
}

#[test]
fn what_is_dropped_leaves_one_tombstone_at_the_front() {
    let test = TestStore::new();
    let mut outbox = Outbox::open(&test.store, &parents(&["p0", "p1"])).unwrap();
    for sequence in 1..=5 {
        committed(&test.store, |batch| {
            outbox.collect(batch, 10);
            outbox.push(batch, b"1234", 10, at(sequence))
        });
    }
    committed(&test.store, |batch| outbox.acknowledge(batch, "p0", &ranges(1, 2)));
    let dropped = committed(&test.store, |batch| outbox.enforce(batch, 12, HOUR, at(6)));
    let tombstone = |from, to| Tombstone { from: Sequence(from), to: Sequence(to), reason: DropReason::OutboxFull };
    assert_eq!(dropped, Some(tombstone(1, 2)));
    assert_eq!(committed(&test.store, |batch| outbox.enforce(batch, 12, HOUR, at(6))), None);
    assert_eq!((waiting(&outbox, "p0"), waiting(&outbox, "p1")), (vec![3, 4, 5], vec![1, 3, 4, 5]));
    committed(&test.store, |batch| outbox.enforce(batch, 12, HOUR, at(3_603) + Duration::from_millis(1)));
    drop(outbox);
    let mut outbox = Outbox::open(&test.store, &parents(&["p0", "p1"])).unwrap();
    assert_eq!(outbox.read(Sequence(2)).unwrap(), Some(Stored::Tombstone(tombstone(1, 3))));
    assert_eq!((waiting(&outbox, "p0"), waiting(&outbox, "p1")), (vec![3, 4, 5], vec![1, 4, 5]), "p0 has two of three");
    let dropped: Vec<u64> = outbox.accounts(0).iter().map(|account| account.dropped[0].1).collect();
    assert_eq!(dropped, [10, 30]);
    committed(&test.store, |batch| outbox.acknowledge(batch, "p0", &ranges(1, 3)));
    committed(&test.store, |batch| outbox.acknowledge(batch, "p1", &ranges(1, 4)));
    assert_eq!((waiting(&outbox, "p0"), waiting(&outbox, "p1")), (vec![4, 5], vec![5]));
    assert!(outbox.accounts(0).iter().all(|account| account.residual() == 0));
}

#[derive(Clone, Debug)]
enum Step {
    Push { weight: u64, bytes: usize },
    Late { samples: u64 },
    Acknowledge { parent: usize, from: u64, more: u64 },
    Enforce { bytes_max: u64, age_max: Duration },
    Reopen { is_second_named: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0u64..50, 0usize..9).prop_map(|(weight, bytes)| Step::Push { weight, bytes }),
        1 => (0u64..9).prop_map(|samples| Step::Late { samples }),
        5 => (0usize..2, 0u64..30, 0u64..6).prop_map(|(parent, from, more)| Step::Acknowledge { parent, from, more }),
        1 => (0u64..40, 1u64..30)
            .prop_map(|(bytes_max, age)| Step::Enforce { bytes_max, age_max: Duration::from_secs(age) }),
        1 => prop::bool::weighted(0.7).prop_map(|is_second_named| Step::Reopen { is_second_named }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_account_closes_whatever_happens(steps in prop::collection::vec(step(), 1..60)) {
        let test = TestStore::new();
        let mut outbox = Outbox::open(&test.store, &parents(&["p0", "p1"])).unwrap();
        for (now, step) in steps.into_iter().enumerate() {
            let now = at(now as u64);
            let mut batch = Batch::default();
            match step {
                Step::Push { weight, bytes } => {
                    outbox.collect(&mut batch, weight);
                    outbox.push(&mut batch, &vec![7; bytes], weight, now);
                }
                Step::Late { samples } => {
                    outbox.collect(&mut batch, samples);
                    outbox.drop_samples(&mut batch, DropReason::LateUnmerged, samples);
                }
                Step::Acknowledge { parent, from, more } => {
                    outbox.acknowledge(&mut batch, ["p0", "p1"][parent], &ranges(from, from + more));
                }
                Step::Enforce { bytes_max, age_max } => {
                    outbox.enforce(&mut batch, bytes_max, age_max, now);
                    prop_assert!(outbox.bytes() <= bytes_max && outbox.oldest_age(now) <= age_max);
                }
                Step::Reopen { is_second_named } => {
                    let (accounts, names) = (outbox.accounts(3), if is_second_named { &["p0", "p1"][..] } else { &["p0"] });
                    drop(outbox);
                    outbox = Outbox::open(&test.store, &parents(names)).unwrap();
                    prop_assert_eq!(&outbox.accounts(3)[0], &accounts[0]);
                }
            }
            test.store.commit(batch).unwrap();
            for account in outbox.accounts(0) {
                prop_assert_eq!(account.residual(), 0, "{:?}", account);
                for sequence in outbox.unacknowledged(&account.parent) {
                    prop_assert!(outbox.read(sequence).unwrap().is_some());
                }
            }
        }
    }
}

/// What a parent replica has applied of one child, and what is on its way in both directions.
#[derive(Default)]
struct Replica {
    applied: RangeSet,
    /// Weights of the frames among them.
    weights: BTreeMap<u64, u64>,
    frames: Vec<Stored>,
    acknowledgements: Vec<RangeSet>,
    after: u64,
    is_open: bool,
}

impl Replica {
    /// Connects: what was on its way is void, and the replica says what it has.
    fn connect(&mut self, outbox: &mut Outbox, batch: &mut Batch, name: &str) {
        (self.frames, self.acknowledgements, self.after, self.is_open) = (Vec::new(), Vec::new(), 0, true);
        outbox.greet(batch, name, &self.applied, Some(self.samples()));
    }

    fn samples(&self) -> u64 {
        self.weights.values().sum()
    }

    /// Forgets what came after `through`, as one does whose data directory was lost, or restored from a copy.
    fn lose(&mut self, through: u64) {
        let kept = self.applied.iter().map(|(from, to)| (from, to.min(through)));
        self.applied = kept.collect();
        self.weights.retain(|sequence, _| *sequence <= through);
    }

    /// Sends the next frames as a link does: a tombstone only once nothing that it covers is on its way.
    fn send(&mut self, outbox: &mut Outbox, name: &str, count: usize) {
        for _ in 0..if self.is_open { count } else { 0 } {
            let covered = outbox.tombstone(name).filter(|tombstone| {
                let is_clear =
                    |stored: &Stored| matches!(stored, Stored::Frame { sequence, .. } if *sequence > tombstone.to);
                self.frames.iter().all(is_clear) && self.acknowledgements.is_empty()
            });
            let next = outbox.next_frame(name, Sequence(self.after), Sequence(u64::MAX));
            let Some(stored) = covered.map(Stored::Tombstone).or_else(|| outbox.read(next?).unwrap()) else { return };
            if let Stored::Frame { sequence, .. } = &stored {
                outbox.offer(name, *sequence);
                self.after = sequence.0;
            }
            self.frames.push(stored);
        }
    }

    /// Applies what has come, each frame once, and acknowledges it.
    fn receive(&mut self, count: usize) {
        for stored in self.frames.drain(..count.min(self.frames.len())) {
            let (from, to, weight) = match stored {
                Stored::Frame { sequence, weight, .. } => (sequence.0, sequence.0, weight),
                Stored::Tombstone(tombstone) => (tombstone.from.0, tombstone.to.0, 0),
            };
            if self.applied.insert_range(from, to) > 0 && weight > 0 {
                self.weights.insert(from, weight);
            }
            self.acknowledgements.push(ranges(from, to));
        }
    }
}

#[derive(Clone, Debug)]
enum Move {
    Push { weight: u64 },
    Connect,
    Send { count: usize },
    Receive { count: usize },
    Acknowledge { count: usize },
    Enforce { bytes_max: u64 },
    Restart,
    LoseParent { restored_through: u64 },
}

fn a_move() -> impl Strategy<Value = (usize, Move)> {
    let what = prop_oneof![
        6 => (1u64..50).prop_map(|weight| Move::Push { weight }),
        2 => Just(Move::Connect),
        5 => (1usize..6).prop_map(|count| Move::Send { count }),
        5 => (1usize..6).prop_map(|count| Move::Receive { count }),
        5 => (1usize..6).prop_map(|count| Move::Acknowledge { count }),
        2 => (0u64..30).prop_map(|bytes_max| Move::Enforce { bytes_max }),
        1 => Just(Move::Restart),
        1 => (0u64..20).prop_map(|restored_through| Move::LoseParent { restored_through }),
    ];
    (0usize..2, what)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn both_ends_of_a_hop_count_the_same(moves in prop::collection::vec(a_move(), 1..120)) {
        let names = ["p0", "p1"];
        let test = TestStore::new();
        let mut outbox = Outbox::open(&test.store, &parents(&names)).unwrap();
        let mut replicas = names.map(|_| Replica::default());
        for (which, what) in moves.into_iter().chain((0..2).map(|which| (which, Move::Connect))) {
            let mut batch = Batch::default();
            let (name, replica) = (names[which], &mut replicas[which]);
            match what {
                Move::Push { weight } => {
                    outbox.collect(&mut batch, weight);
                    outbox.push(&mut batch, b"....", weight, at(1));
                }
                Move::Connect => replica.connect(&mut outbox, &mut batch, name),
                Move::Send { count } => replica.send(&mut outbox, name, count),
                Move::Receive { count } => replica.receive(count),
                Move::Acknowledge { count } => {
                    let said = replica.acknowledgements.drain(..count.min(replica.acknowledgements.len()));
                    for ranges in said {
                        outbox.acknowledge(&mut batch, name, &ranges);
                    }
                }
                Move::Enforce { bytes_max } => drop(outbox.enforce(&mut batch, bytes_max, HOUR, at(1))),
                Move::Restart => {
                    drop(outbox);
                    outbox = Outbox::open(&test.store, &parents(&names)).unwrap();
                    // What was sent may still come through, until the next hello.
                    for replica in &mut replicas {
                        (replica.acknowledgements, replica.is_open) = (Vec::new(), false);
                    }
                }
                Move::LoseParent { restored_through } => {
                    replica.lose(restored_through);
                    replica.connect(&mut outbox, &mut batch, name);
                }
            }
            test.store.commit(batch).unwrap();
            for (account, replica) in outbox.accounts(0).iter().zip(&replicas) {
                prop_assert_eq!(account.residual(), 0, "{:?}", account);
                let claim = outbox.claim(&account.parent).unwrap_or_default();
                prop_assert!(claim.delivered <= replica.samples(), "{:?} of {}", claim, replica.samples());
            }
        }
        for (name, replica) in names.iter().zip(&mut replicas) {
            let mut batch = Batch::default();
            replica.connect(&mut outbox, &mut batch, name);
            for _ in 0..300 {
                replica.send(&mut outbox, name, 1);
                replica.receive(1);
                for said in replica.acknowledgements.drain(..) {
                    outbox.acknowledge(&mut batch, name, &said);
                }
            }
            test.store.commit(batch).unwrap();
            let claim = outbox.claim(name).unwrap();
            prop_assert_eq!(claim.delivered, replica.samples());
            prop_assert_eq!(claim.collected, claim.delivered + claim.dropped);
        }
    }
}
