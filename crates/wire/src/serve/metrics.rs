//! What taking calls counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why a connection ended badly.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cut {
    reason: &'static str,
}

/// What taking calls counts; clones share it.
#[derive(Clone, Debug, Default)]
pub struct CallMetrics {
    cut: Family<Cut, Counter>,
    pub(super) open: Gauge,
}

impl CallMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> CallMetrics {
        let metrics = CallMetrics::default();
        let help = "Connections of children that ended badly: crowded, silent (without a call), malformed, broken";
        registry.register("firetower_wire_cut_connections", help, metrics.cut.clone());
        registry.register("firetower_wire_connections", "Connections of children open", metrics.open.clone());
        metrics
    }

    pub(super) fn cut(&self, reason: &'static str, count: usize) {
        if count > 0 {
            self.cut.get_or_create(&Cut { reason }).inc_by(count as u64);
        }
    }
}
