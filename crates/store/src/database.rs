//! The database itself: opening, batches, syncing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use firetower_model::{Incarnation, Timestamp};
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompactionStyle, UniversalCompactOptions};

use crate::backup::restored_mark;
use crate::check::{has_content, has_damaged_log, is_vanished};
use crate::disk::Disk;
use crate::engine::{Engine, Family, ModelDisk, ReadOptions, Rocks, WriteBatch};
use crate::error::Error;
use crate::life::Renewal;
use crate::raw::{Raw, Touched};
use crate::tree::Tree;

/// The format this release writes.
pub(crate) const FORMAT_VERSION: u32 = 2;

/// The column families: (name, whether RocksDB compresses it).
///
/// Rows, blocks and frames arrive compressed.
pub(crate) const FAMILIES: [(&str, bool); 14] = [
    ("meta", false),
    ("names", true),
    ("raw_rows", false),
    ("raw_blocks", false),
    ("raw_loose", true),
    ("spans_5m", false),
    ("spans_1h", false),
    ("windows", false),
    ("outbox", false),
    ("applied", true),
    ("partials", true),
    ("row_keys", true),
    ("rows", true),
    ("health", true),
];

/// Holds rows until they are settled; they are written and dropped again within hours.
const ROWS_FAMILY: &str = "raw_rows";
/// How many files of rows lie beside each other before they are merged: each file is one more to look into for a
/// reader, each merge writes everything again.
const ROW_FILES: i32 = 8;
/// Files of rows are never merged into older ones only because those take more than this much more than is needed.
const ROWS_SURPLUS_PERCENT: i32 = 10_000;

/// Lies in a directory with a file that cannot be merged with others because it is damaged.
pub(crate) const DAMAGED: &str = "DAMAGED";
/// How many files may lie beside each other where none are merged: years of them.
const FILES_UNMERGED_MAX: i32 = 1 << 20;
/// How long a bucket of raw samples is, unless said otherwise.
const BUCKET_LENGTH: Duration = Duration::from_secs(7200);
/// Rows come in time order for each target: where its last one went into memory is where the next one goes.
const HINTED_BY_TARGET: &str = "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.8;";
/// Memory, unless said otherwise, in bytes.
const MEMORY_BYTES: u64 = 160 << 20;
/// Memory for blocks read from disk by whoever only reads, in bytes.
const READ_ONLY_CACHE_BYTES: usize = 16 << 20;
/// How often a directory is opened for reading while files go away between its list of them and their opening.
const OPEN_ATTEMPTS: u32 = 16;
/// What a store in memory is called in messages.
const MODEL_PATH: &str = "model";
const FORMAT_KEY: &[u8] = b"format";
pub(crate) const INCARNATION_KEY: &[u8] = b"incarnation";

/// What the store may use.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much memory.
    pub memory: Memory,
    /// How long a bucket of raw samples is; only a new directory takes it, others keep theirs.
    pub bucket: Duration,
    /// How many bytes stay free on the disk, if not as usual: a twentieth of it, at most 1 GiB.
    pub free_bytes: Option<u64>,
    /// 64 random bits for a new incarnation.
    pub random: u64,
    /// Now, for a new incarnation.
    pub now: Timestamp,
}

impl Options {
    /// Returns the defaults: 160 MiB, buckets of 2 h.
    pub fn new(now: Timestamp, random: u64) -> Options {
        Options { memory: Memory::of(MEMORY_BYTES), bucket: BUCKET_LENGTH, free_bytes: None, random, now }
    }
}

/// How a store's memory is divided, beside what it holds for each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// For what is not yet in files, over all column families, in bytes.
    pub write_buffer_bytes: usize,
    /// For blocks read from disk, in bytes.
    pub cache_bytes: usize,
    /// For samples that are being settled, in bytes.
    pub settle_bytes: usize,
}

impl Memory {
    /// Divides `budget_bytes`: two fifths for what is not yet in files, two for blocks read from disk, one for settling.
    pub fn of(budget_bytes: u64) -> Memory {
        let fifth = usize::try_from(budget_bytes / 5).unwrap_or(usize::MAX / 5);
        Memory { write_buffer_bytes: 2 * fifth, cache_bytes: 2 * fifth, settle_bytes: fifth }
    }
}

/// Where a store lies.
#[derive(Clone, Debug)]
pub enum DataDirectory {
    /// A folder, for RocksDB.
    Folder(PathBuf),
    /// A disk in memory, for the simulation.
    Model(ModelDisk),
}

/// One data directory.
///
/// Cheap to clone; clones share the database.
#[derive(Clone)]
pub struct Store {
    pub(crate) db: Arc<Engine>,
    pub(crate) tree: Arc<Tree>,
    pub(crate) raw: Arc<Raw>,
    pub(crate) disk: Arc<Disk>,
    path: PathBuf,
    incarnation: Incarnation,
}

/// How to read what is not soon read again: it takes no room from what is.
pub(crate) fn read_once<'a>() -> ReadOptions<'a> {
    let mut options = ReadOptions::default();
    options.skip_cache();
    options
}

/// Writes that become visible, and durable, together.
#[derive(Default)]
pub struct Batch(pub(crate) WriteBatch, pub(crate) Touched);

impl Store {
    /// Opens a data directory, wherever it lies.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_in(directory: &DataDirectory, options: &Options) -> Result<Store, Error> {
        match directory {
            DataDirectory::Folder(path) => Store::open(path, options),
            DataDirectory::Model(disk) => {
                let mut store = Store::load(Engine::Model(disk.open()), Path::new(MODEL_PATH), options)?;
                store.renew_if_due(disk.take_restored().then_some(Renewal::Restored), options)?;
                Ok(store)
            }
        }
    }

    /// Opens the data directory `path`, making it if there is none.
    ///
    /// One that was restored, or has gone back to an earlier state, begins a new life under a new incarnation.
    ///
    /// # Errors
    /// If another process has it open, it cannot be read or written, is damaged, or a newer release wrote it.
    pub fn open(path: &Path, options: &Options) -> Result<Store, Error> {
        fs::create_dir_all(path).map_err(|source| Error::Make { path: path.into(), source })?;
        let mark = restored_mark(path)?;
        let renewal = match mark {
            Some(_) => Some(Renewal::Restored),
            None => has_damaged_log(path).then_some(Renewal::DamagedLog),
        };
        let db = Store::open_writable(path, options)?;
        let rocks = Rocks::new(db, path.join(DAMAGED).exists());
        let mut store = Store::load(Engine::Rocks(rocks), path, options).map_err(|error| error.of_opening(path))?;
        store.renew_if_due(renewal, options)?;
        if let Some(mark) = mark {
            fs::remove_file(&mark).map_err(|source| Error::Files { step: "remove", path: mark, source })?;
        }
        Ok(store)
    }

    fn open_writable(path: &Path, options: &Options) -> Result<DB, Error> {
        if !path.join("CURRENT").exists() && has_content(path) {
            // RocksDB would take it for empty, and what is there for leftovers.
            return Err(Error::Damaged { path: path.into(), file: "CURRENT".into(), what: "it is missing".into() });
        }
        if let Ok(known) = DB::list_cf(&rocksdb::Options::default(), path) {
            refuse_other_families(path, &known)?;
        }
        let cache = Cache::new_lru_cache(options.memory.cache_bytes);
        let mut db_options = rocksdb::Options::default();
        db_options.create_if_missing(true);
        db_options.create_missing_column_families(true);
        db_options.set_db_write_buffer_size(options.memory.write_buffer_bytes);
        db_options.set_max_total_wal_size(2 * options.memory.write_buffer_bytes as u64);
        db_options.set_keep_log_file_num(4);
        db_options.set_max_open_files(512);
        db_options.set_max_background_jobs(2);
        db_options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
        let open = |source| Error::opening(path, source);
        let mut families = Vec::with_capacity(FAMILIES.len());
        for (name, is_compressed) in FAMILIES {
            let start = if name == ROWS_FAMILY { HINTED_BY_TARGET } else { "" };
            let start = rocksdb::Options::default().get_options_from_string(start).map_err(open)?;
            let mut family = family_options(start, &cache, options.memory.write_buffer_bytes, is_compressed);
            if name == ROWS_FAMILY {
                merge_seldom(&mut family);
            }
            if path.join(DAMAGED).exists() {
                merge_never(&mut family);
            }
            families.push(ColumnFamilyDescriptor::new(name, family));
        }
        DB::open_cf_descriptors(&db_options, path, families).map_err(open)
    }

    /// Opens the data directory `path` for reading, also beside the process that has it open.
    ///
    /// It shows the directory as it is now, with what is in the log; what is written afterwards is not seen, and writing fails.
    ///
    /// # Errors
    /// If there is no store, it cannot be read, or another release wrote it.
    pub fn open_read_only(path: &Path) -> Result<Store, Error> {
        let db = Store::open_files(path)?;
        let loaded = Store::load(Engine::Rocks(Rocks::new(db, false)), path, &Options::new(Timestamp::MIN, 0));
        loaded.map_err(|error| error.of_opening(path))
    }

    /// Opens the files of the data directory `path` for reading.
    pub(crate) fn open_files(path: &Path) -> Result<DB, Error> {
        if !path.join("CURRENT").is_file() {
            return Err(Error::NoStore { path: path.into() });
        }
        let open = |source| Error::opening(path, source);
        let known = DB::list_cf(&rocksdb::Options::default(), path).map_err(open)?;
        refuse_other_families(path, &known)?;
        let is_missing = |family: &&(&str, bool)| !known.iter().any(|name| name == family.0);
        if let Some((family, _)) = FAMILIES.iter().find(is_missing) {
            return Err(Error::Unfinished { path: path.into(), family });
        }
        let cache = Cache::new_lru_cache(READ_ONLY_CACHE_BYTES);
        let options =
            |is_compressed| family_options(rocksdb::Options::default(), &cache, READ_ONLY_CACHE_BYTES, is_compressed);
        let mut attempts = 1;
        loop {
            let families = FAMILIES.map(|(name, is_compressed)| (name, options(is_compressed)));
            match DB::open_cf_with_opts_for_read_only(&rocksdb::Options::default(), path, families, false) {
                // The process that has it open has merged some files meanwhile.
                Err(error) if is_vanished(&error) && attempts < OPEN_ATTEMPTS => attempts += 1,
                opened => return opened.map_err(open),
            }
        }
    }

    fn load(db: Engine, path: &Path, options: &Options) -> Result<Store, Error> {
        let incarnation = check_format(&db, path, options)?;
        let tree = Arc::new(Tree::load(&db)?);
        let raw = Arc::new(Raw::load(&db, options.bucket)?);
        let disk = Arc::new(Disk::new(options.free_bytes));
        Ok(Store { db: Arc::new(db), tree, raw, disk, path: path.into(), incarnation })
    }

    pub(crate) fn set_incarnation(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
    }

    /// Returns the life of this data directory.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `batch`: it is visible at once, survives the end of the process, and a power loss after [`Store::sync`].
    ///
    /// # Errors
    /// If RocksDB cannot write, or the batch has rows of a bucket that is being settled by now.
    pub fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.raw.names.flush(&self.db)?;
        let _passed = self.raw.gate.enter(&batch.1)?;
        let mut batch = batch.0;
        let synced = self.raw.counters.synced.swap(0, Ordering::Relaxed);
        if synced > 0 {
            batch.mark_synced(synced);
        }
        self.db.write(batch).map_err(|error| self.write_failed("write a batch", error))
    }

    /// Names the step at which writing failed; if RocksDB takes no more since it met damage when it merged files, whoever
    /// opens the store next merges none.
    fn write_failed(&self, step: &'static str, source: rocksdb::Error) -> Error {
        if source.kind() == rocksdb::ErrorKind::Corruption {
            let noted = fs::write(self.path.join(DAMAGED), format!("{source}\n")).is_ok();
            tracing::error!(%source, noted, "a damaged file cannot be merged with others: from now on none are");
        }
        Error::Rocks { step, source }
    }

    /// Makes everything committed so far survive a power loss.
    ///
    /// # Errors
    /// If the disk cannot take it; while the store is held ([`Store::is_held`]) that passes when there is room.
    pub fn sync(&self) -> Result<(), Error> {
        // Asked before: what others write meanwhile may not be synced.
        let last = self.db.last_sequence();
        self.db.sync().map_err(|error| self.write_failed("sync the log", error))?;
        self.raw.counters.synced.fetch_max(last, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn family(&self, name: &'static str) -> Family<'_> {
        self.db.family(name)
    }
}

fn family_options(
    mut options: rocksdb::Options,
    cache: &Cache,
    write_buffer_bytes: usize,
    is_compressed: bool,
) -> rocksdb::Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    table.set_block_size(16 << 10);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(write_buffer_bytes / 2);
    options.set_compression_type(if is_compressed {
        rocksdb::DBCompressionType::Zstd
    } else {
        rocksdb::DBCompressionType::None
    });
    options
}

/// Merges no files, however many there are: one of them is damaged.
fn merge_never(options: &mut rocksdb::Options) {
    options.set_disable_auto_compactions(true);
    options.set_level_zero_slowdown_writes_trigger(FILES_UNMERGED_MAX);
    options.set_level_zero_stop_writes_trigger(FILES_UNMERGED_MAX);
}

/// Lets files of about one size lie beside each other and merges them only then, so that a row is written few times.
fn merge_seldom(options: &mut rocksdb::Options) {
    let mut universal = UniversalCompactOptions::default();
    universal.set_max_size_amplification_percent(ROWS_SURPLUS_PERCENT);
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_universal_compaction_options(&universal);
    options.set_level_zero_file_num_compaction_trigger(ROW_FILES);
    options.set_level_zero_slowdown_writes_trigger(4 * ROW_FILES);
    options.set_level_zero_stop_writes_trigger(8 * ROW_FILES);
}

fn check_format(db: &Engine, path: &Path, options: &Options) -> Result<Incarnation, Error> {
    let meta = db.family("meta");
    let read = |key| db.get_cf(meta, key).map_err(Error::at("read the format"));
    let Some(found) = read(FORMAT_KEY)? else {
        let incarnation = Incarnation { created: options.now, random: options.random };
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, FORMAT_KEY, FORMAT_VERSION.to_be_bytes());
        batch.put_cf(meta, INCARNATION_KEY, incarnation.to_bytes());
        db.write_synced(batch).map_err(Error::at("write the format"))?;
        return Ok(incarnation);
    };
    refuse_other_format(path, found)?;
    let incarnation = read(INCARNATION_KEY)?.and_then(|bytes| bytes.try_into().ok());
    incarnation.map(Incarnation::from_bytes).ok_or_else(|| Error::corrupt("incarnation", INCARNATION_KEY))
}

fn refuse_other_format(path: &Path, found: Vec<u8>) -> Result<(), Error> {
    let found = u32::from_be_bytes(found.try_into().map_err(|_| Error::corrupt("format", FORMAT_KEY))?);
    if found != FORMAT_VERSION {
        return Err(Error::OtherFormat { path: path.into(), found, known: FORMAT_VERSION });
    }
    Ok(())
}

/// Refuses a directory with other column families than this release has, of which `known` are there, if its format is another.
///
/// Opening it for writing would add those that are missing, so that whoever wrote it could not open it any more.
fn refuse_other_families(path: &Path, known: &[String]) -> Result<(), Error> {
    let is_there = |name: &str| known.iter().any(|known| known == name);
    // RocksDB adds one of its own.
    let is_alike = known.len() == FAMILIES.len() + 1 && FAMILIES.iter().all(|(name, _)| is_there(name));
    if is_alike || !is_there("meta") {
        return Ok(());
    }
    let open = |source| Error::opening(path, source);
    let db = DB::open_cf_for_read_only(&rocksdb::Options::default(), path, ["meta"], false).map_err(open)?;
    let meta = db.cf_handle("meta").expect("it was opened");
    let found = db.get_cf(meta, FORMAT_KEY).map_err(open)?;
    found.map_or(Ok(()), |found| refuse_other_format(path, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_incarnation_and_other_formats_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new(Timestamp::from_millis(7), 42);
        let store = Store::open(dir.path(), &options).unwrap();
        let first = store.incarnation();
        assert_eq!(first, Incarnation { created: Timestamp::from_millis(7), random: 42 });
        drop(store);
        let refused = |path: &Path, expected: u32| {
            for opened in [Store::open(path, &options), Store::open_read_only(path)] {
                let refused = opened.map(drop).unwrap_err();
                assert!(matches!(refused, Error::OtherFormat { found, .. } if found == expected), "{refused}");
            }
        };
        for other in [1, 9u32] {
            let path = dir.path().join(other.to_string());
            let store = Store::open(&path, &options).unwrap();
            store.db.put_cf(store.family("meta"), FORMAT_KEY, other.to_be_bytes()).unwrap();
            drop(store);
            refused(&path, other);
            // One with other families is left as it is.
            let families = || DB::list_cf(&rocksdb::Options::default(), &path).unwrap();
            let mut db = DB::open_cf(&rocksdb::Options::default(), &path, families()).unwrap();
            db.drop_cf("raw_rows").unwrap();
            db.create_cf("unheard_of", &rocksdb::Options::default()).unwrap();
            drop(db);
            let before = families();
            refused(&path, other);
            assert_eq!(families(), before);
        }
        assert_eq!(Store::open(dir.path(), &options).unwrap().incarnation(), first);
    }

    #[test]
    fn what_is_no_store_is_said_plainly() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "text").unwrap();
        let options = Options::new(Timestamp::from_millis(7), 42);
        let refused = Store::open(&file, &options).map(drop).unwrap_err();
        assert!(matches!(refused, Error::Make { .. }) && !refused.is_mended_by_opening(), "{refused}");
        let refused = Store::open_read_only(dir.path()).map(drop).unwrap_err();
        assert!(matches!(refused, Error::NoStore { .. }), "{refused}");
    }
}
