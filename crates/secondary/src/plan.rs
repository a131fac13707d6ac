//! Which row each column of a page adds to.

use std::collections::HashMap;
use std::sync::Arc;

use firetower_model::labels::NAME;
use firetower_model::{Labels, MetricId, ShapeId};
use firetower_store::{Batch, Error, Store};

use crate::kept::Kept;
use crate::starts::{StartColumns, Starts};

/// Under which note the dropped labels are kept.
pub(crate) const DROPPED_NOTE: &str = "kept/dropped";

/// Targets whose pages add to the same rows: those with the same labels but for the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class(u32);

/// Where one column's values go: a row, and whether they are a counter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column(u32);

impl Column {
    pub(crate) fn new(row: u32, is_cumulative: bool) -> Column {
        Column(row << 1 | u32::from(is_cumulative))
    }

    /// Returns the place of the row among the rows of a window; it is the row's id.
    pub(crate) fn row(self) -> usize {
        (self.0 >> 1) as usize
    }

    /// Tells whether the column only grows.
    pub(crate) fn is_cumulative(self) -> bool {
        self.0 & 1 == 1
    }
}

/// Chooses the rows, once for every class and metric.
pub(crate) struct Plans {
    store: Store,
    kept: Kept,
    keeps_instance: bool,
    classes: HashMap<Labels, Class>,
    class_labels: Vec<Labels>,
    columns: HashMap<(Class, MetricId), Column>,
    plans: HashMap<(Class, ShapeId), Arc<[Column]>>,
    starts: Starts,
}

impl Plans {
    /// Starts without plans; `keeps_instance` if the rows of some names do.
    pub(crate) fn new(store: Store, kept: Kept, keeps_instance: bool) -> Plans {
        Plans {
            store,
            kept,
            keeps_instance,
            classes: HashMap::new(),
            class_labels: Vec::new(),
            columns: HashMap::new(),
            plans: HashMap::new(),
            starts: Starts::default(),
        }
    }

    /// Returns the class of the target with these labels.
    pub(crate) fn class(&mut self, target: &Labels) -> Class {
        let is_shared = |name: &str| self.keeps_instance || name != "instance";
        let labels = Labels::new(target.iter().filter(|(name, _)| is_shared(name)));
        let next = Class(self.class_labels.len() as u32);
        *self.classes.entry(labels).or_insert_with_key(|labels| {
            self.class_labels.push(labels.clone());
            next
        })
    }

    /// Returns the columns of a page of `shape` from a target of `class`.
    ///
    /// # Errors
    /// If the store cannot keep a new row key.
    pub(crate) fn plan(&mut self, class: Class, shape: ShapeId) -> Result<Arc<[Column]>, Error> {
        if let Some(plan) = self.plans.get(&(class, shape)) {
            return Ok(Arc::clone(plan));
        }
        let metrics = metrics_of(&self.store, shape);
        let plan: Arc<[Column]> =
            metrics.iter().map(|metric| self.column(class, *metric)).collect::<Result<_, Error>>()?;
        self.plans.insert((class, shape), Arc::clone(&plan));
        Ok(plan)
    }

    /// Returns which columns of `shape` say when others began.
    pub(crate) fn starts(&mut self, shape: ShapeId, metrics: &[MetricId]) -> StartColumns {
        self.starts.of(&self.store, shape, metrics)
    }

    /// Returns where the values of one metric of a target of `class` go.
    ///
    /// # Errors
    /// If the store cannot keep a new row key.
    pub(crate) fn column(&mut self, class: Class, metric: MetricId) -> Result<Column, Error> {
        if let Some(column) = self.columns.get(&(class, metric)) {
            return Ok(*column);
        }
        let (labels, kind) = self.store.metric_labels(metric).expect("the store knows the metrics it gave ids to");
        let is_cumulative = kind.is_cumulative(labels.get(NAME).unwrap_or(""));
        let dropped_before = self.kept.dropped_count();
        let key = self.kept.row_key(&self.class_labels[class.0 as usize].overlaid(&labels));
        if self.kept.dropped_count() != dropped_before {
            let mut batch = Batch::default();
            self.store.put_note(&mut batch, DROPPED_NOTE, &self.kept.dropped_bytes());
            self.store.commit(batch)?;
            self.forget_plans();
        }
        let row = self.store.intern_row_key(&key)?;
        let column = Column::new(row.0, is_cumulative);
        self.columns.insert((class, metric), column);
        Ok(column)
    }

    /// Makes later scrapes choose again, after a label was dropped; sums of rows chosen before stay where they are.
    fn forget_plans(&mut self) {
        self.plans.clear();
        self.columns.clear();
    }
}

/// Returns the metrics of a shape.
pub(crate) fn metrics_of(store: &Store, shape: ShapeId) -> Arc<[MetricId]> {
    store.shape_metrics(shape).expect("the store knows the shapes it gave ids to")
}
