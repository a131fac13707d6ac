//! The ids that a store gives to what is on pages.

use std::sync::Arc;

use anyhow::{Context, Result};
use firetower_model::{Kind, Labels, MetricId, ShapeId};
use firetower_scrape::{LabelLimit, Line, Resolve, SYNTHETIC};
use firetower_store::Store;
use firetower_topology::{ScrapeConfig, metric_labels, read_scrape_config};

/// Gives ids as a secondary does, for targets of a job without rules.
pub struct Ids {
    store: Store,
    config: ScrapeConfig,
    target: Labels,
    /// What every scrape gives beside its page.
    leading: Vec<MetricId>,
}

impl Ids {
    /// Makes one over `store`; `target` are the labels of one of the targets, of which the others differ in values only.
    ///
    /// # Errors
    /// If the store cannot take names.
    pub fn new(store: Store, target: Labels) -> Result<Ids> {
        let checked = read_scrape_config("bench.yml", "scrape_configs: [ { job_name: fleet } ]");
        let config = checked.ok().and_then(|mut checked| checked.scrape_configs.pop()).context("read a job")?;
        let intern = |name: &str| store.intern_metric(&Labels::new([("__name__", name)]), Kind::Gauge);
        let leading = SYNTHETIC.into_iter().map(intern).collect::<Result<Vec<_>, _>>()?;
        Ok(Ids { store, config, target, leading })
    }
}

impl Resolve for Ids {
    fn relabel(&mut self, line: &Line<'_>) -> Result<Option<Labels>, LabelLimit> {
        let page: Vec<(&str, &str)> = line.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        Ok(metric_labels(&self.config, &self.target, &page))
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
