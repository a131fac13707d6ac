//! What `/metrics` says of the store.

use std::fmt;

use firetower_store::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Exposes what the store has taken and holds, as it says itself.
pub(crate) struct StoreMetrics(Store);

impl StoreMetrics {
    /// Exposes `store`.
    pub(crate) fn new(store: Store) -> StoreMetrics {
        StoreMetrics(store)
    }
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreMetrics")
    }
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.0.raw_stats();
        let counters = [
            ("samples_appended", "Samples stored since the start, staleness markers included", stats.samples_appended),
            ("loose_samples", "Samples stored that came late or with a time of their own", stats.loose_samples),
            ("given_up_samples", "Samples given up because there was no room on the disk", stats.samples_given_up),
            ("refused_samples", "Samples refused because they were older than what is kept", stats.samples_refused),
            (
                "merged_duplicates",
                "Samples left out of answers for another's with equal labels",
                stats.duplicates_merged,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let name = format!("firetower_store_{name}");
            counter.encode(encoder.encode_descriptor(&name, help, None, counter.metric_type())?)?;
        }
        let help = "Buckets of time dropped by retention, by tier and reason";
        let mut family =
            encoder.encode_descriptor("firetower_store_buckets_dropped", help, None, MetricType::Counter)?;
        for (tier, reason, count) in self.0.buckets_dropped() {
            ConstCounter::new(count).encode(family.encode_family(&[("tier", tier), ("reason", reason)])?)?;
        }
        let gauges = [
            ("active_series", "Series whose last value is no staleness marker", stats.active_series),
            ("targets", "Targets with an id", stats.targets),
            ("metrics", "Metrics with an id", stats.metrics),
            ("shapes", "Shapes of pages with an id", stats.shapes),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value as f64);
            let name = format!("firetower_store_{name}");
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
