//! Ids from a real store, as a secondary gives them.

use std::sync::Arc;

use anyhow::{Context, Result};
use firetower_model::{Kind, Labels, MetricId, ShapeId, Timestamp};
use firetower_scrape::{LEADING, LabelLimit, Line, Resolve};
use firetower_store::{Options, Store};
use firetower_topology::{ScrapeConfig, metric_labels, read_scrape_config};
use tempfile::TempDir;

/// Gives ids for targets with the usual labels, of a job without rules.
pub(crate) struct Ids {
    store: Store,
    config: ScrapeConfig,
    target: Labels,
    _directory: TempDir,
}

impl Ids {
    pub(crate) fn new() -> Result<Ids> {
        let directory = tempfile::tempdir()?;
        let store = Store::open(directory.path(), &Options::new(Timestamp::from_millis(1), 1))?;
        let checked = read_scrape_config("bench.yml", "scrape_configs: [ { job_name: node } ]");
        let config = checked.ok().and_then(|mut checked| checked.scrape_configs.pop()).context("read a job")?;
        let labels = [("instance", "host-00001:9100"), ("job", "node"), ("region", "eu"), ("datacenter", "dub")];
        Ok(Ids { store, config, target: Labels::new(labels), _directory: directory })
    }

    /// Returns how many shapes it has given ids to.
    pub(crate) fn shapes(&self) -> usize {
        self.store.raw_stats().shapes as usize
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
        let whole: Vec<MetricId> = (0..LEADING as u32).map(MetricId).chain(metrics.iter().copied()).collect();
        let shape = self.store.intern_shape(&whole).ok()?;
        Some((shape, self.store.shape_metrics(shape)?))
    }

    fn sharing_key(&self) -> Option<u64> {
        Some(1)
    }
}
