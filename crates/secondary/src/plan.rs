//! Which row each column of a page adds to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use firetower_model::labels::NAME;
use firetower_model::{Budget, KeptVersion, Labels, MetricId, RowId, ShapeId, Timestamp};
use firetower_store::{Error, Store};

use crate::kept::Kept;
use crate::starts::{StartColumns, Starts, is_start, start_columns};

/// Under which note it is kept which labels are dropped.
pub(crate) const KEPT_NOTE: &str = "kept/labels";

/// Targets whose pages add to the same rows: those with the same labels but for the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class(u32);

/// Where one column's values go: a row, whether they are a counter's, and whether they say when a counter began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column(u32);

impl Column {
    pub(crate) fn new(row: u32, is_cumulative: bool, is_start: bool) -> Column {
        Column(row << 2 | u32::from(is_start) << 1 | u32::from(is_cumulative))
    }

    /// Returns the place of the row among the rows of a window; it is the row's id.
    pub(crate) fn row(self) -> usize {
        (self.0 >> 2) as usize
    }

    /// Tells whether the column says when another began.
    fn is_start(self) -> bool {
        self.0 & 2 != 0
    }

    /// Tells whether the column only grows.
    pub(crate) fn is_cumulative(self) -> bool {
        self.0 & 1 == 1
    }
}

/// Decisions whose plans are held: the one that holds, the next one, and one of windows made again.
const DECISIONS_MAX: usize = 3;

/// The rows chosen under one decision.
struct Chosen {
    version: KeptVersion,
    columns: HashMap<(Class, MetricId), Column>,
    plans: HashMap<(Class, ShapeId), Arc<[Column]>>,
}

/// Chooses the rows, once for every decision, class and metric.
pub(crate) struct Plans {
    store: Store,
    kept: Kept,
    keeps_instance: bool,
    classes: HashMap<Labels, Class>,
    class_labels: Vec<Labels>,
    /// Oldest first.
    chosen: Vec<Chosen>,
    starts: Starts,
}

impl Plans {
    /// Starts without plans, from the decision and the rows of earlier lives.
    ///
    /// # Errors
    /// If what was kept cannot be read.
    pub(crate) fn open(store: Store, budget: Budget) -> Result<Plans, crate::Error> {
        let note = store.note(KEPT_NOTE)?;
        let labels = note.map(|bytes| firetower_wire::decode_kept(&bytes)).transpose()?.unwrap_or_default();
        let keeps_instance = !budget.promoted.is_empty();
        let kept = Kept::restore(budget, labels, store.row_keys_from(RowId(0), usize::MAX));
        let (classes, class_labels, chosen) = (HashMap::new(), Vec::new(), Vec::new());
        Ok(Plans { store, kept, keeps_instance, classes, class_labels, chosen, starts: Starts::default() })
    }

    /// Returns the decision that the rows follow.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Returns the same, to be added to.
    pub(crate) fn kept_mut(&mut self) -> &mut Kept {
        &mut self.kept
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

    /// Returns the columns of a page of `shape` from a target of `class` in the window that starts at `start`.
    ///
    /// # Errors
    /// If the store cannot keep a new row key.
    pub(crate) fn plan(&mut self, class: Class, shape: ShapeId, start: Timestamp) -> Result<Arc<[Column]>, Error> {
        let under = self.under(start);
        if let Some(plan) = self.chosen[under].plans.get(&(class, shape)) {
            return Ok(Arc::clone(plan));
        }
        let metrics = metrics_of(&self.store, shape);
        let plan: Arc<[Column]> =
            metrics.iter().map(|metric| self.column(class, *metric, start)).collect::<Result<_, Error>>()?;
        self.chosen[under].plans.insert((class, shape), Arc::clone(&plan));
        Ok(plan)
    }

    /// Returns which columns of `shape`, which go where `plan` says, say when others began.
    pub(crate) fn starts(&mut self, shape: ShapeId, metrics: &[MetricId], plan: &[Column]) -> StartColumns {
        let store = &self.store;
        let is_any = || plan.iter().any(|column| column.is_start());
        self.starts.of(shape, || if is_any() { start_columns(store, metrics) } else { Arc::default() })
    }

    /// Returns where the values of one metric of a target of `class` go in the window that starts at `start`.
    ///
    /// # Errors
    /// If the store cannot keep a new row key.
    pub(crate) fn column(&mut self, class: Class, metric: MetricId, start: Timestamp) -> Result<Column, Error> {
        let under = self.under(start);
        if let Some(column) = self.chosen[under].columns.get(&(class, metric)) {
            return Ok(*column);
        }
        let (labels, kind) = self.store.metric_labels(metric).expect("the store knows the metrics it gave ids to");
        let name = labels.get(NAME).unwrap_or("");
        let (is_cumulative, is_start) = (kind.is_cumulative(name), is_start(name, kind));
        let key = self.kept.row_key(&self.class_labels[class.0 as usize].overlaid(&labels), start);
        let row = self.store.intern_row_key(&key)?;
        let column = Column::new(row.0, is_cumulative, is_start);
        self.chosen[under].columns.insert((class, metric), column);
        Ok(column)
    }

    /// Forgets what was chosen under decisions that hold in no window from `start` on, and for pages of which none is
    /// `live`; either is chosen again when it is asked for.
    pub(crate) fn forget(&mut self, start: Timestamp, live: &HashSet<(Class, ShapeId)>) {
        let held = [self.kept.version_at(start), self.kept.labels().newest_version()];
        self.chosen.retain(|chosen| held.contains(&chosen.version));
        let live_shapes: HashSet<ShapeId> = live.iter().map(|(_, shape)| *shape).collect();
        self.starts.forget(|shape| live_shapes.contains(&shape));
        for chosen in &mut self.chosen {
            chosen.plans.retain(|of, _| live.contains(of));
            let used: usize = chosen.plans.values().map(|plan| plan.len()).sum();
            if chosen.columns.len() > 2 * used {
                chosen.columns = HashMap::new();
            }
        }
    }

    /// Returns the place of what is chosen under the decision that holds in the window that starts at `start`.
    fn under(&mut self, start: Timestamp) -> usize {
        let version = self.kept.version_at(start);
        if let Some(place) = self.chosen.iter().position(|chosen| chosen.version == version) {
            return place;
        }
        if self.chosen.len() == DECISIONS_MAX {
            self.chosen.remove(0);
        }
        self.chosen.push(Chosen { version, columns: HashMap::new(), plans: HashMap::new() });
        self.chosen.len() - 1
    }
}

/// Returns the metrics of a shape.
pub(crate) fn metrics_of(store: &Store, shape: ShapeId) -> Arc<[MetricId]> {
    store.shape_metrics(shape).expect("the store knows the shapes it gave ids to")
}
