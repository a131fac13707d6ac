//! What the store says of its series, for the API.

use std::sync::Arc;

use firetower_api::{Counted, ReadTsdb, TsdbStatus};
use firetower_store::{PairCount, Store};

/// Returns what counts the series of `store`.
pub(crate) fn read_tsdb(store: Arc<Store>) -> ReadTsdb {
    Arc::new(move |limit| {
        let found = store.cardinality(limit);
        let mut bytes: Counted = found.labels.iter().map(|label| (label.name.clone(), label.bytes)).collect();
        bytes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let pair = |pair: PairCount| (format!("{}={}", pair.name, pair.value), pair.series);
        Ok(TsdbStatus {
            series: found.series,
            label_pairs: found.pairs,
            range: store.raw_range()?,
            series_by_metric: found.names.into_iter().map(|pair| (pair.value, pair.series)).collect(),
            values_by_label: found.labels.into_iter().map(|label| (label.name, label.values)).collect(),
            bytes_by_label: bytes,
            series_by_label: found.label_pairs.into_iter().map(pair).collect(),
        })
    })
}
