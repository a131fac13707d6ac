use super::*;
use crate::tree::tests::{TestStore, at};

fn node(node_key: &str, state: State, last_check: u64) -> NodeHealth {
    NodeHealth {
        datacenter: "dub".into(),
        job: "node".into(),
        node_key: node_key.into(),
        instance: String::new(),
        state,
        consecutive_failures: 2,
        last_check: at(last_check),
        response_time_seconds: 0.25,
        cpu_usage: None,
        memory_usage: Some(12.5),
        reason: "connection refused".into(),
    }
}

fn report(reporter: &str, version: u64, online: u64, changes: &[NodeHealth]) -> HealthReport {
    HealthReport {
        reporter: reporter.into(),
        version,
        datacenter: "dub".into(),
        at: at(version),
        counts: HealthCounts { online, offline: changes.len() as u64, ..HealthCounts::default() },
        changes: changes.to_vec(),
        is_snapshot: false,
    }
}

fn put(test: &TestStore, report: &HealthReport) -> bool {
    let mut batch = Batch::default();
    let is_applied = test.store.put_health(&mut batch, report);
    test.store.commit(batch).unwrap();
    is_applied
}

fn names(test: &TestStore, filter: HealthFilter<'_>, limit: usize) -> Vec<String> {
    test.store.unhealthy(filter, limit).into_iter().map(|node| node.node_key).collect()
}

#[test]
fn newer_reports_hold_and_survive() {
    let test = TestStore::new();
    let (a, b) = (node("a:1", State::Offline, 2), node("b:1", State::Degraded, 2));
    assert!(put(&test, &report("s0", 2, 3, &[a.clone(), b.clone()])));
    assert!(!put(&test, &report("s0", 2, 9, &[])), "said before");
    assert!(put(&test, &report("s1", 1, 4, &[])));
    let test = test.reopen();
    assert!(!put(&test, &report("s0", 1, 9, &[])), "older, after a restart too");
    assert_eq!(test.store.health_counts(), HealthCounts { online: 7, offline: 2, ..HealthCounts::default() });
    assert_eq!(test.store.health_by_datacenter()["dub"].total(), 9);
    assert_eq!(test.store.unhealthy(HealthFilter::default(), 9), [a, b.clone()]);
    assert_eq!(names(&test, HealthFilter::default(), 1), ["a:1"]);
    assert_eq!(names(&test, HealthFilter { state: Some(State::Degraded), datacenter: None }, 9), ["b:1"]);
    assert!(names(&test, HealthFilter { state: None, datacenter: Some("ams") }, 9).is_empty());
    let snapshot = HealthReport { is_snapshot: true, ..report("s0", 3, 4, &[b]) };
    assert!(put(&test, &snapshot));
    assert_eq!(test.store.health_reports()[0], snapshot);
    assert!(put(&test, &report("s0", 4, 5, &[node("b:1", State::Online, 4)])));
    assert!(names(&test.reopen(), HealthFilter::default(), 9).is_empty());
}

#[test]
fn a_target_that_moves_is_kept_by_its_new_reporter() {
    let test = TestStore::new();
    put(&test, &report("s0", 1, 0, &[node("a:1", State::Offline, 1)]));
    put(&test, &report("s1", 1, 0, &[node("a:1", State::Offline, 5)]));
    put(&test, &report("s0", 2, 0, &[node("a:1", State::Online, 4)]));
    put(&test, &HealthReport { is_snapshot: true, ..report("s0", 3, 0, &[]) });
    assert_eq!(names(&test, HealthFilter::default(), 9), ["a:1"]);
    let mut batch = Batch::default();
    test.store.forget_reporter(&mut batch, "s1");
    test.store.commit(batch).unwrap();
    let test = test.reopen();
    assert_eq!((test.store.unhealthy(HealthFilter::default(), 9), test.store.reporters().len()), (vec![], 1));
}
