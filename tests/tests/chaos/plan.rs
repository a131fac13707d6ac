//! What goes wrong, and in which order: a seed says it.

use std::collections::BTreeSet;
use std::time::Duration;

use firetower_daemon::Random;
use firetower_tests::Tree;

/// Faults at a time, at most.
const AT_ONCE_MAX: u64 = 4;
/// How long a fault is held after it was found, at most; in a run of many faults, so long that the other end finds it too.
const HELD_MS: (u64, u64) = (0, 2_000);
const LONG_HELD_MS: (u64, u64) = (0, 12_000);
/// How long one lasts that nobody is to find.
const CARRIED_MS: (u64, u64) = (3_000, 8_000);
/// How long a process is stopped for, at least and at most; in a run of many faults one time in so many for longer.
const PAUSED_MS: (u64, u64) = (1_000, 12_000);
const MANY_FAULTS: usize = 50;
const LONG_PAUSE_EVERY: u64 = 3;
const LONG_PAUSED_MS: (u64, u64) = (30_000, 60_000);
/// How far a clock is off, at most.
const CLOCK_SECONDS_MAX: u64 = 600;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    // Of processes.
    Kill,
    Pause,
    Restart,
    // Of hosts: a peer that vanishes without a word, and a clock.
    PowerCut,
    ClockOff,
    // Of disks.
    FullDisk,
    GoneBack,
    Wipe,
    // Of links.
    Cut,
    DeafParent,
    DeafChild,
    Slow,
    Lossy,
    Reset,
    WrongHost,
    Silent,
    Garbage,
    Oversized,
}

impl Kind {
    pub(crate) const ALL: [Kind; 18] = [
        Kind::Kill,
        Kind::Pause,
        Kind::Restart,
        Kind::PowerCut,
        Kind::ClockOff,
        Kind::FullDisk,
        Kind::GoneBack,
        Kind::Wipe,
        Kind::Cut,
        Kind::DeafParent,
        Kind::DeafChild,
        Kind::Slow,
        Kind::Lossy,
        Kind::Reset,
        Kind::WrongHost,
        Kind::Silent,
        Kind::Garbage,
        Kind::Oversized,
    ];

    /// Returns what the report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "process killed",
            Kind::Pause => "process stopped (SIGSTOP)",
            Kind::Restart => "process restarted (SIGTERM)",
            Kind::PowerCut => "host without power (half-open)",
            Kind::ClockOff => "clock off, then right",
            Kind::FullDisk => "disk full",
            Kind::GoneBack => "data directory gone back to a copy",
            Kind::Wipe => "data directory lost",
            Kind::Cut => "link cut",
            Kind::DeafParent => "one way: parent hears nothing",
            Kind::DeafChild => "one way: child hears nothing",
            Kind::Slow => "link slow (10 kB/s)",
            Kind::Lossy => "link lossy (25 %)",
            Kind::Reset => "connections reset",
            Kind::WrongHost => "wrong host behind the address",
            Kind::Silent => "parent never answers",
            Kind::Garbage => "parent answers garbage",
            Kind::Oversized => "parent's message over the limit",
        }
    }

    /// Tells whether it is of a link rather than of a node.
    pub(crate) fn is_of_link(self) -> bool {
        self >= Kind::Cut
    }

    /// Tells whether somebody has to find it; the others may go by unnoticed.
    pub(crate) fn is_to_be_found(self) -> bool {
        !matches!(self, Kind::Slow | Kind::Lossy | Kind::Pause)
    }
}

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The monitor, or the child of the link.
    pub(crate) node: String,
    /// The parent at the link's other end.
    pub(crate) parent: Option<String>,
    /// How long it lasts: from the beginning, or from when it was found if it is to be found.
    pub(crate) held: Duration,
    /// How far the clock is off.
    pub(crate) clock_seconds: i64,
}

/// Returns rounds of faults; those of a round come at the same time, and do not touch each other.
pub(crate) fn rounds(tree: &Tree, seed: u64, faults: usize) -> Vec<Vec<Fault>> {
    let (random, is_long) = (Random::seeded(seed), faults >= MANY_FAULTS);
    let (mut rounds, mut round, mut touched) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut at_once = 1 + random.below(AT_ONCE_MAX);
    for kind in kinds(&random, faults) {
        let mut fault = draw(tree, &random, kind, is_long, &touched);
        if fault.is_none() || round.len() as u64 >= at_once {
            rounds.push(std::mem::take(&mut round));
            touched.clear();
            at_once = 1 + random.below(AT_ONCE_MAX);
            fault = draw(tree, &random, kind, is_long, &touched);
        }
        let fault = fault.expect("there is a place for each kind while nothing is touched");
        touched.extend(touches(tree, &fault));
        round.push(fault);
    }
    rounds.push(round);
    rounds
}

/// Returns so many kinds: all of them in random order, and again, until there are enough.
fn kinds(random: &Random, count: usize) -> Vec<Kind> {
    let mut kinds = Vec::new();
    while kinds.len() < count {
        let mut all = Kind::ALL.to_vec();
        while !all.is_empty() {
            kinds.push(all.remove(random.below(all.len() as u64) as usize));
        }
    }
    kinds.truncate(count);
    kinds
}

/// Draws a place for a fault where nothing is `touched` yet; nothing if there is none.
fn draw(tree: &Tree, random: &Random, kind: Kind, is_long: bool, touched: &BTreeSet<String>) -> Option<Fault> {
    let names = tree.node_names();
    let mut places: Vec<(String, Option<String>)> = if kind.is_of_link() {
        let links =
            names.iter().map(|child| tree.parents(child).into_iter().map(|parent| (child.clone(), Some(parent))));
        links.flatten().collect()
    } else {
        // Global aggregators go by their system's clock: it is their time that all others take.
        let is_fit = |name: &&String| kind != Kind::ClockOff || !tree.parents(name).is_empty();
        names.iter().filter(is_fit).map(|name| (name.clone(), None)).collect()
    };
    let span = |(least, most): (u64, u64)| Duration::from_millis(least + random.below(most - least));
    let held = match kind {
        Kind::Slow | Kind::Lossy => span(CARRIED_MS),
        Kind::Pause if is_long && random.below(LONG_PAUSE_EVERY) == 0 => span(LONG_PAUSED_MS),
        Kind::Pause => span(PAUSED_MS),
        _ if is_long && (kind.is_of_link() || kind == Kind::FullDisk) => span(LONG_HELD_MS),
        _ => span(HELD_MS),
    };
    let off = 1 + random.below(CLOCK_SECONDS_MAX) as i64;
    let clock_seconds = if random.below(2) == 0 { off } else { -off };
    while !places.is_empty() {
        let (node, parent) = places.remove(random.below(places.len() as u64) as usize);
        let fault = Fault { kind, node, parent, held, clock_seconds };
        if touches(tree, &fault).is_disjoint(touched) {
            return Some(fault);
        }
    }
    None
}

/// Returns the monitors that have to be well but for this fault, for it to be found and judged.
fn touches(tree: &Tree, fault: &Fault) -> BTreeSet<String> {
    let node = [fault.node.clone()].into_iter();
    match fault.kind {
        _ if fault.kind.is_of_link() => node.chain(fault.parent.clone()).collect(),
        Kind::GoneBack | Kind::Wipe => {
            let datacenter = tree.datacenter(&fault.node);
            tree.node_names()
                .into_iter()
                .filter(|name| datacenter.is_empty() || tree.datacenter(name) == datacenter)
                .collect()
        }
        _ => node.chain(tree.parents(&fault.node)).collect(),
    }
}
