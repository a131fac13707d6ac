//! What targets have in common that resolve each line to the same metric: lines and shapes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use firetower_model::{MetricId, ShapeId};

use super::line::{KnownLine, LinePool};
use super::shape::PageShape;

/// How many entries there are at least before those of forgotten shapes are swept out.
const SWEEP_LEAST: usize = 64;
/// How many of the latest shapes are tried for a page that does not fit its own.
const RECENT_MAX: usize = 4;

/// The shapes in use and their lines, by what targets share; clones share them.
///
/// A shape lives as long as a target has it, a line at least as long as a shape has it.
#[derive(Clone, Debug, Default)]
pub struct PageShapes(Arc<Mutex<HashMap<u64, Arc<Kin>>>>);

/// What the pages of all targets hold in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Shapes in use.
    pub shapes: usize,
    /// Different lines in them.
    pub lines: usize,
    /// Bytes of both.
    pub bytes: usize,
}

impl PageShapes {
    /// Returns what targets with this key have in common; something new where there is no key.
    pub(super) fn kin(&self, sharing_key: Option<u64>) -> Arc<Kin> {
        let Some(key) = sharing_key else { return Arc::default() };
        let mut kins = lock(&self.0);
        if let Some(kin) = kins.get(&key) {
            return Arc::clone(kin);
        }
        kins.retain(|_, kin| Arc::strong_count(kin) > 1);
        Arc::clone(kins.entry(key).or_default())
    }

    /// Returns what is held for targets that share a key, after letting go of what no target has.
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        for kin in lock(&self.0).values() {
            let mut pool = kin.lines();
            pool.sweep_now();
            let (lines, line_bytes) = pool.held();
            drop(pool);
            let shapes = lock(&kin.shapes);
            let live = shapes.by_content.values().flatten().filter_map(Weak::upgrade);
            let (count, bytes) = live.fold((0, 0), |(count, bytes), shape| (count + 1, bytes + shape.bytes()));
            held.shapes += count;
            held.lines += lines;
            held.bytes += line_bytes + bytes;
        }
        held
    }
}

/// What targets with one sharing key have in common.
#[derive(Debug, Default)]
pub(super) struct Kin {
    lines: Mutex<LinePool>,
    shapes: Mutex<Shapes>,
}

#[derive(Debug, Default)]
struct Shapes {
    by_content: HashMap<u64, Vec<Weak<PageShape>>>,
    /// What a target without a page most likely looks like.
    guess: Weak<PageShape>,
    /// The shapes made last, the newest first.
    recent: VecDeque<Weak<PageShape>>,
    sweep_at: usize,
}

/// What a shape is made of.
pub(super) struct Parts<'a> {
    pub(super) metrics: &'a [MetricId],
    pub(super) lines: &'a [Arc<KnownLine>],
    pub(super) columns: &'a [u32],
    /// Whether it is so different that it had better be the next guess.
    pub(super) is_unlike: bool,
}

impl Kin {
    /// Returns the lines of all shapes, for as long as nobody else needs them.
    pub(super) fn lines(&self) -> MutexGuard<'_, LinePool> {
        lock(&self.lines)
    }

    /// Returns what a target without a page most likely looks like.
    pub(super) fn guess(&self) -> Option<Arc<PageShape>> {
        lock(&self.shapes).guess.upgrade()
    }

    /// Returns the shapes made last.
    pub(super) fn recent(&self) -> Vec<Arc<PageShape>> {
        lock(&self.shapes).recent.iter().filter_map(Weak::upgrade).collect()
    }

    /// Makes a shape that was worth changing to the next guess.
    pub(super) fn prefer(&self, shape: &Arc<PageShape>) {
        lock(&self.shapes).guess = Arc::downgrade(shape);
    }

    /// Returns the shape of these parts; takes an id for it from `id` if there is none yet.
    pub(super) fn get_or_make(
        &self,
        parts: &Parts<'_>,
        id: impl FnOnce() -> Option<(ShapeId, Arc<[MetricId]>)>,
    ) -> Option<Arc<PageShape>> {
        let hash = content_hash(parts);
        if let Some(shape) = lock(&self.shapes).find(hash, parts) {
            return Some(shape);
        }
        // The lock is not held while an id is taken, since that may write to a disk.
        let (id, metrics) = id()?;
        let made = Arc::new(PageShape::new(id, metrics, parts.lines, parts.columns));
        let mut shapes = lock(&self.shapes);
        if let Some(shape) = shapes.find(hash, parts) {
            return Some(shape);
        }
        shapes.add(hash, &made, parts.is_unlike);
        Some(made)
    }
}

impl Shapes {
    fn find(&self, hash: u64, parts: &Parts<'_>) -> Option<Arc<PageShape>> {
        let is_same = |shape: &Arc<PageShape>| shape.is(parts.metrics, parts.lines, parts.columns);
        self.by_content.get(&hash)?.iter().filter_map(Weak::upgrade).find(is_same)
    }

    fn add(&mut self, hash: u64, made: &Arc<PageShape>, is_unlike: bool) {
        self.by_content.entry(hash).or_default().push(Arc::downgrade(made));
        self.recent.truncate(RECENT_MAX - 1);
        self.recent.push_front(Arc::downgrade(made));
        if is_unlike || self.guess.strong_count() == 0 {
            self.guess = Arc::downgrade(made);
        }
        self.sweep();
    }

    /// Drops the entries of shapes that nobody has, each time that there are twice as many as were left last.
    fn sweep(&mut self) {
        if self.by_content.len() < self.sweep_at.max(SWEEP_LEAST) {
            return;
        }
        for shapes in self.by_content.values_mut() {
            shapes.retain(|shape| shape.strong_count() > 0);
        }
        self.by_content.retain(|_, shapes| !shapes.is_empty());
        self.sweep_at = self.by_content.len() * 2;
    }
}

/// Hashes the lines by where they lie, which is where every equal line of the kin lies.
fn content_hash(parts: &Parts<'_>) -> u64 {
    parts.lines.iter().fold(parts.metrics.len() as u64, |hash, line| {
        (hash ^ Arc::as_ptr(line) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
