//! What is kept in memory of metrics, targets and shapes, and how it is found by label.

use firetower_model::{Kind, Labels, MetricId, ShapeId, TargetId};
use roaring::RoaringBitmap;

use crate::raw::arena::{Arena, Table};
use crate::raw::key::Bucket;
use crate::raw::posting::Postings;
use crate::raw::shape::Runs;
use crate::raw::uses::Uses;

/// Up to how many targets are added one by one to a set: uniting sets copies the larger one, which takes the square
/// of the targets where each has a shape of its own.
const ADDED_SINGLY: u64 = 16;

/// Everything that has an id, and who has what. Never a list of series.
#[derive(Default)]
pub(crate) struct Index {
    metrics: Arena,
    kinds: Vec<Kind>,
    pub(crate) metric_postings: Postings,
    targets: Arena,
    pub(crate) target_postings: Postings,
    shapes: Vec<Runs>,
    shape_table: Table,
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

    pub(crate) fn find_shape(&self, runs: &Runs) -> Option<ShapeId> {
        self.shape_table.find(runs.hash(), |id| self.shapes[id as usize] == *runs).map(ShapeId)
    }

    pub(crate) fn add_shape(&mut self, runs: Runs) -> ShapeId {
        let id = u32::try_from(self.shapes.len()).expect("ids run out after 2^32");
        let hash = runs.hash();
        self.shapes.push(runs);
        self.shape_table.add(hash, id, |id| self.shapes[id as usize].hash());
        ShapeId(id)
    }

    pub(crate) fn shape(&self, shape: ShapeId) -> Option<&Runs> {
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

    /// Returns for each of `metrics`, which are in order, the targets that may have samples of it between `first` and `last`,
    /// both inclusive.
    pub(crate) fn targets_of(&self, metrics: &[u32], first: Bucket, last: Bucket) -> Vec<RoaringBitmap> {
        let mut found = vec![RoaringBitmap::new(); metrics.len()];
        for (shape, runs) in self.shapes.iter().enumerate() {
            let mut targets = None;
            for (start, end) in runs.iter() {
                let from = metrics.partition_point(|metric| u64::from(*metric) < start);
                let inside = metrics[from..].iter().take_while(|metric| u64::from(**metric) < end).count();
                if inside > 0 {
                    let targets = targets.get_or_insert_with(|| bitmap(self.rows.targets(shape as u32, first, last)));
                    found[from..from + inside].iter_mut().for_each(|found| unite(found, targets));
                }
            }
        }
        for (metric, found) in metrics.iter().zip(&mut found) {
            *found |= bitmap(self.lone.targets(*metric, first, last));
        }
        found
    }
}

fn unite(found: &mut RoaringBitmap, more: &RoaringBitmap) {
    if more.len() <= ADDED_SINGLY {
        found.extend(more);
    } else {
        *found |= more;
    }
}

fn bitmap(targets: impl Iterator<Item = TargetId>) -> RoaringBitmap {
    targets.map(|target| target.0).collect()
}
