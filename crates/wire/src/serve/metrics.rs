//! What taking calls counts.

use firetower_daemon::CrowdMetrics;
use prometheus_client::registry::Registry;

/// What taking calls counts; clones share it.
#[derive(Clone, Debug, Default)]
pub struct CallMetrics(pub(super) CrowdMetrics);

impl CallMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> CallMetrics {
        let cut = "Connections of children that ended badly: crowded, silent (without a call), malformed, broken";
        CallMetrics(CrowdMetrics::register(registry, "firetower_wire", (cut, "Connections of children open")))
    }
}
