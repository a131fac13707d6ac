//! What goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use firetower_daemon::Random;

use crate::plan::{EMPTIED, FAULTS_FROM, HEALED, Plan, Role};

/// Faults of one simulation, at most.
const FAULTS_MAX: u64 = 7;
/// One simulation in so many loses a data directory, ...
const WIPE_EVERY: u64 = 8;
/// ... and in one in so many it goes back to an earlier state.
const RESTORE_EVERY: u64 = 8;
/// How old that is at most.
const COPY_AGE_MS_MAX: u64 = 6_000;
/// How many more writes a process does at most, once it is decided that its power goes.
const WRITES_MAX: u64 = 40;
/// How far a clock may jump at a restart, back or forth, at most.
const JUMP_MS_MAX: u64 = 500;
/// The network's usual delays.
pub(crate) const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// Something that happens to the tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// A process dies. What becomes of the data directory is decided now; it is started again by a later event.
    Crash { node: String, disk: DiskFate },
    /// A copy of a data directory is made, as a backup of the running process is.
    Copy { node: String },
    /// A process is asked to stop.
    Stop { node: String },
    /// A process starts again, with a clock that has jumped.
    Start { node: String, jump_ms: i64 },
    /// Nothing passes between two hosts.
    Cut { a: String, b: String },
    /// Nothing passes from one host to another.
    CutOneWay { from: String, to: String },
    /// Everything between two hosts is held back, to be delivered later.
    Hold { a: String, b: String },
    /// Messages between two hosts take so long.
    Slow { a: String, b: String, latency: Duration },
    /// The connections that one host has opened to another are reset.
    Reset { from: String, to: String },
    /// The link between two hosts is as it should be again; what was held is delivered.
    Repair { a: String, b: String },
    /// A datacenter has these secondaries, of those that it may have; its primaries are told to read the topology again.
    Secondaries { datacenter: String, without: Option<String> },
    /// A datacenter's list of targets is now these of its host's targets.
    List { datacenter: String, numbers: Vec<u16> },
}

/// What a crash leaves on the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum DiskFate {
    /// All that was written: the process was killed.
    Kept,
    /// The power went, after so many more writes: what was synced is left, and so many of a thousand of the batches behind it.
    Cut { writes: u64, kept_per_mille: u64 },
    /// Nothing.
    Lost,
    /// What the last copy of it had, brought back by `firetower store restore` or else by hand.
    Restored { is_by_hand: bool },
}

/// Draws the faults of a plan, and what ends each of them.
pub(crate) fn faults(plan: &Plan, random: &Random) -> Vec<(Duration, Event)> {
    let mut draw = Draw { plan, random, events: Vec::new(), busy_until: BTreeMap::new() };
    for (datacenter, count) in &plan.datacenters {
        draw.events
            .push((Duration::ZERO, Event::List { datacenter: datacenter.clone(), numbers: (0..*count).collect() }));
        draw.events.push((EMPTIED, Event::List { datacenter: datacenter.clone(), numbers: Vec::new() }));
    }
    for _ in 0..1 + random.below(FAULTS_MAX) {
        draw.fault();
    }
    if random.below(WIPE_EVERY) == 0 {
        draw.process(DiskFate::Lost);
    }
    if random.below(RESTORE_EVERY) == 0 {
        draw.process(DiskFate::Restored { is_by_hand: random.below(2) == 0 });
    }
    let mut events = draw.events;
    events.sort_by_key(|(at, _)| *at);
    events
}

struct Draw<'a> {
    plan: &'a Plan,
    random: &'a Random,
    events: Vec<(Duration, Event)>,
    /// Until when a process or a link has its fault: the next one comes later.
    busy_until: BTreeMap<String, Duration>,
}

impl Draw<'_> {
    fn fault(&mut self) {
        match self.random.below(13) {
            0..=2 => self.process(DiskFate::Kept),
            3..=5 => {
                let (writes, kept_per_mille) = (self.random.below(WRITES_MAX), self.random.below(1_001));
                self.process(DiskFate::Cut { writes, kept_per_mille });
            }
            6..=10 => self.link(),
            11 => self.secondaries(),
            _ => self.list(),
        }
    }

    /// Returns when something happens to `subject` and when it is over; nothing if there is no time left.
    fn span(&mut self, subject: &str, least_ms: u64, most_ms: u64) -> Option<(Duration, Duration)> {
        let from = *self.busy_until.get(subject).unwrap_or(&FAULTS_FROM);
        let left = HEALED.checked_sub(from)?.as_millis() as u64;
        let at = from + Duration::from_millis(self.random.below(left));
        let over = (at + Duration::from_millis(least_ms + self.random.below(most_ms - least_ms))).min(HEALED);
        self.busy_until.insert(subject.to_owned(), over);
        Some((at, over))
    }

    fn process(&mut self, disk: DiskFate) {
        let node = &self.plan.nodes[self.random.below(self.plan.nodes.len() as u64) as usize];
        let Some((at, over)) = self.span(&node.name, 100, 8_000) else { return };
        let name = node.name.clone();
        if disk == DiskFate::Kept && self.random.below(3) == 0 {
            self.events.push((at, Event::Stop { node: name.clone() }));
        } else {
            self.events.push((at, Event::Crash { node: name.clone(), disk }));
        }
        if let DiskFate::Restored { .. } = disk {
            let age = Duration::from_millis(self.random.below(COPY_AGE_MS_MAX));
            self.events.push((at.saturating_sub(age), Event::Copy { node: name.clone() }));
        }
        let jump_ms = match self.random.below(4) {
            0 => self.random.below(2 * JUMP_MS_MAX) as i64 - JUMP_MS_MAX as i64,
            _ => 0,
        };
        self.events.push((over, Event::Start { node: name, jump_ms }));
    }

    fn link(&mut self) {
        let links = links(self.plan);
        let (a, b) = links[self.random.below(links.len() as u64) as usize].clone();
        let Some((at, over)) = self.span(&format!("{a} {b}"), 200, 10_000) else { return };
        let event = match self.random.below(6) {
            0 => Event::Cut { a: a.clone(), b: b.clone() },
            1 => Event::CutOneWay { from: a.clone(), to: b.clone() },
            2 => Event::CutOneWay { from: b.clone(), to: a.clone() },
            3 => Event::Hold { a: a.clone(), b: b.clone() },
            4 => {
                let latency = Duration::from_millis(20 + self.random.below(1_000));
                Event::Slow { a: a.clone(), b: b.clone(), latency }
            }
            _ => {
                self.events.push((at, Event::Reset { from: a, to: b }));
                return;
            }
        };
        self.events.push((at, event));
        self.events.push((over, Event::Repair { a, b }));
    }

    /// Takes a secondary out of the topology, so that its targets move to the other, and puts it back.
    fn secondaries(&mut self) {
        let at = self.random.below(self.plan.datacenters.len() as u64) as usize;
        let Some(datacenter) = self.plan.datacenters.keys().nth(at) else { return };
        let secondaries: Vec<&str> =
            self.plan.of_role(Role::Secondary, datacenter).map(|node| node.name.as_str()).collect();
        let without = secondaries[self.random.below(secondaries.len() as u64) as usize].to_owned();
        if secondaries.len() < 2 {
            return;
        }
        let Some((at, over)) = self.span(datacenter, 2_000, 8_000) else { return };
        let event = |without| Event::Secondaries { datacenter: datacenter.clone(), without };
        self.events.push((at, event(Some(without))));
        self.events.push((over, event(None)));
    }

    /// Takes targets out of a list, and puts them back.
    fn list(&mut self) {
        let at = self.random.below(self.plan.datacenters.len() as u64) as usize;
        let Some((datacenter, count)) = self.plan.datacenters.iter().nth(at) else { return };
        let Some((at, over)) = self.span(datacenter, 2_000, 8_000) else { return };
        let kept = |_: &u16| self.random.below(3) > 0;
        let numbers = (0..*count).filter(kept).collect();
        self.events.push((at, Event::List { datacenter: datacenter.clone(), numbers }));
        self.events.push((over, Event::List { datacenter: datacenter.clone(), numbers: (0..*count).collect() }));
    }
}

/// Returns all pairs of hosts of which the first dials the second.
pub(crate) fn links(plan: &Plan) -> Vec<(String, String)> {
    let mut links = Vec::new();
    for node in &plan.nodes {
        links.extend(plan.parents(node).into_iter().map(|parent| (node.name.clone(), parent.name.clone())));
        if node.role == Role::Secondary {
            links.push((node.name.clone(), Plan::targets_host(&node.datacenter)));
        }
    }
    links
}
