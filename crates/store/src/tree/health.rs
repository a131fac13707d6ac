//! Which targets are unhealthy, and how many are in which state, as their secondaries say.

use std::collections::BTreeMap;

use firetower_model::{HealthCounts, HealthReport, NodeHealth, State, Timestamp};

use crate::database::{Batch, Store};
use crate::engine::Engine;
use crate::error::Error;
use crate::tree::codec::{Reader, put_signed, put_text, put_varint};
use crate::tree::{UNPOISONED, scan};

const FAMILY: &str = "health";
const REPORTER: u8 = b'r';
const NODE: u8 = b'n';

/// What one secondary says of its targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Reporter {
    /// Its name.
    pub reporter: String,
    /// Of its newest report.
    pub version: u64,
    /// Where it is.
    pub datacenter: String,
    /// When it reported.
    pub at: Timestamp,
    /// All its targets, by state.
    pub counts: HealthCounts,
}

/// Which unhealthy targets are asked for; `None` is any.
#[derive(Clone, Copy, Debug, Default)]
pub struct HealthFilter<'a> {
    /// Those of this datacenter.
    pub datacenter: Option<&'a str>,
    /// Those in this state.
    pub state: Option<State>,
}

/// A target: (datacenter, `host:port`, job, instance).
type NodeKey = (String, String, String, String);

/// An unhealthy target, and the secondary that said so.
#[derive(Clone, Debug, PartialEq)]
struct Unhealthy {
    reporter: String,
    health: NodeHealth,
}

/// All that is known of health.
pub(crate) struct HealthBook {
    reporters: BTreeMap<String, Reporter>,
    unhealthy: BTreeMap<NodeKey, Unhealthy>,
}

impl HealthBook {
    pub(crate) fn load(db: &Engine) -> Result<HealthBook, Error> {
        let mut book = HealthBook { reporters: BTreeMap::new(), unhealthy: BTreeMap::new() };
        for pair in scan(db, FAMILY, &[]) {
            let (key, value) = pair?;
            book.add(&key, &value).ok_or_else(|| Error::corrupt("health", &key))?;
        }
        Ok(book)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (kind, key) = key.split_first()?;
        let mut reader = Reader::new(value);
        if *kind == REPORTER {
            let reporter = read_reporter(std::str::from_utf8(key).ok()?, &mut reader)?;
            self.reporters.insert(reporter.reporter.clone(), reporter);
        } else {
            let node = read_unhealthy(Reader::new(key), &mut reader)?;
            self.unhealthy.insert(node_key(&node.health), node);
        }
        reader.finish()
    }
}

impl Store {
    /// Applies a report unless one as new of the same reporter was, or a newer one than a snapshot; returns whether it was
    /// applied.
    ///
    /// A snapshot replaces all that the reporter had said. Where two reporters speak of one target, as when it moves
    /// between them, the later check holds. Targets that are online are only counted.
    pub fn put_health(&self, batch: &mut Batch, report: &HealthReport) -> bool {
        let mut book = self.tree.health.write().expect(UNPOISONED);
        // A snapshot is the sum of the changes up to its version, of which some may have been overtaken by the last.
        let is_known =
            |known: &Reporter| report.version < known.version || report.version == known.version && !report.is_snapshot;
        if book.reporters.get(&report.reporter).is_some_and(is_known) {
            return false;
        }
        if report.is_snapshot {
            self.forget_nodes(batch, &mut book, &report.reporter);
        }
        for health in &report.changes {
            self.put_node(batch, &mut book, &report.reporter, health);
        }
        let reporter = Reporter {
            reporter: report.reporter.clone(),
            version: report.version,
            datacenter: report.datacenter.clone(),
            at: report.at,
            counts: report.counts,
        };
        batch.0.put_cf(self.family(FAMILY), reporter_key(&report.reporter), reporter_value(&reporter));
        book.reporters.insert(report.reporter.clone(), reporter);
        true
    }

    fn put_node(&self, batch: &mut Batch, book: &mut HealthBook, reporter: &str, health: &NodeHealth) {
        let key = node_key(health);
        let is_outdated = |known: &Unhealthy| known.reporter != reporter && health.last_check < known.health.last_check;
        if book.unhealthy.get(&key).is_some_and(is_outdated) {
            return;
        }
        if health.state == State::Online {
            if book.unhealthy.remove(&key).is_some() {
                batch.0.delete_cf(self.family(FAMILY), packed_node_key(&key));
            }
            return;
        }
        let node = Unhealthy { reporter: reporter.to_owned(), health: health.clone() };
        batch.0.put_cf(self.family(FAMILY), packed_node_key(&key), unhealthy_value(&node));
        book.unhealthy.insert(key, node);
    }

    fn forget_nodes(&self, batch: &mut Batch, book: &mut HealthBook, reporter: &str) {
        for (key, _) in book.unhealthy.extract_if(.., |_, node| node.reporter == reporter) {
            batch.0.delete_cf(self.family(FAMILY), packed_node_key(&key));
        }
    }

    /// Forgets all that `reporter` said: it is not in the topology any more.
    pub fn forget_reporter(&self, batch: &mut Batch, reporter: &str) {
        let mut book = self.tree.health.write().expect(UNPOISONED);
        self.forget_nodes(batch, &mut book, reporter);
        book.reporters.remove(reporter);
        batch.0.delete_cf(self.family(FAMILY), reporter_key(reporter));
    }

    /// Returns how many targets there are in each state.
    pub fn health_counts(&self) -> HealthCounts {
        let mut counts = HealthCounts::default();
        self.reporters().iter().for_each(|reporter| counts.merge(&reporter.counts));
        counts
    }

    /// Returns how many targets of each datacenter there are in each state.
    pub fn health_by_datacenter(&self) -> BTreeMap<String, HealthCounts> {
        let mut datacenters: BTreeMap<String, HealthCounts> = BTreeMap::new();
        for reporter in self.reporters() {
            datacenters.entry(reporter.datacenter).or_default().merge(&reporter.counts);
        }
        datacenters
    }

    /// Returns what each secondary last said, in order of their names.
    pub fn reporters(&self) -> Vec<Reporter> {
        self.tree.health.read().expect(UNPOISONED).reporters.values().cloned().collect()
    }

    /// Returns at most `limit` targets that are not online, in order of datacenter and `host:port`.
    pub fn unhealthy(&self, filter: HealthFilter<'_>, limit: usize) -> Vec<NodeHealth> {
        let book = self.tree.health.read().expect(UNPOISONED);
        let nodes = book.unhealthy.values().map(|node| &node.health);
        let is_asked_for = |node: &&NodeHealth| {
            filter.datacenter.is_none_or(|datacenter| node.datacenter == datacenter)
                && filter.state.is_none_or(|state| node.state == state)
        };
        nodes.filter(is_asked_for).take(limit).cloned().collect()
    }

    /// Returns a snapshot of each reporter, for a parent that has lost what it was told.
    pub fn health_reports(&self) -> Vec<HealthReport> {
        let book = self.tree.health.read().expect(UNPOISONED);
        let mut changes: BTreeMap<&str, Vec<NodeHealth>> = BTreeMap::new();
        for node in book.unhealthy.values() {
            changes.entry(&node.reporter).or_default().push(node.health.clone());
        }
        let report = |reporter: &Reporter| HealthReport {
            reporter: reporter.reporter.clone(),
            version: reporter.version,
            datacenter: reporter.datacenter.clone(),
            at: reporter.at,
            counts: reporter.counts,
            changes: changes.remove(reporter.reporter.as_str()).unwrap_or_default(),
            is_snapshot: true,
        };
        book.reporters.values().map(report).collect()
    }
}

fn node_key(health: &NodeHealth) -> NodeKey {
    (health.datacenter.clone(), health.node_key.clone(), health.job.clone(), health.instance.clone())
}

fn packed_node_key((datacenter, node_key, job, instance): &NodeKey) -> Vec<u8> {
    let mut key = vec![NODE];
    for text in [datacenter, node_key, job, instance] {
        put_text(&mut key, text.as_bytes());
    }
    key
}

fn reporter_key(reporter: &str) -> Vec<u8> {
    [&[REPORTER], reporter.as_bytes()].concat()
}

fn reporter_value(reporter: &Reporter) -> Vec<u8> {
    let mut value = Vec::with_capacity(64);
    put_varint(&mut value, reporter.version);
    put_text(&mut value, reporter.datacenter.as_bytes());
    put_signed(&mut value, reporter.at.as_millis());
    let counts = &reporter.counts;
    for targets in [counts.unknown, counts.online, counts.degraded, counts.offline] {
        put_varint(&mut value, targets);
    }
    value
}

fn read_reporter(name: &str, reader: &mut Reader<'_>) -> Option<Reporter> {
    Some(Reporter {
        reporter: name.to_owned(),
        version: reader.varint()?,
        datacenter: reader.text()?.to_owned(),
        at: reader.time()?,
        counts: HealthCounts {
            unknown: reader.varint()?,
            online: reader.varint()?,
            degraded: reader.varint()?,
            offline: reader.varint()?,
        },
    })
}

fn unhealthy_value(node: &Unhealthy) -> Vec<u8> {
    let health = &node.health;
    let mut value = Vec::with_capacity(96);
    put_text(&mut value, node.reporter.as_bytes());
    put_text(&mut value, health.state.as_str().as_bytes());
    put_varint(&mut value, u64::from(health.consecutive_failures));
    put_signed(&mut value, health.last_check.as_millis());
    value.extend_from_slice(&health.response_time_seconds.to_le_bytes());
    for usage in [health.cpu_usage, health.memory_usage] {
        value.push(u8::from(usage.is_some()));
        value.extend(usage.into_iter().flat_map(f64::to_le_bytes));
    }
    put_text(&mut value, health.reason.as_bytes());
    value
}

fn read_unhealthy(mut key: Reader<'_>, value: &mut Reader<'_>) -> Option<Unhealthy> {
    let mut text = || key.text().map(str::to_owned);
    let [datacenter, node_key, job, instance] = [text()?, text()?, text()?, text()?];
    key.finish()?;
    let reporter = value.text()?.to_owned();
    let health = NodeHealth {
        datacenter,
        job,
        node_key,
        instance,
        state: read_state(value.text()?)?,
        consecutive_failures: value.varint_u32()?,
        last_check: value.time()?,
        response_time_seconds: f64::from_le_bytes(value.array()?),
        cpu_usage: read_usage(value)?,
        memory_usage: read_usage(value)?,
        reason: value.text()?.to_owned(),
    };
    Some(Unhealthy { reporter, health })
}

fn read_usage(value: &mut Reader<'_>) -> Option<Option<f64>> {
    match value.byte()? {
        0 => Some(None),
        _ => Some(Some(f64::from_le_bytes(value.array()?))),
    }
}

fn read_state(word: &str) -> Option<State> {
    [State::Unknown, State::Online, State::Degraded, State::Offline].into_iter().find(|state| state.as_str() == word)
}

#[cfg(test)]
mod tests;
