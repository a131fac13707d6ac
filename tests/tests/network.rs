//! Each fault of a network, between real processes on hosts of their own: both ends find it, recover, and keep nothing of it.
//!
//! The hosts are network namespaces, for which these tests need to be root, as CI is.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Broken, Journal, Layout, LinkFault, Tree, wait_for};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many faults are tried at a time, each with a secondary of its own.
const CHILDREN: usize = 5;
const PARENT: &str = "dub-p0";

/// A fault, and what says that it was found.
struct Case {
    fault: LinkFault,
    /// What the child says why its link has failed; nothing where it goes on.
    child_says: Option<&'static str>,
    /// Whether the parent finds that its child has gone.
    is_missed: bool,
}

fn cases(tree: &Tree) -> Result<Vec<Case>> {
    let found = |fault, child_says| Case { fault, child_says: Some(child_says), is_missed: true };
    let carried = |fault| Case { fault, child_says: None, is_missed: false };
    let certificate: PathBuf = tree.directory().join("certs").join(PARENT);
    Ok(vec![
        found(LinkFault::Cut, "error="),
        found(LinkFault::DeafParent, "error="),
        found(LinkFault::DeafChild, "error="),
        found(LinkFault::Reset, "error="),
        found(LinkFault::Silent, "deadline has elapsed"),
        found(LinkFault::Garbage, "plain_text"),
        found(LinkFault::WrongHost(tree.grpc_address("global-0")?), "wrong_name"),
        found(LinkFault::Oversized(certificate), "too large"),
        carried(LinkFault::Slow),
        carried(LinkFault::Lossy),
    ])
}

/// How many connections a monitor has open.
fn sockets(tree: &Tree, name: &str) -> Result<usize> {
    let files = std::fs::read_dir(format!("/proc/{}/fd", tree.process_id(name)?))?;
    let is_socket = |file: std::io::Result<std::fs::DirEntry>| {
        // A file may be closed meanwhile.
        let target = file.and_then(|file| std::fs::read_link(file.path())).unwrap_or_default();
        target.to_string_lossy().starts_with("socket:")
    };
    Ok(files.filter_map(|file| is_socket(file).then_some(())).count())
}

/// Waits until nobody has more connections than before.
fn wait_nothing_leaked(tree: &Tree, before: &[(String, usize)]) -> Result<()> {
    wait_for("connections that ended are closed", PATIENCE, || {
        for (name, before) in before {
            let now = sockets(tree, name)?;
            ensure!(now <= *before, "{name} has {now} connections open, {before} before");
        }
        Ok(Some(()))
    })
}

fn wait_said(what: &str, journal: &Journal, words: &[&str]) -> Result<()> {
    wait_for(what, PATIENCE, || Ok((!journal.lines(words)?.is_empty()).then_some(())))
}

/// Breaks a link for each case, waits until all are found that are to be, repairs them, and waits until all are up again.
fn try_cases(tree: &Tree, cases: &[Case], children: &[String]) -> Result<()> {
    let to_parent = format!("parent=\"{PARENT}\"");
    let begin = |name: &str| Journal::begin(tree.directory(), name);
    let parent_log = begin(PARENT)?;
    let mut broken: Vec<(&Case, &String, Journal, Broken)> = Vec::new();
    for (case, child) in cases.iter().zip(children) {
        let journal = begin(child)?;
        broken.push((case, child, journal, tree.break_link(child, PARENT, case.fault.clone())?));
    }
    for (case, child, journal, _) in &broken {
        if let Some(why) = case.child_says {
            let what = format!("{child} finds {:?}", case.fault);
            wait_said(&what, journal, &["link to parent failed", &to_parent, why])?;
        }
        if case.is_missed {
            let what = format!("{PARENT} misses {child}: {:?}", case.fault);
            wait_said(&what, &parent_log, &["child has gone", &format!("child=\"{child}\"")])?;
        }
    }
    let mut repaired = Vec::new();
    for (case, child, _, broken) in broken {
        if case.child_says.is_none() {
            let from =
                tree.ask(PARENT).metric(&format!("firetower_relay_received_frames_total{{peer=\"{child}\"}}"))?;
            wait_for(&format!("frames of {child} come through: {:?}", case.fault), PATIENCE, || {
                let now =
                    tree.ask(PARENT).metric(&format!("firetower_relay_received_frames_total{{peer=\"{child}\"}}"))?;
                Ok((now >= from.map(|from| from + 3.0)).then_some(()))
            })?;
        }
        let journal = begin(child)?;
        broken.repair()?;
        repaired.push((case, child, journal));
    }
    for (case, child, journal) in repaired.iter().filter(|(case, ..)| case.child_says.is_some()) {
        let what = format!("{child} is back after {:?}", case.fault);
        wait_said(&what, journal, &["link to parent is up", &to_parent])?;
    }
    tree.wait_complete("global-0")?;
    Ok(())
}

/// Waits until every account closes, and both ends of each hop count the same: between two windows, that is.
fn wait_closed(tree: &Tree) -> Result<()> {
    wait_for("both ends agree", PATIENCE, || {
        let answers = tree.ask("global-0");
        for account in answers.accounts()? {
            ensure!(account.residual() == 0 && account.dropped == 0, "{account:?}");
        }
        for (hop, (applied, delivered)) in answers.received()? {
            ensure!(Some(applied) == delivered, "{hop:?}: {applied} applied, {delivered:?} delivered");
        }
        Ok(Some(()))
    })
}

#[test]
fn each_fault_of_a_network_is_found_by_both_ends_and_nothing_leaks() -> Result<()> {
    let layout = Layout {
        secondaries: CHILDREN,
        targets: 10,
        series: 20,
        is_secure: true,
        has_hosts: true,
        ..Layout::default()
    };
    Tree::check(layout, |tree| {
        tree.wait_complete("global-0")?;
        let children = tree.secondaries();
        let names = tree.node_names().into_iter();
        let before = names.map(|name| Ok((name.clone(), sockets(tree, &name)?))).collect::<Result<Vec<_>>>()?;
        for cases in cases(tree)?.chunks(CHILDREN) {
            try_cases(tree, cases, &children)?;
        }
        wait_nothing_leaked(tree, &before).context("after all faults")?;
        tree.wait_exact("global-0", tree.grid())?;
        wait_closed(tree)
    })
}

#[test]
fn a_host_that_loses_its_power_is_missed_by_its_parent_and_its_children() -> Result<()> {
    let layout =
        Layout { secondaries: 2, targets: 10, series: 20, is_secure: true, has_hosts: true, ..Layout::default() };
    Tree::check(layout, |tree| {
        tree.wait_complete("global-0")?;
        let others = ["global-0", "dub-s1"];
        let before =
            others.iter().map(|name| Ok((name.to_string(), sockets(tree, name)?))).collect::<Result<Vec<_>>>()?;
        for victim in [PARENT, "dub-s0"] {
            let journals =
                tree.node_names().into_iter().map(|name| Ok((Journal::begin(tree.directory(), &name)?, name)));
            let journals = journals.collect::<Result<Vec<_>>>()?;
            // Nobody hears the connections end.
            let unplugged = tree.unplug(victim)?;
            tree.kill(victim)?;
            for (journal, name) in &journals {
                let what = format!("{name} misses {victim}");
                if tree.children(victim).contains(name) {
                    wait_said(&what, journal, &["link to parent failed", &format!("parent=\"{victim}\"")])?;
                }
                if tree.parents(victim).contains(name) {
                    wait_said(&what, journal, &["child has gone", &format!("child=\"{victim}\"")])?;
                }
            }
            unplugged.repair()?;
            tree.restart(victim)?;
            tree.wait_complete("global-0")?;
        }
        wait_nothing_leaked(tree, &before)?;
        tree.wait_exact("global-0", tree.grid())?;
        wait_closed(tree)
    })
}
