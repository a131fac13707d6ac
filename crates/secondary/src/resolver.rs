//! From the lines of a page to metrics and shapes, for one target.

use std::sync::Arc;

use firetower_model::labels::NAME;
use firetower_model::{Kind, Labels, MetricId, ShapeId};
use firetower_scrape::{LabelLimit, Line, Resolve, SYNTHETIC};
use firetower_store::Store;
use firetower_topology::{ScrapeConfig, is_metric_shareable, metric_labels};
use xxhash_rust::xxh3::xxh3_64;

use crate::label_limits::LabelLimits;

/// Relabels the lines of one target's pages and gives them the store's ids.
pub(crate) struct Resolver {
    store: Store,
    config: Arc<ScrapeConfig>,
    limits: LabelLimits,
    target: Labels,
    leading: Arc<[MetricId]>,
    sharing_key: Option<u64>,
}

impl Resolver {
    /// Makes one for a target of `config`; `leading` are the metrics that stand before a page's.
    pub(crate) fn new(store: Store, config: Arc<ScrapeConfig>, target: Labels, leading: Arc<[MetricId]>) -> Resolver {
        let limits = LabelLimits::of(&config);
        let sharing_key = sharing_key(&config, limits, &target);
        Resolver { store, config, limits, target, leading, sharing_key }
    }
}

/// Returns what a target has in common with all whose lines become the same metrics and meet the same limits.
fn sharing_key(config: &ScrapeConfig, limits: LabelLimits, target: &Labels) -> Option<u64> {
    let names: Vec<&str> = target.iter().map(|(name, _)| name).collect();
    if !is_metric_shareable(config, &names) || !limits.allow(target) {
        return None;
    }
    let ScrapeConfig { job_name, honor_labels, metric_relabel, .. } = config;
    Some(xxh3_64(format!("{job_name:?} {names:?} {honor_labels} {limits:?} {metric_relabel:?}").as_bytes()))
}

impl Resolve for Resolver {
    fn relabel(&mut self, line: &Line<'_>) -> Result<Option<Labels>, LabelLimit> {
        let page: Vec<(&str, &str)> = line.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        // A page's own `up` gives way to ours.
        let Some(labels) = metric_labels(&self.config, &self.target, &page).filter(|labels| !is_synthetic(labels))
        else {
            return Ok(None);
        };
        self.limits.check(&self.target, &labels)?;
        Ok(Some(labels))
    }

    fn metric(&mut self, labels: &Labels, kind: Kind) -> Option<MetricId> {
        self.store.intern_metric(labels, kind).map_or_else(
            |error| {
                tracing::error!(error = %firetower_daemon::chain(&error), "metric left out");
                None
            },
            Some,
        )
    }

    fn shape(&mut self, metrics: &[MetricId]) -> Option<(ShapeId, Arc<[MetricId]>)> {
        let whole: Vec<MetricId> = self.leading.iter().chain(metrics).copied().collect();
        match self.store.intern_shape(&whole) {
            Ok(shape) => Some((shape, self.store.shape_metrics(shape)?)),
            Err(error) => {
                tracing::error!(error = %firetower_daemon::chain(&error), "shape left out");
                None
            }
        }
    }

    fn sharing_key(&self) -> Option<u64> {
        self.sharing_key
    }
}

/// Tells whether a metric is one of those that every scrape gives beside its page.
fn is_synthetic(labels: &Labels) -> bool {
    let mut pairs = labels.iter();
    matches!((pairs.next(), pairs.next()), (Some((NAME, name)), None) if SYNTHETIC.contains(&name))
}
