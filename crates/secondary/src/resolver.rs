//! From the lines of a page to metrics and shapes, for one target.

use std::sync::Arc;

use firetower_model::{Labels, MetricId, ShapeId};
use firetower_scrape::{Line, Resolve};
use firetower_store::Store;
use firetower_topology::{ScrapeConfig, is_metric_shareable, metric_labels};
use xxhash_rust::xxh3::xxh3_64;

/// Relabels the lines of one target's pages and gives them the store's ids.
pub(crate) struct Resolver {
    store: Store,
    config: Arc<ScrapeConfig>,
    target: Labels,
    leading: Arc<[MetricId]>,
    sharing_key: Option<u64>,
    base_shape: ShapeId,
}

impl Resolver {
    /// Makes one for a target of `config`; `leading` are the metrics that stand before a page's, in `base_shape`.
    pub(crate) fn new(
        store: Store,
        config: Arc<ScrapeConfig>,
        target: Labels,
        leading: Arc<[MetricId]>,
        base_shape: ShapeId,
    ) -> Resolver {
        let names: Vec<&str> = target.iter().map(|(name, _)| name).collect();
        let is_shareable = is_metric_shareable(&config, &names);
        let shared = format!("{}\0{}", config.job_name, names.join("\0"));
        let sharing_key = is_shareable.then(|| xxh3_64(shared.as_bytes()));
        Resolver { store, config, target, leading, sharing_key, base_shape }
    }
}

impl Resolve for Resolver {
    fn resolve(&mut self, line: &Line<'_>) -> Option<MetricId> {
        let page: Vec<(&str, &str)> = line.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        let labels = metric_labels(&self.config, &self.target, &page)?;
        match self.store.intern_metric(&labels, line.kind) {
            // A page's own `up` gives way to ours.
            Ok(metric) => Some(metric).filter(|metric| !self.leading.contains(metric)),
            Err(error) => {
                tracing::error!(error = %firetower_daemon::chain(&error), "metric left out");
                None
            }
        }
    }

    fn shape(&mut self, metrics: &[MetricId]) -> ShapeId {
        let whole: Vec<MetricId> = self.leading.iter().chain(metrics).copied().collect();
        self.store.intern_shape(&whole).unwrap_or_else(|error| {
            tracing::error!(error = %firetower_daemon::chain(&error), "shape left out");
            self.base_shape
        })
    }

    fn sharing_key(&self) -> Option<u64> {
        self.sharing_key
    }
}
