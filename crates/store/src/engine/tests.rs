//! The model and RocksDB say the same, and the model loses what it should.

use proptest::prelude::*;

use super::*;
use crate::database::{DataDirectory, Options, Store};
use firetower_model::Timestamp;

/// What is done to both engines.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    DeleteRange(u8, u8),
    Seek(u8),
    SeekForPrev(u8),
    First,
    Last,
    Next,
    Prev,
    Anew(Option<u8>, Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..40u8;
    prop_oneof![
        4 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        1 => key.clone().prop_map(Step::Delete),
        1 => (key.clone(), key.clone()).prop_map(|(a, b)| Step::DeleteRange(a.min(b), a.max(b))),
        2 => key.clone().prop_map(Step::Seek),
        2 => key.clone().prop_map(Step::SeekForPrev),
        1 => Just(Step::First),
        1 => Just(Step::Last),
        2 => Just(Step::Next),
        2 => Just(Step::Prev),
        2 => (proptest::option::of(key.clone()), proptest::option::of(key)).prop_map(|(a, b)| Step::Anew(a, b)),
    ]
}

/// Does `steps` and returns what was seen on the way.
fn trace(store: &Store, steps: &[Step]) -> Vec<String> {
    let (db, family) = (&store.db, store.family("windows"));
    let mut entries = db.raw_iterator_cf_opt(family, ReadOptions::default());
    let mut seen = Vec::new();
    for step in steps {
        match step {
            Step::Put(key, value) => db.put_cf(family, [*key], [*value]).unwrap(),
            Step::Delete(key) => {
                let mut batch = WriteBatch::default();
                batch.delete_cf(family, [*key]);
                db.write(batch).unwrap();
            }
            Step::DeleteRange(from, to) => db.delete_range_cf(family, [*from], [*to]).unwrap(),
            Step::Seek(key) => entries.seek([*key]),
            Step::SeekForPrev(key) => entries.seek_for_prev([*key]),
            Step::First => entries.seek_to_first(),
            Step::Last => entries.seek_to_last(),
            // RocksDB must not be asked where it stands nowhere.
            Step::Next if entries.valid() => entries.next(),
            Step::Prev if entries.valid() => entries.prev(),
            Step::Next | Step::Prev => {}
            Step::Anew(lower, upper) => {
                let mut options = ReadOptions::default();
                lower.iter().for_each(|key| options.set_iterate_lower_bound([*key]));
                upper.iter().for_each(|key| options.set_iterate_upper_bound([*key]));
                entries = db.raw_iterator_cf_opt(family, options);
            }
        }
        seen.push(format!("{step:?} {:?} {:?}", entries.item(), db.get_cf(family, [7]).unwrap()));
    }
    seen.push(format!("{:?}", db.pairs_cf(family, ReadOptions::default()).collect::<Vec<_>>()));
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_say_the_same(steps in proptest::collection::vec(step(), 1..200)) {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(Timestamp::from_millis(1), 1);
        let rocks = Store::open(folder.path(), &options).unwrap();
        let model = Store::open_in(&DataDirectory::Model(ModelDisk::new()), &options).unwrap();
        prop_assert_eq!(trace(&rocks, &steps), trace(&model, &steps));
    }
}

/// Keys in `windows` once the disk was opened anew.
fn survivors(disk: &ModelDisk) -> Vec<u8> {
    let model = Engine::Model(disk.open());
    let pairs = model.pairs_cf(model.family("windows"), ReadOptions::default());
    pairs.map(|pair| pair.unwrap().0[0]).collect()
}

#[test]
fn a_power_loss_takes_the_end_of_the_log_and_what_was_not_logged() {
    for (kept, expected) in [(0, vec![1, 2]), (1, vec![1, 2, 4]), (9, vec![1, 2, 4, 5])] {
        let disk = ModelDisk::new();
        let model = Engine::Model(disk.open());
        let put = |key: u8| {
            let mut batch = WriteBatch::default();
            batch.put_cf(model.family("windows"), [key], []);
            batch
        };
        model.write_unlogged(put(1)).unwrap();
        model.flush().unwrap();
        model.write(put(2)).unwrap();
        model.sync().unwrap();
        model.write_unlogged(put(3)).unwrap();
        model.write(put(4)).unwrap();
        model.write(put(5)).unwrap();
        assert_eq!(disk.unsynced_batches(), 2);
        disk.lose_power(kept);
        model.write_synced(put(6)).unwrap();
        assert_eq!(survivors(&disk), expected, "kept {kept}; what a process that is gone writes goes nowhere");
    }
}

#[test]
fn the_power_may_go_between_two_writes() {
    let disk = ModelDisk::new();
    let model = Engine::Model(disk.open());
    disk.lose_power_after(2);
    for key in 1..=3 {
        assert_eq!(disk.has_lost_power(), key == 3);
        model.put_cf(model.family("windows"), [key], []).unwrap();
    }
    model.sync().unwrap();
    assert_eq!(disk.unsynced_batches(), 2);
    disk.lose_power(1);
    assert_eq!(survivors(&disk), [1]);
    assert!(!disk.has_lost_power());
}

#[test]
fn a_killed_process_loses_what_was_not_logged() {
    let disk = ModelDisk::new();
    let model = Engine::Model(disk.open());
    model.put_cf(model.family("windows"), [1], []).unwrap();
    let mut batch = WriteBatch::default();
    batch.put_cf(model.family("windows"), [2], []);
    model.write_unlogged(batch).unwrap();
    assert_eq!(survivors(&disk), [1]);
    let copy = disk.copy();
    disk.wipe();
    assert_eq!(survivors(&disk), Vec::<u8>::new());
    disk.replace(&copy);
    assert_eq!(survivors(&disk), [1]);
}
