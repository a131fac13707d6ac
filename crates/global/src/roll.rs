//! Who below can be asked.

use std::cmp::Reverse;

use firetower_model::NodeStatus;
use firetower_query::{Known, Roll};
use firetower_relay::Caller;

use crate::below::Below;

/// Returns the primaries of the topology, of those of one datacenter first the one that has most of its secondaries; what they
/// have is that of their datacenter, as far as any of them has said.
pub(crate) fn roll(below: &Below, heard: &[Caller]) -> Roll {
    let said = || heard.iter().filter_map(|caller| caller.status.as_deref());
    let targets_of = |datacenter: &str| {
        said().filter(|status| status.datacenter == datacenter).map(|status| status.targets.total()).max()
    };
    let children_of = |node: &str| {
        let status = said().find(|status| status.node == node);
        status.map_or(0, |status| status.children.iter().filter(|child| child.is_connected).count())
    };
    let known = |silent: &NodeStatus| Known {
        node: silent.node.clone(),
        holds: silent.datacenter.clone(),
        region: silent.region.clone(),
        datacenter: silent.datacenter.clone(),
        targets: targets_of(&silent.datacenter),
    };
    let mut children: Vec<Known> = below.silent.iter().map(known).collect();
    children.sort_by_cached_key(|child| Reverse(children_of(&child.node)));
    // No target is in two datacenters.
    Roll { children, targets: Default::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use firetower_model::Role;

    use super::*;

    #[test]
    fn the_primary_with_more_secondaries_is_asked_first() {
        let silent = |node: &str| NodeStatus::silent(node, Role::Primary, "eu", "dub", "");
        let below = Below { primaries: BTreeMap::new(), silent: vec![silent("p0"), silent("p1")] };
        let caller = |node: &str, connected: usize| {
            let mut status = silent(node);
            status.children = (0..2).map(|_| silent("s")).collect();
            status.children[..connected].iter_mut().for_each(|child| child.is_connected = true);
            status.targets.online = 5;
            Caller { name: node.to_owned(), status: Some(Arc::new(status)), can_answer: Ok(()) }
        };
        let check = |heard: &[Caller], expected: [&str; 2]| {
            let children = roll(&below, heard).children;
            assert_eq!(children.iter().map(|child| child.node.as_str()).collect::<Vec<_>>(), expected);
            assert_eq!(children[0].targets, heard.first().map(|_| 5));
        };
        check(&[], ["p0", "p1"]);
        check(&[caller("p0", 2), caller("p1", 2)], ["p0", "p1"]);
        check(&[caller("p0", 1), caller("p1", 2)], ["p1", "p0"]);
    }
}
