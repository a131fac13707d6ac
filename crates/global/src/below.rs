//! The monitors below, by the topology.

use std::collections::BTreeMap;

use firetower_model::{NodeStatus, Role};
use firetower_topology::{Datacenter, Node, Topology};

/// The monitors below, by the topology as it was last read.
#[derive(Debug)]
pub(crate) struct Below {
    /// Name and datacenter of every primary.
    pub(crate) primaries: BTreeMap<String, String>,
    /// What is known of all of them before they are heard, in order of their names.
    pub(crate) silent: Vec<NodeStatus>,
}

impl Below {
    /// Takes the monitors of a topology.
    pub(crate) fn of(topology: &Topology) -> Below {
        let mut below = Below { primaries: BTreeMap::new(), silent: Vec::new() };
        for datacenter in topology.datacenters() {
            for primary in &datacenter.primaries {
                below.primaries.insert(primary.name.clone(), datacenter.name.clone());
                let mut status = silent(datacenter, primary, Role::Primary);
                status.children =
                    datacenter.secondaries.iter().map(|node| silent(datacenter, node, Role::Secondary)).collect();
                below.silent.push(status);
            }
        }
        below.silent.sort_by(|a, b| a.node.cmp(&b.node));
        below
    }
}

fn silent(datacenter: &Datacenter, node: &Node, role: Role) -> NodeStatus {
    NodeStatus::silent(&node.name, role, &datacenter.region, &datacenter.name, &node.http)
}
