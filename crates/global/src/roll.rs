//! Who below can be asked.

use firetower_model::NodeStatus;
use firetower_query::{Known, Roll};
use firetower_relay::Caller;

use crate::below::Below;

/// Returns the primaries of the topology; what they have is that of their datacenter, as far as any of them has said.
pub(crate) fn roll(below: &Below, heard: &[Caller]) -> Roll {
    let targets_of = |datacenter: &str| {
        let said = heard.iter().filter_map(|caller| caller.status.as_deref());
        said.filter(|status| status.datacenter == datacenter).map(|status| status.targets.total()).max()
    };
    let known = |silent: &NodeStatus| Known {
        node: silent.node.clone(),
        holds: silent.datacenter.clone(),
        region: silent.region.clone(),
        datacenter: silent.datacenter.clone(),
        targets: targets_of(&silent.datacenter),
    };
    // No target is in two datacenters.
    Roll { children: below.silent.iter().map(known).collect(), targets: Default::default() }
}
