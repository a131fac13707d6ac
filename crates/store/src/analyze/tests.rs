use std::time::Duration;

use firetower_model::labels::NAME;
use firetower_model::{Kind, Labels, PageRow, Timestamp};

use super::PairCount;
use crate::{Batch, Error, Options, Store};

#[test]
fn a_store_is_analyzed_beside_the_process_that_has_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Store::open_read_only(dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(missing, Error::NoStore { .. }), "{missing}");
    let store = Store::open(dir.path(), &Options::new(Timestamp::from_millis(0), 1)).unwrap();
    let metric = |name, cpu| store.intern_metric(&Labels::new([(NAME, name), ("cpu", cpu)]), Kind::Gauge).unwrap();
    let shape = store.intern_shape(&[metric("a", "0"), metric("a", "1"), metric("b", "0")]).unwrap();
    let mut appender = store.appender().unwrap();
    for host in ["x", "y"] {
        let target = store.intern_target(&Labels::new([("instance", host), ("job", "node")])).unwrap();
        let mut batch = Batch::default();
        for at in 0..100 {
            let at = Timestamp::from_millis(at * 15_000);
            appender
                .append(&mut batch, &PageRow { target, at, shape, values: vec![1.0, 2.0, 3.0], timed: Vec::new() })
                .unwrap();
        }
        store.commit(batch).unwrap();
    }
    store.settle_due(Timestamp::MAX, Duration::ZERO, 1 << 20).unwrap().unwrap().run().unwrap();
    let beside = Store::open_read_only(dir.path()).unwrap();
    let found = beside.analyze(2).unwrap();
    let cardinality = &found.cardinality;
    assert_eq!((cardinality.metrics, cardinality.targets, cardinality.shapes, cardinality.series), (3, 2, 1, 6));
    let pair = |name: &str, value: &str, series| PairCount { name: name.into(), value: value.into(), series };
    assert_eq!(cardinality.names, [pair(NAME, "a", 4), pair(NAME, "b", 2)]);
    assert_eq!(cardinality.label_pairs, [pair("job", "node", 6), pair(NAME, "a", 4)]);
    let labels: Vec<(&str, u64, u64)> =
        cardinality.labels.iter().map(|l| (l.name.as_str(), l.values, l.series)).collect();
    assert_eq!(labels, [(NAME, 2, 6), ("cpu", 2, 6)]);
    assert_eq!(cardinality.by_target.iter().map(|target| target.series).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(
        found.tiers.iter().map(|tier| (tier.tier, tier.buckets)).collect::<Vec<_>>(),
        [("raw", 1), ("5m", 1), ("1h", 1)]
    );
    assert_eq!(found.tiers[0].samples, Some(600));
}
