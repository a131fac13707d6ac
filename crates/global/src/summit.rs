//! What a global aggregator does with what the primaries say.

use std::collections::BTreeMap;
use std::time::Duration;

use firetower_model::{
    Coverage, Generation, HealthReport, KeptLabels, NodeStatus, Role, Timestamp, Watermark, Window, WindowRows,
};
use firetower_relay::{Audit, Children, Error, FUTURE_TOLERANCE, Orders, Parent};
use firetower_store::{Batch, Put, Store};
use firetower_wire::{Hello, Refusal, RefusalReason};
use tokio::sync::watch;

use crate::below::Below;

/// How often status is renewed.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// For how many windows weights are added up per window, to tell the rate.
const WINDOWS_MAX: usize = 16;

/// The state of a global aggregator.
pub(crate) struct Summit {
    store: Store,
    below: watch::Receiver<Below>,
    status: watch::Sender<NodeStatus>,
    newest: BTreeMap<String, Newest>,
    /// Of windows whose time is not there yet by this clock, by start and datacenter: they say nothing of how far it is.
    early: BTreeMap<(Timestamp, String), Newest>,
    weights: BTreeMap<Timestamp, BTreeMap<String, u64>>,
    status_due: Timestamp,
    audit: Audit,
}

/// The newest window of one datacenter.
#[derive(Clone, Copy)]
struct Newest {
    window: Window,
    coverage: Coverage,
    watermark: Watermark,
}

impl Summit {
    /// Starts with nothing heard.
    pub(crate) fn new(
        store: Store,
        below: watch::Receiver<Below>,
        status: watch::Sender<NodeStatus>,
        now: Timestamp,
    ) -> Summit {
        let (newest, early, weights) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Summit { store, below, status, newest, early, weights, status_due: now, audit: Audit::default() }
    }

    fn note_newest(&mut self, datacenter: String, newest: Newest) {
        let known = self.newest.entry(datacenter).or_insert(newest);
        if known.window.start() <= newest.window.start() {
            *known = newest;
        }
    }

    /// Takes in what came before its time, and whose time it is now.
    fn take_early(&mut self, now: Timestamp) {
        while let Some(entry) = self.early.first_entry().filter(|entry| entry.get().window.end() <= now) {
            let ((_, datacenter), newest) = entry.remove_entry();
            self.note_newest(datacenter, newest);
        }
    }

    fn renew_status(&mut self, children: &Children, now: Timestamp) {
        if now < self.status_due {
            return;
        }
        self.take_early(now);
        self.status_due = now + STATUS_EVERY;
        let mut coverage = Coverage::default();
        let mut watermark = Watermark { newest: Timestamp::MIN, complete_through: Timestamp::MAX };
        for newest in self.newest.values() {
            coverage.merge(&newest.coverage);
            watermark.newest = watermark.newest.max(newest.watermark.newest);
            watermark.complete_through = watermark.complete_through.min(newest.watermark.complete_through);
        }
        if self.newest.is_empty() {
            watermark = Watermark::default();
        }
        let rate = self.rate();
        self.status.send_modify(|status| {
            status.at = now;
            status.children = children.statuses(now);
            status.received = children.received();
            self.audit.look(&[], &status.received);
            status.targets = self.store.health_counts();
            status.active_series = series_below(&status.children);
            status.samples_per_second = rate;
            (status.coverage, status.watermark) = (coverage, watermark);
        });
    }

    /// Returns the raw samples a second behind the last window but one, which all datacenters have had time to report.
    fn rate(&self) -> f64 {
        let Some(window) = self.newest.values().map(|newest| newest.window).max() else { return 0.0 };
        let weights = self.weights.get(&window.previous().start());
        weights.map_or(0.0, |weights| weights.values().sum::<u64>() as f64 / window.length().as_secs_f64())
    }
}

/// Returns the series of all datacenters: of a pair of primaries the one that knows more counts.
fn series_below(primaries: &[NodeStatus]) -> u64 {
    let mut by_datacenter: BTreeMap<&str, u64> = BTreeMap::new();
    for primary in primaries {
        let most = by_datacenter.entry(&primary.datacenter).or_default();
        *most = primary.active_series.max(*most);
    }
    by_datacenter.values().sum()
}

impl Parent for Summit {
    fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        let is_child =
            hello.role == Role::Primary && self.below.borrow().primaries.get(&hello.node) == Some(&hello.datacenter);
        if is_child {
            return Ok(());
        }
        let text = format!(
            "{} {} of datacenter {:?} is no primary in the topology of this global aggregator",
            hello.role.as_str(),
            hello.node,
            hello.datacenter
        );
        Err(Refusal::new(RefusalReason::WrongParent, text))
    }

    fn greet(&mut self, child: &str) -> Orders {
        let below = self.below.borrow();
        let datacenter = below.primaries.get(child);
        let is_known = self.store.reporters().iter().any(|reporter| Some(&reporter.datacenter) == datacenter);
        Orders { wants_health_snapshot: !is_known, ..Orders::default() }
    }

    fn apply_rows(
        &mut self,
        batch: &mut Batch,
        child: &str,
        rows: WindowRows,
        weight: u64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let of_child = self.weights.entry(rows.window.start()).or_default().entry(child.to_owned()).or_default();
        *of_child += weight;
        while self.weights.len() > WINDOWS_MAX {
            self.weights.pop_first();
        }
        if self.store.put_rows(batch, &rows)? == Put::Accepted {
            let newest = Newest { window: rows.window, coverage: rows.coverage, watermark: rows.watermark };
            if newest.window.end() > now + FUTURE_TOLERANCE {
                self.early.insert((newest.window.start(), rows.datacenter), newest);
            } else {
                self.note_newest(rows.datacenter, newest);
            }
        }
        Ok(())
    }

    fn apply_health(
        &mut self,
        batch: &mut Batch,
        _child: &str,
        report: HealthReport,
        _now: Timestamp,
    ) -> Result<(), Error> {
        self.store.put_health(batch, &report);
        Ok(())
    }

    /// What is applied here goes nowhere: that it was received is all there is to count.
    fn apply_unknown(&mut self, _batch: &mut Batch, _weight: u64) {}

    /// A primary's decisions are its own datacenter's: their rows say it all.
    fn apply_kept(&mut self, _batch: &mut Batch, _child: &str, _labels: KeptLabels) -> Result<(), Error> {
        Ok(())
    }

    fn taken(&mut self, _child: &str, _generation: Generation, _fingerprint: u64) {}

    fn tick(&mut self, children: &Children, now: Timestamp) -> Result<(), Error> {
        self.renew_status(children, now);
        Ok(())
    }
}
