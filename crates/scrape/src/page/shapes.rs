//! The shapes that targets share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use firetower_model::{MetricId, ShapeId};

use super::shape::{PageLines, PageShape};

/// How many entries there are at least before those of forgotten shapes are swept out.
const SWEEP_LEAST: usize = 64;

/// The shapes in use, found by their lines; clones share them. A shape lives as long as a target has it.
#[derive(Clone, Debug, Default)]
pub struct PageShapes(Arc<Mutex<Cache>>);

#[derive(Debug, Default)]
struct Cache {
    /// By a hash of sharing key and lines.
    by_content: HashMap<u64, Vec<Weak<PageShape>>>,
    /// The shape made last, by sharing key: what a target without a page most likely looks like.
    latest: HashMap<u64, Weak<PageShape>>,
    sweep_at: usize,
}

impl PageShapes {
    /// Returns what a target with this sharing key most likely looks like.
    pub(super) fn latest(&self, sharing_key: Option<u64>) -> Option<Arc<PageShape>> {
        self.lock().latest.get(&sharing_key?)?.upgrade()
    }

    /// Returns the shape with these lines and metrics; takes an id for it from `id` if there is none yet.
    pub(super) fn get_or_make(
        &self,
        sharing_key: Option<u64>,
        metrics: &[MetricId],
        lines: &PageLines,
        id: impl FnOnce() -> ShapeId,
    ) -> Arc<PageShape> {
        let Some(key) = sharing_key else { return Arc::new(PageShape::new(id(), metrics, lines)) };
        let hash = lines.content_hash() ^ key.rotate_left(32);
        let is_same = |shape: &Arc<PageShape>| shape.metrics() == metrics && shape.lines() == lines;
        let find = |cache: &Cache| cache.by_content.get(&hash)?.iter().filter_map(Weak::upgrade).find(is_same);
        if let Some(shape) = find(&self.lock()) {
            return shape;
        }
        // The lock is not held while an id is taken, since that may write to a disk.
        let made = Arc::new(PageShape::new(id(), metrics, lines));
        let mut cache = self.lock();
        if let Some(shape) = find(&cache) {
            return shape;
        }
        cache.by_content.entry(hash).or_default().push(Arc::downgrade(&made));
        cache.latest.insert(key, Arc::downgrade(&made));
        cache.sweep();
        made
    }

    /// Returns how many shapes are in use, and how many bytes they hold.
    pub fn held(&self) -> (usize, usize) {
        let cache = self.lock();
        let live = cache.by_content.values().flatten().filter_map(Weak::upgrade);
        live.fold((0, 0), |(count, bytes), shape| (count + 1, bytes + shape.bytes()))
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Drops the entries of shapes that nobody has, each time that there are twice as many as were left last.
    fn sweep(&mut self) {
        if self.by_content.len() < self.sweep_at.max(SWEEP_LEAST) {
            return;
        }
        for shapes in self.by_content.values_mut() {
            shapes.retain(|shape| shape.strong_count() > 0);
        }
        self.by_content.retain(|_, shapes| !shapes.is_empty());
        self.latest.retain(|_, shape| shape.strong_count() > 0);
        self.sweep_at = self.by_content.len() * 2;
    }
}
