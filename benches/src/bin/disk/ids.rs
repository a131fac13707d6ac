//! Gives the lines of a page their ids, and leaves out those that are not measured.

use std::sync::Arc;

use firetower_model::{Kind, Labels, MetricId, ShapeId};
use firetower_scrape::{LabelLimit, Line, Resolve, SYNTHETIC};
use firetower_store::Store;

/// Which lines are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lines {
    /// All.
    All,
    /// Those of counters, histograms and summaries.
    Cumulative,
    /// The others.
    Gauges,
}

/// What a role does for a target, without relabelling.
pub(crate) struct Ids {
    store: Store,
    lines: Lines,
    leading: Vec<MetricId>,
}

impl Ids {
    /// Makes one over `store`.
    ///
    /// # Errors
    /// If the store cannot take names.
    pub(crate) fn new(store: Store, lines: Lines) -> anyhow::Result<Ids> {
        let intern = |name: &str| store.intern_metric(&Labels::new([("__name__", name)]), Kind::Gauge);
        let leading = SYNTHETIC.into_iter().map(intern).collect::<Result<Vec<_>, _>>()?;
        Ok(Ids { store, lines, leading })
    }
}

impl Resolve for Ids {
    fn relabel(&mut self, line: &Line<'_>) -> Result<Option<Labels>, LabelLimit> {
        let is_cumulative = !matches!(line.kind, Kind::Gauge | Kind::Unknown);
        let is_measured = match self.lines {
            Lines::All => true,
            Lines::Cumulative => is_cumulative,
            Lines::Gauges => !is_cumulative,
        };
        let labels = || Labels::new(line.labels.iter().map(|(name, value)| (&**name, &**value)));
        Ok(is_measured.then(labels))
    }

    fn metric(&mut self, labels: &Labels, kind: Kind) -> Option<MetricId> {
        self.store.intern_metric(labels, kind).ok()
    }

    fn shape(&mut self, metrics: &[MetricId]) -> Option<(ShapeId, Arc<[MetricId]>)> {
        let whole: Vec<MetricId> = self.leading.iter().chain(metrics).copied().collect();
        let shape = self.store.intern_shape(&whole).ok()?;
        Some((shape, self.store.shape_metrics(shape)?))
    }

    fn sharing_key(&self) -> Option<u64> {
        Some(0)
    }
}
