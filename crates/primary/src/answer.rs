//! Answering the global aggregator, and whoever asks over HTTP, from the secondaries.

use std::sync::Arc;

use firetower_model::{AskError, Ending, Inquiry};
use firetower_query::{Known, Roll, Tree, answer_from_below};
use firetower_relay::{Answers, Out};
use firetower_topology::QueryLimits;

use crate::shares::Shares;

/// Answers from the secondaries.
pub(crate) struct Holder(pub(crate) Tree, pub(crate) QueryLimits);

impl Answers for Holder {
    fn answer(&self, inquiry: &Inquiry, out: &mut Out) -> Result<Ending, AskError> {
        let is_stopped = out.stopped();
        answer_from_below(&self.0, inquiry, &self.1, is_stopped, &mut |piece| out.say(piece))
    }
}

/// Returns who has which targets of a datacenter.
pub(crate) fn roll(shares: &Shares, region: &str, datacenter: &str) -> Roll {
    let known = |node: &String| Known {
        node: node.clone(),
        holds: node.clone(),
        region: region.to_owned(),
        datacenter: datacenter.to_owned(),
        targets: Some(shares.of(node).map_or(0, |share| share.targets.len() as u64)),
    };
    let targets = shares.targets().iter().map(|target| target.labels.identity()).collect();
    Roll { children: shares.secondaries().iter().map(known).collect(), targets: Arc::new(targets) }
}
