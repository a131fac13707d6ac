//! How many targets are in which state, and which changed.

use firetower_health::{Check, Record};
use firetower_model::{HealthCounts, HealthReport, NodeHealth, State, Target, Timestamp};

/// Changes of health since the last report, and the order of the reports.
pub(crate) struct Census {
    reporter: String,
    datacenter: String,
    version: u64,
    changes: Vec<NodeHealth>,
    reported: HealthCounts,
    is_snapshot_due: bool,
}

impl Census {
    /// Starts with a snapshot due; `version` is the last one of earlier lives.
    pub(crate) fn new(reporter: &str, datacenter: &str, version: u64) -> Census {
        Census {
            reporter: reporter.into(),
            datacenter: datacenter.into(),
            version,
            changes: Vec::new(),
            reported: HealthCounts::default(),
            is_snapshot_due: true,
        }
    }

    /// Makes the next report list every unhealthy target.
    pub(crate) fn want_snapshot(&mut self) {
        self.is_snapshot_due = true;
    }

    /// Notes a check; remembers the target if it became, or ceased to be, unhealthy.
    pub(crate) fn note(&mut self, target: &Target, record: &mut Record, check: Check) {
        let before = record.state;
        *record = std::mem::replace(record, Record::UNCHECKED).step(check);
        let is_change = before != record.state && (is_unhealthy(before) || is_unhealthy(record.state));
        if is_change || record.state == State::Offline {
            let node = self.describe(target, record);
            match self.changes.iter_mut().find(|other| is_same_target(other, &node)) {
                Some(other) => *other = node,
                None if is_change => self.changes.push(node),
                None => {}
            }
        }
    }

    /// Returns the next report, if there is something to say.
    pub(crate) fn report<'a>(
        &mut self,
        targets: impl Iterator<Item = (&'a Target, &'a Record)> + Clone,
        now: Timestamp,
    ) -> Option<HealthReport> {
        let mut counts = HealthCounts::default();
        targets.clone().for_each(|(_, record)| counts.add(record.state));
        let is_snapshot = self.is_snapshot_due && counts.unknown == 0;
        if !is_snapshot && self.changes.is_empty() && counts == self.reported {
            return None;
        }
        let mut changes = std::mem::take(&mut self.changes);
        if is_snapshot {
            let unhealthy = targets.filter(|(_, record)| is_unhealthy(record.state));
            changes = unhealthy.map(|(target, record)| self.describe(target, record)).collect();
            self.is_snapshot_due = false;
        }
        self.reported = counts;
        self.version = (self.version + 1).max(now.as_millis().max(0) as u64);
        Some(HealthReport {
            reporter: self.reporter.clone(),
            version: self.version,
            datacenter: self.datacenter.clone(),
            at: now,
            counts,
            changes,
            is_snapshot,
        })
    }

    fn describe(&self, target: &Target, record: &Record) -> NodeHealth {
        let last = record.last.as_ref();
        NodeHealth {
            datacenter: self.datacenter.clone(),
            job: target.labels.get("job").unwrap_or("").into(),
            node_key: target.node_key().into(),
            instance: target.labels.get("instance").unwrap_or("").into(),
            state: record.state,
            consecutive_failures: record.consecutive_failures,
            last_check: last.map_or(Timestamp::default(), |check| check.at),
            response_time_seconds: last.map_or(0.0, |check| check.took.as_secs_f64()),
            cpu_usage: None,
            memory_usage: None,
            reason: last.and_then(|check| check.failure.clone()).unwrap_or_default(),
        }
    }
}

fn is_same_target(one: &NodeHealth, other: &NodeHealth) -> bool {
    one.node_key == other.node_key && one.instance == other.instance && one.job == other.job
}

fn is_unhealthy(state: State) -> bool {
    matches!(state, State::Degraded | State::Offline)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use firetower_model::Labels;

    use super::*;

    #[test]
    fn reports_what_changed_and_all_that_is_unhealthy_in_a_snapshot() {
        let target = Target {
            job_name: "node".into(),
            labels: Labels::new([("job", "node")]),
            url: "http://h:1/metrics".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        };
        let mut census = Census::new("s0", "dub", 0);
        let mut record = Record::UNCHECKED;
        let mut check = |census: &mut Census, is_up: bool, at: i64| {
            let failure = (!is_up).then(|| "refused".to_owned());
            census.note(&target, &mut record, Check { at: Timestamp::from_millis(at), took: Duration::ZERO, failure });
            census.report([(&target, &record)].into_iter(), Timestamp::from_millis(at))
        };
        let first = check(&mut census, true, 1).unwrap();
        assert!(first.is_snapshot && first.changes.is_empty() && first.counts.online == 1);
        assert_eq!(check(&mut census, true, 2), None, "nothing new");
        let degraded = check(&mut census, false, 3).unwrap();
        assert_eq!((degraded.changes[0].state, degraded.is_snapshot), (State::Degraded, false));
        let offline = check(&mut census, false, 4).unwrap();
        assert_eq!((offline.changes[0].state, offline.changes[0].consecutive_failures), (State::Offline, 2));
        census.want_snapshot();
        let snapshot = check(&mut census, false, 5).unwrap();
        assert!(snapshot.is_snapshot && snapshot.changes.len() == 1 && snapshot.version > offline.version);
        let online = check(&mut census, true, 6).unwrap();
        assert_eq!((online.changes[0].state, online.counts.online), (State::Online, 1));
    }
}
