//! What is counted of write requests.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Taken;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    what: &'static str,
}

/// What is counted of write requests; clones share it.
#[derive(Clone, Debug, Default)]
pub struct WriteMetrics {
    requests: Family<Outcome, Counter>,
    samples: Counter,
    refused: Family<Reason, Counter>,
    ignored: Family<What, Counter>,
    /// Bytes of bodies as they travelled.
    pub(super) body_bytes: Counter,
}

impl WriteMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> WriteMetrics {
        let metrics = WriteMetrics::default();
        let name = |name: &str| format!("firetower_write_{name}");
        registry.register(name("requests"), "Write requests by how they ended", metrics.requests.clone());
        registry.register(name("samples"), "Samples kept of write requests", metrics.samples.clone());
        let help = "Samples of write requests that were refused, by reason";
        registry.register(name("refused_samples"), help, metrics.refused.clone());
        let help = "Parts of write requests that are of no use here: exemplars, native histograms, metadata";
        registry.register(name("ignored"), help, metrics.ignored.clone());
        registry.register(name("body_bytes"), "Bytes of write requests as they travelled", metrics.body_bytes.clone());
        metrics
    }

    pub(super) fn note_outcome(&self, outcome: &'static str) {
        self.requests.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn note_taken(&self, taken: &Taken) {
        self.note_outcome(if taken.complaint.is_none() { "ok" } else { "partial" });
        self.samples.inc_by(taken.samples);
        for (reason, samples) in &taken.refused {
            self.refused.get_or_create(&Reason { reason }).inc_by(*samples);
        }
        for (what, count) in &taken.ignored {
            self.ignored.get_or_create(&What { what }).inc_by(*count);
        }
    }
}
