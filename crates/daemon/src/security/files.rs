//! What files hold, looked at again and again.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::error::SecurityError;

/// A file changed this shortly before it was read may change again without a newer time: it is read once more.
const UNSETTLED: Duration = Duration::from_secs(2);
/// How large a file may be.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Makes something of the texts of files, which are in the order of their paths.
type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, SecurityError> + Send + Sync>;

/// What some files hold, as it last made sense.
pub(super) struct Followed<T> {
    paths: Vec<PathBuf>,
    make: Make<T>,
    state: Mutex<State<T>>,
    /// How often the files were read anew, and how often that failed.
    pub(super) renewed: AtomicU64,
    pub(super) broken: AtomicU64,
}

struct State<T> {
    current: Arc<T>,
    stamps: Vec<Option<Stamp>>,
    /// What `current` was made of.
    texts: Vec<Vec<u8>>,
    /// What was last complained about, to say it once.
    fault: Option<String>,
}

/// What a look at the files has found.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// Something new, from now on in force.
    Renewed,
    /// Something that makes no sense; what was before stays.
    Broken(SecurityError),
}

impl<T> Followed<T> {
    /// Reads the files for the first time.
    pub(super) fn open(
        paths: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, SecurityError> + Send + Sync + 'static,
    ) -> Result<Followed<T>, SecurityError> {
        let stamps = stamps(&paths);
        let texts = read(&paths)?;
        let current = Arc::new(make(&texts)?);
        let state = Mutex::new(State { current, stamps, texts, fault: None });
        Ok(Followed { paths, make: Box::new(make), state, renewed: AtomicU64::new(0), broken: AtomicU64::new(0) })
    }

    /// Returns what last made sense.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.state().current)
    }

    /// Reads the files again if they have changed. Each fault is told once.
    pub(super) fn look(&self) -> Look {
        let found = stamps(&self.paths);
        let mut state = self.state();
        let is_settled = found.iter().flatten().all(|stamp| stamp.is_settled);
        if is_settled && found == state.stamps {
            return Look::Same;
        }
        state.stamps = found;
        let made = read(&self.paths).and_then(|texts| {
            if texts == state.texts { Ok(None) } else { (self.make)(&texts).map(|made| Some((made, texts))) }
        });
        match made {
            Ok(None) => {
                state.fault = None;
                Look::Same
            }
            Ok(Some((made, texts))) => {
                (state.current, state.texts, state.fault) = (Arc::new(made), texts, None);
                self.renewed.fetch_add(1, Ordering::Relaxed);
                Look::Renewed
            }
            Err(error) => {
                let fault = Some(error.to_string());
                if state.fault == fault {
                    return Look::Same;
                }
                state.fault = fault;
                self.broken.fetch_add(1, Ordering::Relaxed);
                Look::Broken(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state in which a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
    is_settled: bool,
}

impl Stamp {
    fn new(found: &Metadata) -> Stamp {
        let modified = found.modified().ok();
        let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
        let is_settled = age.is_some_and(|age| age > UNSETTLED);
        Stamp { modified, length: found.len(), inode: found.ino(), is_settled }
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    paths.iter().map(|path| fs::metadata(path).ok().map(|found| Stamp::new(&found))).collect()
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, SecurityError> {
    paths.iter().map(read_one).collect()
}

fn read_one(path: &PathBuf) -> Result<Vec<u8>, SecurityError> {
    let fault = |source| SecurityError::Read { path: path.clone(), source };
    let mut text = Vec::new();
    File::open(path).map_err(fault)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(fault)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(SecurityError::TooLarge { path: path.clone(), most: FILE_BYTES_MAX });
    }
    Ok(text)
}
