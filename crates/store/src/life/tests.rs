use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use firetower_model::{Sequence, Timestamp};
use tempfile::TempDir;

use crate::{Batch, Error, Options, Outbox, Store};

fn ms(at: i64) -> Timestamp {
    Timestamp::from_millis(at)
}

fn open(path: &Path, at: i64) -> Store {
    Store::open(path, &Options::new(ms(at), at as u64)).unwrap()
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn push(store: &Store, outbox: &mut Outbox, weight: u64) -> Sequence {
    let mut batch = Batch::default();
    outbox.collect(&mut batch, weight);
    let sequence = outbox.push(&mut batch, b"frame", weight, ms(1));
    store.commit(batch).unwrap();
    sequence
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_restored_copy_begins_a_new_life() {
    let parents = ["p0".to_owned()];
    let dir = tempfile::tempdir().unwrap();
    let [data, backup, restored] = ["data", "backup", "restored"].map(|name| dir.path().join(name));
    let store = open(&data, 100);
    let mut outbox = Outbox::open(&store, &parents).unwrap();
    for weight in [3, 5] {
        push(&store, &mut outbox, weight);
    }
    store.backup(&backup).unwrap();
    assert!(matches!(store.backup(&backup), Err(Error::Exists { .. })));
    assert!(matches!(store.backup(&dir.path().join("no/such")), Err(Error::Files { .. })));
    push(&store, &mut outbox, 7);
    let over = Store::restore(&backup, &data, &Options::new(ms(50), 1));
    assert!(matches!(over, Err(Error::NotEmpty { .. })));
    let (copied, incarnation) = Store::restore(&backup, &restored, &Options::new(ms(50), 1)).unwrap();
    assert!(copied.files > 3 && copied.bytes > 0);
    assert!(store.incarnation() < incarnation, "newer, though the clock went back");
    let again = open(&restored, 200);
    assert_eq!(again.incarnation(), incarnation, "only once");
    let mut outbox = Outbox::open(&again, &parents).unwrap();
    let account = outbox.accounts(0).remove(0);
    assert_eq!((outbox.frames(), account.collected, account.queued, account.residual()), (0, 0, 0, 0));
    assert_eq!(push(&again, &mut outbox, 1), Sequence(3), "no sequence of the copy is given out again");
}

#[test]
fn a_restore_that_was_broken_off_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let [data, half] = ["data", "half"].map(|name| dir.path().join(name));
    drop(open(&data, 1));
    fs::create_dir(&half).unwrap();
    fs::write(half.join("RESTORED"), "data\n").unwrap();
    let refused = Store::open(&half, &Options::new(ms(1), 1)).map(drop).unwrap_err();
    assert!(matches!(refused, Error::HalfRestored { .. }), "{refused}");
    let again = Store::restore(&data, &half, &Options::new(ms(1), 1)).map(drop).unwrap_err();
    assert!(matches!(again, Error::HalfRestored { .. }), "{again}");
    assert!(matches!(crate::check(&half), Err(Error::HalfRestored { .. })));
    copy(&data, &half);
    let before = open(&data, 1).incarnation();
    assert!(before < open(&half, 1).incarnation(), "copied by hand, but for the mark");
    fs::remove_file(data.join("CURRENT")).unwrap();
    let refused = Store::open(&data, &Options::new(ms(1), 1)).map(drop).unwrap_err();
    assert!(matches!(refused, Error::Damaged { .. }), "not taken for an empty one: {refused}");
}

#[test]
fn a_directory_whose_making_was_broken_off_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let made = open(dir.path(), 1);
    drop(made);
    let begun = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join("IDENTITY"), begun.path().join("IDENTITY")).unwrap();
    fs::write(begun.path().join("MANIFEST-000001"), "").unwrap();
    assert!(matches!(crate::check(begun.path()), Err(Error::NoStore { .. })));
    assert_eq!(open(begun.path(), 2).incarnation().random, 2);
}

#[test]
fn a_directory_that_went_back_begins_a_new_life_when_it_is_opened_next() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 7);
    let before = store.incarnation();
    assert!(matches!(store.note_went_back(), Error::WentBack { .. }));
    assert_eq!(store.incarnation(), before);
    drop(store);
    let after = open(dir.path(), 8).incarnation();
    assert!(before < after);
    assert_eq!(open(dir.path(), 9).incarnation(), after);
}

#[test]
fn a_damaged_log_begins_a_new_life_and_a_torn_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 7);
    for at in 0..20u8 {
        let mut batch = Batch::default();
        store.put_note(&mut batch, &at.to_string(), &[at; 100]);
        store.commit(batch).unwrap();
        store.sync().unwrap();
    }
    let check = |change: fn(&mut Vec<u8>), is_new: bool| {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let log = fs::read_dir(copied.path()).unwrap().map(|entry| entry.unwrap().path());
        let log = log.filter(|path| path.extension().is_some_and(|end| end == "log"));
        let log = log.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let mut bytes = fs::read(&log).unwrap();
        change(&mut bytes);
        fs::write(&log, bytes).unwrap();
        let opened = open(copied.path(), 9);
        assert_eq!(opened.incarnation() != store.incarnation(), is_new);
        opened.note("0").unwrap()
    };
    assert_eq!(check(|_| {}, false), Some(vec![0; 100]));
    assert_eq!(check(|log| log.truncate(log.len() - 5), false), Some(vec![0; 100]));
    check(
        |log| {
            let middle = log.len() / 2;
            log[middle] ^= 4;
        },
        true,
    );
}

/// A directory, and what of it survives a power loss.
struct Written {
    dir: TempDir,
    /// How many batches were written before the last sync.
    synced: u64,
    /// Sizes of the log files when that was over.
    sizes: BTreeMap<String, u64>,
}

/// Writes batches of two notes each, with syncs and flushes in between.
fn write(seed: u64) -> Written {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1);
    let (mut state, mut synced, mut sizes) = (seed, 0, log_sizes(dir.path()));
    let batches = 5 + next(&mut state) % 40;
    for number in 0..batches {
        let mut batch = Batch::default();
        let value = vec![number as u8; (next(&mut state) % 3_000) as usize];
        store.put_note(&mut batch, &format!("a{number}"), &value);
        store.put_note(&mut batch, &format!("b{number}"), &value);
        store.commit(batch).unwrap();
        match next(&mut state) % 8 {
            0 | 1 => {
                store.sync().unwrap();
                (synced, sizes) = (number + 1, log_sizes(dir.path()));
            }
            2 => store.flush().unwrap(),
            _ => {}
        }
    }
    // Nothing is flushed or synced by that.
    drop(store);
    Written { dir, synced, sizes }
}

fn log_sizes(path: &Path) -> BTreeMap<String, u64> {
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let logs = files.filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
    logs.map(|log| (log.file_name().into_string().unwrap(), log.metadata().unwrap().len())).collect()
}

#[test]
fn what_was_synced_survives_a_power_loss_and_nothing_is_half_there() {
    let number = |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse::<u64>().unwrap());
    let (first, seeds) = (number("SEED", 0), number("SEEDS", 25));
    for seed in first..first + seeds {
        let Written { dir, synced, sizes } = write(seed);
        let mut state = !seed;
        // The pages of the log that were not synced are there, or not, or hold something else.
        for (name, now) in log_sizes(dir.path()) {
            let least = sizes.get(&name).copied().unwrap_or(0);
            let mut bytes = fs::read(dir.path().join(&name)).unwrap();
            let kept = least + next(&mut state) % (now - least + 1);
            match next(&mut state) % 3 {
                0 => bytes.truncate(kept as usize),
                1 => bytes[kept as usize..].fill(0),
                _ => bytes[kept as usize..].iter_mut().for_each(|byte| *byte = next(&mut state) as u8),
            }
            fs::write(dir.path().join(&name), bytes).unwrap();
        }
        let store = open(dir.path(), 2);
        assert_eq!(store.incarnation().random, 1, "seed {seed}: what was lost was promised to nobody");
        let there = |number: u64| {
            let [a, b] = ["a", "b"].map(|half| store.note(&format!("{half}{number}")).unwrap());
            assert_eq!(a, b, "seed {seed}: batch {number} is half there");
            a.is_some()
        };
        let count = (0..60).filter(|number| there(*number)).count() as u64;
        assert!(synced <= count, "seed {seed}: {synced} batches were synced, {count} are there");
        assert!((0..count).all(there), "seed {seed}: a later batch is there without an earlier one");
    }
}
