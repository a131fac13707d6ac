//! What is kept in memory of metrics, targets and shapes, and how it is found by label.

use std::sync::Arc;

use firetower_model::{Kind, Labels, MetricId, ShapeId, TargetId};
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use crate::raw::arena::{Arena, Table};
use crate::raw::key::Bucket;
use crate::raw::posting::{Posting, Postings};
use crate::raw::uses::Uses;

/// Everything that has an id, and who has what. Never a list of series.
#[derive(Default)]
pub(crate) struct Index {
    metrics: Arena,
    kinds: Vec<Kind>,
    pub(crate) metric_postings: Postings,
    targets: Arena,
    pub(crate) target_postings: Postings,
    shapes: Vec<Arc<[MetricId]>>,
    shape_table: Table,
    /// Shapes of each metric; `None` while it is in none.
    metric_shapes: Vec<Option<Posting>>,
    /// (shape, target) pairs, by rows.
    pub(crate) rows: Uses,
    /// (metric, target) pairs, by samples that came alone.
    pub(crate) lone: Uses,
}

impl Index {
    pub(crate) fn find_metric(&self, labels: &Labels) -> Option<(MetricId, Kind)> {
        let id = self.metrics.find(labels.as_bytes())?;
        Some((MetricId(id), self.kinds[id as usize]))
    }

    pub(crate) fn add_metric(&mut self, labels: &Labels, kind: Kind) -> MetricId {
        let id = self.metrics.add(labels.as_bytes());
        self.kinds.push(kind);
        self.metric_shapes.push(None);
        self.metric_postings.add(id, labels);
        MetricId(id)
    }

    pub(crate) fn set_kind(&mut self, metric: MetricId, kind: Kind) {
        if let Some(known) = self.kinds.get_mut(metric.0 as usize) {
            *known = kind;
        }
    }

    pub(crate) fn metric(&self, metric: MetricId) -> Option<(Labels, Kind)> {
        let labels = self.metrics.get(metric.0).and_then(Labels::from_bytes)?;
        Some((labels, self.kinds[metric.0 as usize]))
    }

    pub(crate) fn find_target(&self, labels: &Labels) -> Option<TargetId> {
        self.targets.find(labels.as_bytes()).map(TargetId)
    }

    pub(crate) fn add_target(&mut self, labels: &Labels) -> TargetId {
        let id = self.targets.add(labels.as_bytes());
        self.target_postings.add(id, labels);
        TargetId(id)
    }

    pub(crate) fn target(&self, target: TargetId) -> Option<Labels> {
        self.targets.get(target.0).and_then(Labels::from_bytes)
    }

    pub(crate) fn find_shape(&self, metrics: &[MetricId]) -> Option<ShapeId> {
        let found = self.shape_table.find(shape_hash(metrics), |id| *self.shapes[id as usize] == *metrics);
        found.map(ShapeId)
    }

    pub(crate) fn add_shape(&mut self, metrics: &[MetricId]) -> ShapeId {
        let id = u32::try_from(self.shapes.len()).expect("ids run out after 2^32");
        self.shapes.push(metrics.into());
        let shapes = &self.shapes;
        self.shape_table.add(shape_hash(metrics), id, |id| shape_hash(&shapes[id as usize]));
        for metric in metrics {
            match self.metric_shapes.get_mut(metric.0 as usize) {
                Some(Some(posting)) => posting.push(id),
                Some(none) => *none = Some(Posting::One(id)),
                None => {}
            }
        }
        ShapeId(id)
    }

    pub(crate) fn shape(&self, shape: ShapeId) -> Option<&Arc<[MetricId]>> {
        self.shapes.get(shape.0 as usize)
    }

    /// Returns (metrics, targets, shapes) known.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.metrics.len(), self.targets.len(), self.shapes.len())
    }

    /// Returns the ids of all metrics.
    pub(crate) fn all_metrics(&self) -> RoaringBitmap {
        RoaringBitmap::from_iter(0..self.metrics.len() as u32)
    }

    /// Returns the ids of all targets.
    pub(crate) fn all_targets(&self) -> RoaringBitmap {
        RoaringBitmap::from_iter(0..self.targets.len() as u32)
    }

    /// Returns the targets that may have samples of `metric` between `first` and `last`, both inclusive.
    pub(crate) fn targets_of(&self, metric: MetricId, first: Bucket, last: Bucket) -> RoaringBitmap {
        let shapes = self.metric_shapes.get(metric.0 as usize).and_then(Option::as_ref);
        let by_rows =
            shapes.into_iter().flat_map(Posting::iter).flat_map(|shape| self.rows.targets(shape, first, last));
        by_rows.chain(self.lone.targets(metric.0, first, last)).map(|target| target.0).collect()
    }
}

fn shape_hash(metrics: &[MetricId]) -> u64 {
    let bytes: Vec<u8> = metrics.iter().flat_map(|metric| metric.0.to_le_bytes()).collect();
    xxh3_64(&bytes)
}
