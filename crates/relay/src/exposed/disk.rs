//! What `/metrics` says of the disk.

use std::fmt;

use firetower_store::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Exposes the room on a store's disk, and what of its files is damaged.
pub struct ExposedDisk {
    store: Store,
    is_read_only: bool,
}

impl ExposedDisk {
    /// Exposes the disk of `store`.
    pub fn new(store: Store) -> ExposedDisk {
        ExposedDisk { store, is_read_only: false }
    }

    /// Exposes the disk of `store`, which is opened for reading because it cannot be written.
    pub fn read_only(store: Store) -> ExposedDisk {
        ExposedDisk { store, is_read_only: true }
    }
}

impl fmt::Debug for ExposedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExposedDisk")
    }
}

impl Collector for ExposedDisk {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (store, stats) = (&self.store, self.store.raw_stats());
        let gauges = [
            ("free_bytes", "Bytes that were free on the disk when it was last looked at", store.free_bytes()),
            ("held", "1 while nothing new is kept because the disk is full", u64::from(store.is_held())),
            (
                "waiting_bytes",
                "Bytes of memory with what could not be written because the disk is full",
                store.waiting_bytes(),
            ),
            (
                "read_only",
                "1 while the data directory cannot be written and is only read",
                u64::from(self.is_read_only),
            ),
            ("unmerged", "1 while files are not merged because one of them is damaged", u64::from(store.is_unmerged())),
            ("damaged_places", "Damaged parts of files that are known", stats.damaged_places),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value as f64);
            let name = format!("firetower_store_{name}");
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        let help = "How often something was left out because it lies in a damaged part of a file";
        let counter = ConstCounter::new(stats.unreadable_reads);
        let name = "firetower_store_unreadable_reads";
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }
}
