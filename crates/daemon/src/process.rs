//! What a process says of itself as a whole.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;

/// Exposes how many tasks the runtime has: a number that grows without end is a leak.
#[derive(Debug)]
pub struct ProcessMetrics(Handle);

impl ProcessMetrics {
    /// Registers them, for the runtime that this is called in.
    ///
    /// # Panics
    /// If it is called outside of any.
    pub fn register(registry: &mut Registry) {
        registry.register_collector(Box::new(ProcessMetrics(Handle::current())));
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let tasks = ConstGauge::new(self.0.metrics().num_alive_tasks() as f64);
        let help = "Tasks that were started and have not ended";
        tasks.encode(encoder.encode_descriptor("firetower_process_tasks", help, None, tasks.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[tokio::test]
    async fn tasks_are_counted_until_they_end() {
        let mut registry = Registry::default();
        ProcessMetrics::register(&mut registry);
        let count = || {
            let mut page = String::new();
            encode(&mut page, &registry).unwrap();
            let line = page.lines().find_map(|line| line.strip_prefix("firetower_process_tasks "));
            line.and_then(|count| count.parse::<f64>().ok()).unwrap()
        };
        let before = count();
        let task = tokio::spawn(std::future::pending::<()>());
        assert_eq!(count(), before + 1.0);
        task.abort();
        let _ = task.await;
        assert_eq!(count(), before);
    }
}
