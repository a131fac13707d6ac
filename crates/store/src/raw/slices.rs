//! Reading pairs a slice at a time, with a second thread's help where there is much to read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use firetower_model::{Series, TimeRange};

use crate::database::Store;
use crate::engine::Engine;
use crate::error::Error;
use crate::raw::candidates::Candidate;
use crate::raw::select::Reader;

/// A slice has about so many samples, if there is one each ten seconds.
const SAMPLES: i64 = 1 << 17;
const SAMPLE_EVERY_MS: i64 = 10_000;
const PAIRS_MIN: i64 = 16;
const PAIRS_MAX: i64 = 1_024;
/// How many slices may have been read by one thread while the other reads the one that is handed on next.
const AHEAD_MAX: usize = 2;
/// How many queries have a helper at a time; the others read alone, so that many queries take no more threads than there are queries.
const HELPERS_MAX: usize = 1;

/// One slice, as it was read.
type Slice = Result<Vec<Series>, Error>;

/// How the pairs of a slice are read.
pub(crate) type Read = fn(&Reader<'_>, &[Candidate]) -> Slice;

/// What is to be read, and how far that has got.
struct Work {
    found: Vec<Candidate>,
    slices: Vec<Range<usize>>,
    /// The slice that whoever has time reads next.
    next: AtomicUsize,
    read: Read,
}

impl Work {
    fn read(&self, reader: &Reader<'_>, at: usize) -> Slice {
        (self.read)(reader, &self.found[self.slices[at].clone()])
    }

    fn claim(&self) -> Option<usize> {
        Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < self.slices.len())
    }
}

/// Slices in order, each with something in it.
pub(crate) struct Slices<'a> {
    reader: Reader<'a>,
    work: Arc<Work>,
    helper: Option<Helper>,
    /// Slices that were read before it was their turn.
    ahead: BTreeMap<usize, Slice>,
    at: usize,
}

impl<'a> Slices<'a> {
    pub(crate) fn new(reader: Reader<'a>, found: Vec<Candidate>, read: Read) -> Slices<'a> {
        let mut slices: Vec<Range<usize>> = Vec::new();
        let pairs_max = pairs_max(reader.range);
        let mut end = 0;
        while end < found.len() {
            let start = end;
            end += slice_length(&found[start..], pairs_max);
            slices.push(start..end);
        }
        let is_much = slices.len() > 1;
        let work = Arc::new(Work { found, slices, next: AtomicUsize::new(0), read });
        let helper = if is_much { Helper::start(reader.store, reader.range, &work) } else { None };
        Slices { reader, work, helper, ahead: BTreeMap::new(), at: 0 }
    }

    /// Returns the slice whose turn it is; meanwhile others may be read.
    fn take(&mut self) -> Slice {
        loop {
            if let Some(helper) = &self.helper {
                self.ahead.extend(helper.slices.try_iter());
            }
            if let Some(slice) = self.ahead.remove(&self.at) {
                return slice;
            }
            let claimed = if self.ahead.len() < AHEAD_MAX { self.work.claim() } else { None };
            let (at, slice) = match (claimed, &mut self.helper) {
                (Some(at), _) => (at, self.work.read(&self.reader, at)),
                (None, Some(helper)) => helper.wait(),
                (None, None) => unreachable!("who reads alone reads in order"),
            };
            self.ahead.insert(at, slice);
        }
    }
}

impl Iterator for Slices<'_> {
    type Item = Slice;

    fn next(&mut self) -> Option<Slice> {
        while self.at < self.work.slices.len() {
            let slice = self.take();
            self.at += 1;
            if !slice.as_ref().is_ok_and(Vec::is_empty) {
                return Some(slice);
            }
        }
        None
    }
}

/// Returns how many pairs a slice has at most, so that their samples are not too many.
fn pairs_max(range: TimeRange) -> usize {
    let length = range.end.as_millis().saturating_sub(range.start.as_millis());
    (SAMPLES / (length / SAMPLE_EVERY_MS + 1)).clamp(PAIRS_MIN, PAIRS_MAX) as usize
}

/// Returns how many pairs are read first: as many as are read at once, and the rest of the last leader's.
pub(crate) fn slice_length(found: &[Candidate], pairs_max: usize) -> usize {
    let mut end = pairs_max.min(found.len());
    while end < found.len() && found[end].hash == found[end - 1].hash && found[end].leader == found[end - 1].leader {
        end += 1;
    }
    end
}

/// A thread that reads slices, too; it ends when this goes.
struct Helper {
    store: Store,
    work: Arc<Work>,
    slices: Receiver<(usize, Slice)>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    /// Starts one, unless there are as many as may be.
    fn start(store: &Store, range: TimeRange, work: &Arc<Work>) -> Option<Helper> {
        // The model is read by one thread alone, so that each run is like the other.
        if !matches!(*store.db, Engine::Rocks(_)) {
            return None;
        }
        let more = |helpers: usize| (helpers < HELPERS_MAX).then_some(helpers + 1);
        store.raw.helpers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let (sender, slices) = sync_channel(AHEAD_MAX);
        let mut helper = Helper { store: store.clone(), work: Arc::clone(work), slices, thread: None };
        let (store, work) = (store.clone(), Arc::clone(work));
        let thread = std::thread::Builder::new().name("store-reader".into());
        helper.thread = Some(thread.spawn(move || help(&store, range, &work, &sender)).ok()?);
        Some(helper)
    }

    /// Waits for what it reads now.
    fn wait(&mut self) -> (usize, Slice) {
        match (self.slices.recv(), self.thread.take()) {
            (Ok(slice), thread) => {
                self.thread = thread;
                slice
            }
            (Err(_), Some(thread)) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => unreachable!("it hands over what it has claimed"),
            },
            (Err(_), None) => unreachable!("it was joined when it had failed"),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.work.next.store(self.work.slices.len(), Ordering::Relaxed);
        // It may wait for room.
        self.slices.try_iter().for_each(drop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.store.raw.helpers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads slices as long as there are some that nobody has claimed, and somebody takes them.
fn help(store: &Store, range: TimeRange, work: &Work, sender: &SyncSender<(usize, Slice)>) {
    let reader = match Reader::new(store, range) {
        Ok(reader) => reader,
        Err(error) => {
            if let Some(at) = work.claim() {
                let _ = sender.send((at, Err(error)));
            }
            return;
        }
    };
    while let Some(at) = work.claim() {
        if sender.send((at, work.read(&reader, at))).is_err() {
            return;
        }
    }
}
