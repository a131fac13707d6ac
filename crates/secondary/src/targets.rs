//! The scraping tasks: one for each target of the share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use firetower_model::{MetricId, Target, Timestamp};
use firetower_scrape::{Protocol, ScrapeOptions, Scraper, accept, run_target};
use firetower_store::Store;
use firetower_topology::{Protocol as Configured, ScrapeConfig};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::resolver::Resolver;

/// How long scrapes in flight may take once all is being stopped, so that what comes after them has its time too.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// What the tasks of all targets share.
pub(crate) struct Scraping {
    pub(crate) scraper: Scraper,
    pub(crate) store: Store,
    pub(crate) leading: Arc<[MetricId]>,
}

/// The scraping tasks.
pub(crate) struct Targets {
    scraping: Scraping,
    configs: HashMap<String, Arc<ScrapeConfig>>,
    /// In order, so that they are told to end in order.
    running: BTreeMap<Target, Running>,
    tasks: JoinSet<()>,
}

struct Running {
    config: Arc<ScrapeConfig>,
    index: u32,
    /// From when on its slots are another's, in milliseconds since the unix epoch.
    until_ms: Arc<AtomicI64>,
    cancel: CancellationToken,
}

impl Targets {
    /// Starts without targets.
    pub(crate) fn new(scraping: Scraping, configs: &[ScrapeConfig]) -> Targets {
        let mut targets =
            Targets { scraping, configs: HashMap::new(), running: BTreeMap::new(), tasks: JoinSet::new() };
        targets.configure(configs);
        targets
    }

    /// Takes the jobs as they are now. They count for a target from its next start on.
    pub(crate) fn configure(&mut self, configs: &[ScrapeConfig]) {
        let named = |config: &ScrapeConfig| (config.job_name.clone(), Arc::new(config.clone()));
        self.configs = configs.iter().map(named).collect();
    }

    /// Scrapes no slot from `from` on of targets that are not among `next`: they are another's then, who may begin early.
    pub(crate) fn leave(&self, next: &[Target], from: Timestamp) {
        let next: HashSet<&Target> = next.iter().collect();
        for (target, running) in &self.running {
            let until = if next.contains(target) { Timestamp::MAX } else { from };
            running.until_ms.store(until.as_millis(), Ordering::Relaxed);
        }
    }

    /// Scrapes these targets, each under its index, and no others; one whose job has not changed is not disturbed.
    ///
    /// Those that are new have their first slot at or after `since`.
    pub(crate) fn follow(&mut self, targets: impl IntoIterator<Item = (u32, Target)>, since: Timestamp) {
        let mut before = std::mem::take(&mut self.running);
        for (index, target) in targets {
            let Some(config) = self.configs.get(&target.job_name).cloned() else {
                tracing::warn!(job = target.job_name, url = target.url, "target of a job not in the topology left out");
                continue;
            };
            let running = match before.remove(&target) {
                Some(running) if running.index == index && running.config == config => running,
                gone => {
                    gone.inspect(|gone| gone.cancel.cancel());
                    self.start(index, &target, config, since)
                }
            };
            self.running.insert(target, running);
        }
        before.values().for_each(|gone| gone.cancel.cancel());
        while self.tasks.try_join_next().is_some() {}
    }

    /// Stops all scraping; scrapes in flight are finished, unless a target takes longer than [`STOP_LIMIT`].
    pub(crate) async fn stop(mut self) {
        self.running.values().for_each(|running| running.cancel.cancel());
        let finish = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_LIMIT, finish).await.is_err() {
            tracing::warn!(scrapes = self.tasks.len(), limit = ?STOP_LIMIT, "scrapes in flight were cut off");
            self.tasks.shutdown().await;
        }
    }

    fn start(&mut self, index: u32, target: &Target, config: Arc<ScrapeConfig>, since: Timestamp) -> Running {
        let cancel = CancellationToken::new();
        let until_ms = Arc::new(AtomicI64::new(i64::MAX));
        let Scraping { scraper, store, leading } = &self.scraping;
        let options = ScrapeOptions {
            index,
            url: target.url.clone(),
            http: config.http.clone(),
            accept: accept(&config.protocols.iter().copied().map(protocol).collect::<Vec<_>>()).into(),
            fallback: config.fallback_protocol.map(|fallback| protocol(fallback).format()),
            is_compressed: config.is_compressed,
            schedule: target.schedule(),
            since,
            until_ms: Arc::clone(&until_ms),
            interval: target.interval,
            timeout: target.timeout,
            honor_timestamps: config.honor_timestamps,
            track_timestamps_staleness: config.track_timestamps_staleness,
            sample_limit: usize::try_from(config.sample_limit).unwrap_or(usize::MAX),
            limits_growth: config.limits_growth,
            drops_lines: !config.metric_relabel.is_empty(),
            body_size_limit: usize::try_from(config.body_size_limit).unwrap_or(usize::MAX),
        };
        let resolver = Resolver::new(store.clone(), Arc::clone(&config), target.labels.clone(), Arc::clone(leading));
        self.tasks.spawn(run_target(scraper.clone(), options, resolver, cancel.clone()));
        Running { config, index, until_ms, cancel }
    }
}

/// Returns what the scraper calls a format of the topology.
fn protocol(configured: Configured) -> Protocol {
    match configured {
        Configured::OpenMetrics1 => Protocol::OpenMetrics1,
        Configured::OpenMetrics0 => Protocol::OpenMetrics0,
        Configured::Text1 => Protocol::Text1,
        Configured::Text0 => Protocol::Text0,
    }
}
