//! Ids for metrics, targets and shapes: given once, kept in `names`, never used again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use firetower_model::{Kind, Labels, MetricId, ShapeId, TargetId};

use crate::database::{Store, read_once};
use crate::engine::{Engine, WriteBatch};
use crate::error::Error;
use crate::raw::bytes::{Reader, put_varint};
use crate::raw::index::Index;
use crate::raw::key::Bucket;
use crate::raw::shape::Runs;

const METRIC: u8 = b'm';
const TARGET: u8 = b't';
const SHAPE: u8 = b's';
const ROWS: u8 = b'r';
const LONE: u8 = b'w';

/// New names are written together with the next batch, or when this many bytes have come up.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// The index, and those of its entries that are not written yet.
#[derive(Default)]
pub(crate) struct Dictionary {
    index: RwLock<Index>,
    /// The shapes that somebody asked for lately.
    shapes: RwLock<HashMap<ShapeId, Arc<[MetricId]>>>,
    pending: Mutex<WriteBatch>,
}

impl Dictionary {
    /// Reads everything in `names`.
    pub(crate) fn load(db: &Engine) -> Result<Dictionary, Error> {
        let names = db.family("names");
        let mut index = Index::default();
        let order = [METRIC, TARGET, SHAPE, ROWS, LONE];
        for kind in order {
            let mut options = read_once();
            options.set_iterate_lower_bound([kind]);
            for entry in db.pairs_cf(names, options) {
                let (key, value) = entry.map_err(Error::at("read names"))?;
                if key.first() != Some(&kind) {
                    break;
                }
                load_entry(&mut index, &key, &value).ok_or_else(|| Error::corrupt("name", &key))?;
            }
        }
        Ok(Dictionary { index: RwLock::new(index), shapes: RwLock::default(), pending: Mutex::default() })
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is pending; whatever is written afterwards may name it.
    pub(crate) fn flush(&self, db: &Engine) -> Result<(), Error> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_empty() {
            return Ok(());
        }
        // The lock is held so that nobody else's batch overtakes names that it uses.
        db.write(std::mem::take(&mut *pending)).map_err(Error::at("write names"))
    }

    fn put(&self, store: &Store, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.put_cf(store.family("names"), key, value);
        let is_full = pending.size_in_bytes() > PENDING_BYTES_MAX;
        drop(pending);
        if is_full { self.flush(&store.db) } else { Ok(()) }
    }
}

fn load_entry(index: &mut Index, key: &[u8], value: &[u8]) -> Option<()> {
    let (kind, rest) = key.split_first()?;
    let (id, rest) = rest.split_first_chunk::<4>()?;
    let id = u32::from_be_bytes(*id);
    let (counts, mut value) = (index.counts(), Reader(value));
    let is_next = |count: usize| (id as usize == count && rest.is_empty()).then_some(());
    match *kind {
        METRIC => {
            is_next(counts.0)?;
            let kind = Kind::from_byte(value.byte()?)?;
            index.add_metric(&Labels::from_bytes(value.0)?, kind);
        }
        TARGET => {
            is_next(counts.1)?;
            index.add_target(&Labels::from_bytes(value.0)?);
        }
        SHAPE => {
            is_next(counts.2)?;
            index.add_shape(Runs::of(&read_shape(value)?));
        }
        _ => {
            let target = TargetId(u32::from_be_bytes(rest.try_into().ok()?));
            let range = (Bucket::from_bytes(value.array()?), Bucket::from_bytes(value.array()?));
            let uses = if *kind == ROWS { &mut index.rows } else { &mut index.lone };
            uses.insert(id, target, range);
        }
    }
    Some(())
}

fn read_shape(mut from: Reader<'_>) -> Option<Vec<MetricId>> {
    let mut metrics = Vec::new();
    let mut next = 0i64;
    while !from.0.is_empty() {
        let id = next.checked_add(from.signed()?)?;
        metrics.push(MetricId(u32::try_from(id).ok()?));
        next = id + 1;
    }
    Some(metrics)
}

fn shape_bytes(metrics: &[MetricId]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(metrics.len());
    let mut next = 0i64;
    for metric in metrics {
        put_varint(&mut bytes, crate::raw::bytes::zigzag(i64::from(metric.0) - next));
        next = i64::from(metric.0) + 1;
    }
    bytes
}

fn name_key(kind: u8, id: u32) -> [u8; 5] {
    let mut key = [kind; 5];
    key[1..].copy_from_slice(&id.to_be_bytes());
    key
}

/// Key and value of a use, as it is kept in `names`.
fn use_entry(kind: u8, owner: u32, target: TargetId, range: (Bucket, Bucket)) -> ([u8; 9], [u8; 8]) {
    let (mut key, mut value) = ([kind; 9], [0; 8]);
    key[1..5].copy_from_slice(&owner.to_be_bytes());
    key[5..].copy_from_slice(&target.0.to_be_bytes());
    value[..4].copy_from_slice(&range.0.to_bytes());
    value[4..].copy_from_slice(&range.1.to_bytes());
    (key, value)
}

impl Store {
    /// Returns the id of the target with these labels, giving it one if it is new.
    ///
    /// Durable with whatever is committed next.
    ///
    /// # Errors
    /// If RocksDB cannot write.
    pub fn intern_target(&self, labels: &Labels) -> Result<TargetId, Error> {
        let known = self.raw.names.read().find_target(labels);
        if let Some(known) = known {
            return Ok(known);
        }
        let mut index = self.raw.names.write();
        if let Some(known) = index.find_target(labels) {
            return Ok(known);
        }
        let id = index.add_target(labels);
        self.raw.names.put(self, &name_key(TARGET, id.0), labels.as_bytes())?;
        Ok(id)
    }

    /// Returns the id of the metric with these labels, `__name__` among them, giving it one if it is new.
    ///
    /// A kind other than `Unknown` replaces the one known. Durable with whatever is committed next.
    ///
    /// # Errors
    /// If RocksDB cannot write.
    pub fn intern_metric(&self, labels: &Labels, kind: Kind) -> Result<MetricId, Error> {
        let is_settled = |known: Kind| known == kind || kind == Kind::Unknown;
        let known = self.raw.names.read().find_metric(labels);
        if let Some((id, _)) = known.filter(|(_, known)| is_settled(*known)) {
            return Ok(id);
        }
        let mut index = self.raw.names.write();
        let id = match index.find_metric(labels) {
            Some((id, known)) if is_settled(known) => return Ok(id),
            Some((id, _)) => {
                index.set_kind(id, kind);
                id
            }
            None => index.add_metric(labels, kind),
        };
        let mut value = Vec::with_capacity(1 + labels.as_bytes().len());
        value.push(kind as u8);
        value.extend_from_slice(labels.as_bytes());
        self.raw.names.put(self, &name_key(METRIC, id.0), &value)?;
        Ok(id)
    }

    /// Returns the id of the shape with these metrics in this order, giving it one if it is new.
    ///
    /// A metric is in a shape at most once. Durable with whatever is committed next.
    ///
    /// # Errors
    /// If RocksDB cannot write.
    pub fn intern_shape(&self, metrics: &[MetricId]) -> Result<ShapeId, Error> {
        let runs = Runs::of(metrics);
        let known = self.raw.names.read().find_shape(&runs);
        if let Some(known) = known {
            return Ok(known);
        }
        let mut index = self.raw.names.write();
        if let Some(known) = index.find_shape(&runs) {
            return Ok(known);
        }
        let id = index.add_shape(runs);
        self.raw.names.put(self, &name_key(SHAPE, id.0), &shape_bytes(metrics))?;
        Ok(id)
    }

    /// Returns the labels of `target`.
    pub fn target_labels(&self, target: TargetId) -> Option<Labels> {
        self.raw.names.read().target(target)
    }

    /// Returns the labels of `metric`, `__name__` among them, and its kind.
    pub fn metric_labels(&self, metric: MetricId) -> Option<(Labels, Kind)> {
        self.raw.names.read().metric(metric)
    }

    /// Returns the metrics of `shape`, in order.
    pub fn shape_metrics(&self, shape: ShapeId) -> Option<Arc<[MetricId]>> {
        let names = &self.raw.names;
        if let Some(known) = names.shapes.read().unwrap_or_else(PoisonError::into_inner).get(&shape) {
            return Some(Arc::clone(known));
        }
        let metrics = names.read().shape(shape)?.metrics();
        names.shapes.write().unwrap_or_else(PoisonError::into_inner).insert(shape, Arc::clone(&metrics));
        Some(metrics)
    }

    /// Lets go of the lists of shapes that nobody holds; who asks for one again waits a little longer.
    pub fn release_shapes(&self) {
        let mut shapes = self.raw.names.shapes.write().unwrap_or_else(PoisonError::into_inner);
        shapes.retain(|_, metrics| Arc::strong_count(metrics) > 1);
        let kept = shapes.len();
        shapes.shrink_to(2 * kept);
    }

    /// Notes in `batch` that `target` has a row of `shape` in `bucket`.
    pub(crate) fn note_row(&self, batch: &mut WriteBatch, shape: ShapeId, target: TargetId, bucket: Bucket) {
        if let Some(range) = self.raw.names.write().rows.note(shape.0, target, bucket) {
            let (key, value) = use_entry(ROWS, shape.0, target, range);
            batch.put_cf(self.family("names"), key, value);
        }
    }

    /// Notes in `batch` that `target` has a sample of `metric` on its own in `bucket`.
    pub(crate) fn note_lone(&self, batch: &mut WriteBatch, metric: MetricId, target: TargetId, bucket: Bucket) {
        if let Some(range) = self.raw.names.write().lone.note(metric.0, target, bucket) {
            let (key, value) = use_entry(LONE, metric.0, target, range);
            batch.put_cf(self.family("names"), key, value);
        }
    }

    /// Forgets who used what before `cutoff` and not since.
    pub(crate) fn forget_uses(&self, batch: &mut WriteBatch, cutoff: Bucket) {
        let mut index = self.raw.names.write();
        let unused = (cutoff, cutoff);
        for (owner, target) in index.rows.forget_before(cutoff) {
            batch.delete_cf(self.family("names"), use_entry(ROWS, owner, target, unused).0);
        }
        for (owner, target) in index.lone.forget_before(cutoff) {
            batch.delete_cf(self.family("names"), use_entry(LONE, owner, target, unused).0);
        }
    }
}
