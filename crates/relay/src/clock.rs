//! What a monitor's `/metrics` says of its clock, and of those of its children.

use std::fmt;

use firetower_daemon::Clock;
use firetower_model::NodeStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tokio::sync::watch;

use crate::exposed::{Labelled, put_gauges};

/// Exposes how far a clock is from the one that it follows, and those of the children from it.
#[derive(Debug)]
pub struct ExposedClock {
    clock: Clock,
    status: watch::Receiver<NodeStatus>,
}

impl ExposedClock {
    /// Exposes `clock`, and what `status` says of the children's at each scrape.
    pub fn new(clock: Clock, status: watch::Receiver<NodeStatus>) -> ExposedClock {
        ExposedClock { clock, status }
    }
}

impl Collector for ExposedClock {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(offset_ms) = self.clock.offset_ms() {
            let help = "By how much the clock of the parents is ahead of this one, negative if behind";
            let offset = vec![(Vec::new(), offset_ms as f64 / 1e3)];
            put_gauges(&mut encoder, "firetower_clock_offset_seconds", help, &offset)?;
        }
        let status = self.status.borrow();
        let ahead = |child: &'_ NodeStatus| child.clock_ahead_ms.map(|ahead| ahead as f64 / 1e3);
        let children = status.children.iter();
        let lines: Labelled<'_> =
            children.filter_map(|child| Some((vec![("child", child.node.as_str())], ahead(child)?))).collect();
        let help = "By how much the clock of a child is ahead of this one, negative if behind";
        if lines.is_empty() {
            Ok(())
        } else {
            put_gauges(&mut encoder, "firetower_clock_child_ahead_seconds", help, &lines)
        }
    }
}
