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
    assert_eq!((waiting(&outbox, "p0"), waiting(&outbox, "p1")), (vec![1, 4, 5], vec![1, 4, 5]));
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
