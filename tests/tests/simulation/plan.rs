//! What a seed says: how large the tree is, and what happens when.

use std::collections::BTreeMap;
use std::time::Duration;

use firetower_daemon::Random;

use crate::faults::{Event, faults};

/// The time of day at which a simulation begins: the start of an hour.
const BEGIN_MS: i64 = 1_700_002_800_000;
/// Length of a window, and time between two scrapes of a target.
pub(crate) const WINDOW: Duration = Duration::from_secs(2);
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// How far a clock may be off at the start, at most.
const SKEW_MS_MAX: u64 = 1_000;

/// When the first fault may come, ...
pub(crate) const FAULTS_FROM: Duration = Duration::from_secs(6);
/// ... and when all is repaired and runs again.
pub(crate) const HEALED: Duration = Duration::from_secs(22);
/// From here on nothing is lost any more: broken connections have been noticed and made anew.
pub(crate) const CALM: Duration = Duration::from_secs(38);
/// When targets are taken out of all lists, so that what is on its way comes to an end.
pub(crate) const EMPTIED: Duration = Duration::from_secs(42);
/// By when that must have happened.
pub(crate) const DEADLINE: Duration = Duration::from_secs(70);

/// Which place in the tree a monitor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Secondary,
    Primary,
    Global,
}

/// A monitor.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Empty for a global aggregator.
    pub(crate) datacenter: String,
    /// How far its clock is off at the start.
    pub(crate) skew_ms: i64,
}

/// What a seed says.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) begin_ms: i64,
    pub(crate) nodes: Vec<Node>,
    /// Each datacenter, and how many targets its host serves.
    pub(crate) datacenters: BTreeMap<String, u16>,
    /// In order of time.
    pub(crate) events: Vec<(Duration, Event)>,
}

impl Plan {
    /// Makes the plan that `seed` says.
    pub(crate) fn of(seed: u64) -> Plan {
        let random = Random::seeded(seed);
        let one_or_two = || 1 + u64::from(random.below(4) > 0);
        let mut datacenters = BTreeMap::new();
        let mut nodes = Vec::new();
        let mut add = |name: String, role, datacenter: &str| {
            let skew_ms = random.below(2 * SKEW_MS_MAX) as i64 - SKEW_MS_MAX as i64;
            nodes.push(Node { name, role, datacenter: datacenter.to_owned(), skew_ms });
        };
        for datacenter in ["dub", "nyc"].into_iter().take(one_or_two() as usize) {
            (0..one_or_two()).for_each(|n| add(format!("{datacenter}-s{n}"), Role::Secondary, datacenter));
            (0..one_or_two()).for_each(|n| add(format!("{datacenter}-p{n}"), Role::Primary, datacenter));
            datacenters.insert(datacenter.to_owned(), 2 + random.below(4) as u16);
        }
        (0..one_or_two()).for_each(|n| add(format!("global-{n}"), Role::Global, ""));
        let begin_ms = BEGIN_MS + random.below(7_000) as i64;
        let mut plan = Plan { seed, begin_ms, nodes, datacenters, events: Vec::new() };
        plan.events = faults(&plan, &random);
        plan
    }

    /// Returns the nodes of a role, of one datacenter or of all.
    pub(crate) fn of_role<'a>(&'a self, role: Role, datacenter: &'a str) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().filter(move |node| node.role == role && node.datacenter == datacenter)
    }

    /// Returns whom a node dials.
    pub(crate) fn parents<'a>(&'a self, node: &'a Node) -> Vec<&'a Node> {
        match node.role {
            Role::Secondary => self.of_role(Role::Primary, &node.datacenter).collect(),
            Role::Primary => self.of_role(Role::Global, "").collect(),
            Role::Global => Vec::new(),
        }
    }

    /// Returns the host of a datacenter's targets.
    pub(crate) fn targets_host(datacenter: &str) -> String {
        format!("{datacenter}-targets")
    }

    /// Returns the topology file without a secondary, if one is named.
    pub(crate) fn topology(&self, without: Option<&str>) -> String {
        let mut text =
            "firetower: 1\ndefaults: { scrape_interval: 1s, scrape_timeout: 500ms, window: 2s, late_window: 20s }\nglobal:\n".to_owned();
        for node in self.of_role(Role::Global, "") {
            text += &format!("  - {{ node: {0}, http: \"{0}:6110\", grpc: \"{0}:6111\" }}\n", node.name);
        }
        text += "regions:\n  - region: eu\n    datacenters:\n";
        for datacenter in self.datacenters.keys() {
            text += &format!("      - datacenter: {datacenter}\n        primaries:\n");
            for node in self.of_role(Role::Primary, datacenter) {
                text += &format!("          - {{ node: {0}, http: \"{0}:6110\", grpc: \"{0}:6111\" }}\n", node.name);
            }
            text += "        secondaries:\n";
            for node in self.of_role(Role::Secondary, datacenter).filter(|node| without != Some(&node.name)) {
                text += &format!("          - {{ node: {0}, http: \"{0}:6110\" }}\n", node.name);
            }
            text += "        scrape_configs:\n";
            text +=
                &format!("          - {{ job_name: work, file_sd_configs: [ {{ files: [ {datacenter}.json ] }} ] }}\n");
        }
        text
    }
}
