//! Brings a fault about, sees who finds it, ends it, and sees that all is as before.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use firetower_tests::{Broken, Journal, LinkFault, RawSeries, Tree, now_ms, wait_for};

use crate::accounts;
use crate::plan::{Fault, Kind};

/// How long it may take until a fault is found, and until all is well after it was ended, on a busy machine.
const FOUND_LIMIT: Duration = Duration::from_secs(60);
const RECOVERED_LIMIT: Duration = Duration::from_secs(120);
const FAILED: &str = "link to parent failed";
const UP: &str = "link to parent is up";
const GONE: &str = "child has gone";
const HERE: &str = "child is here";
const FULL: &str = "the disk is full";

/// A data directory that was lost.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) node: String,
    /// When, by this machine's clock; later samples than those in `raw` may be gone with it.
    pub(crate) from_ms: i64,
    /// When its node was back; nothing while it is not.
    pub(crate) until_ms: Option<i64>,
    /// What a secondary held.
    pub(crate) raw: Vec<RawSeries>,
}

/// A fault that has begun.
pub(crate) struct Ongoing {
    pub(crate) fault: Fault,
    /// How long it took until it was found, and what said so.
    pub(crate) found: Option<(Duration, String)>,
    /// How long it took until the parent missed its child, at the other end of a link.
    pub(crate) missed: Option<Duration>,
    /// How long it took, from its end, until all was well.
    pub(crate) recovered: Option<Duration>,
    pub(crate) loss: Option<Loss>,
    began: Instant,
    ended: Option<Instant>,
    broken: Option<Broken>,
    /// What is said since it began.
    journals: BTreeMap<String, Journal>,
    /// What is said since it ended, where a process was started again.
    restarted: Option<Journal>,
}

impl Ongoing {
    /// Brings a fault about.
    pub(crate) fn begin(tree: &mut Tree, fault: Fault) -> Result<Ongoing> {
        let names = tree.node_names().into_iter();
        let journals = names.map(|name| Ok((name.clone(), Journal::begin(tree.directory(), &name)?)));
        let journals = journals.collect::<Result<BTreeMap<_, _>>>()?;
        let (mut broken, mut loss, mut restarted) = (None, None, None);
        let node = fault.node.as_str();
        let began = Instant::now();
        match fault.kind {
            Kind::Kill => tree.kill(node)?,
            Kind::Pause => tree.signal(node, "STOP")?,
            Kind::Restart => {
                let status = tree.stop(node)?;
                ensure!(status.success(), "{node} was asked to stop and ended with {status}");
            }
            Kind::PowerCut => {
                broken = Some(tree.unplug(node)?);
                tree.kill(node)?;
            }
            Kind::ClockOff => {
                tree.kill(node)?;
                tree.set_system_clock(node, fault.clock_seconds)?;
                restarted = Some(Journal::begin(tree.directory(), node)?);
                tree.launch(node)?;
            }
            Kind::FullDisk => tree.disk(node).fill()?,
            Kind::GoneBack => loss = Some(go_back(tree, node)?),
            Kind::Wipe => loss = Some(wipe(tree, node)?),
            _ => {
                let parent = fault.parent.as_deref().context("a link has a parent")?;
                broken = Some(tree.break_link(node, parent, link_fault(tree, fault.kind, parent)?)?);
            }
        }
        Ok(Ongoing {
            fault,
            found: None,
            missed: None,
            recovered: None,
            loss,
            began,
            ended: None,
            broken,
            journals,
            restarted,
        })
    }

    /// Looks whether it was found, ends it in its time, and looks whether all is well again; returns whether it is.
    ///
    /// # Errors
    /// If either takes too long.
    pub(crate) fn go_on(&mut self, tree: &mut Tree) -> Result<bool> {
        if self.found.is_none() && self.ended.is_none() {
            self.found = self.finding(tree)?.map(|line| (self.began.elapsed(), line));
        }
        if let (None, Some(parent)) = (self.missed, &self.fault.parent)
            && !self.journals[parent].lines(&[GONE, &of_child(&self.fault.node)])?.is_empty()
        {
            self.missed = Some(self.began.elapsed());
        }
        let Some(ended) = self.ended else {
            let since = self.found.as_ref().map(|(after, _)| *after).filter(|_| self.fault.kind.is_to_be_found());
            if self.fault.kind.is_to_be_found() && since.is_none() {
                ensure!(self.began.elapsed() < FOUND_LIMIT, "not found within {FOUND_LIMIT:?}: {:?}", self.fault);
                return Ok(false);
            }
            if self.began.elapsed() >= since.unwrap_or_default() + self.fault.held {
                self.end(tree)?;
            }
            return Ok(false);
        };
        if self.recovered.is_none() && self.is_well(tree)? {
            self.recovered = Some(ended.elapsed());
            if let Some(loss) = &mut self.loss {
                loss.until_ms = Some(now_ms());
            }
        }
        let is_late = self.recovered.is_none() && ended.elapsed() > RECOVERED_LIMIT;
        ensure!(!is_late, "not well within {RECOVERED_LIMIT:?}: {:?}", self.fault);
        Ok(self.recovered.is_some())
    }

    /// Returns the line that says that it was found, if there is one.
    fn finding(&self, tree: &Tree) -> Result<Option<String>> {
        let Fault { kind, node, parent, .. } = &self.fault;
        if let Some(parent) = parent {
            let words = [FAILED, &of_parent(parent), link_words(*kind)];
            return Ok(self.journals[node].lines(&words)?.into_iter().next());
        }
        if *kind == Kind::FullDisk {
            return Ok(self.journals[node].lines(&[FULL])?.into_iter().next());
        }
        if *kind == Kind::ClockOff {
            let said =
                self.restarted.as_ref().map(|journal| journal.lines(&["clock set by the parent's"])).transpose()?;
            return Ok(said.unwrap_or_default().into_iter().next());
        }
        for child in tree.children(node) {
            if let Some(line) = self.journals[&child].lines(&[FAILED, &of_parent(node)])?.into_iter().next() {
                return Ok(Some(line));
            }
        }
        for parent in tree.parents(node) {
            if let Some(line) = self.journals[&parent].lines(&[GONE, &of_child(node)])?.into_iter().next() {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    fn end(&mut self, tree: &mut Tree) -> Result<()> {
        if let Some(broken) = self.broken.take() {
            broken.repair()?;
        }
        let node = self.fault.node.as_str();
        self.ended = Some(Instant::now());
        match self.fault.kind {
            Kind::Pause => tree.signal(node, "CONT"),
            // It jumps to the right time while the process runs.
            Kind::ClockOff => tree.set_system_clock(node, 0),
            Kind::FullDisk => tree.disk(node).make_room(),
            kind if !kind.is_of_link() => {
                self.restarted = Some(Journal::begin(tree.directory(), node)?);
                tree.launch(node)
            }
            _ => Ok(()),
        }
    }

    /// Tells whether the node is ready and all its links that had failed are up, as both ends say.
    fn is_well(&self, tree: &Tree) -> Result<bool> {
        let node = self.fault.node.as_str();
        if (self.restarted.is_some() || self.fault.kind == Kind::FullDisk)
            && !tree.ask(node).is_ready().unwrap_or(false)
        {
            return Ok(false);
        }
        let links: Vec<(String, String)> = match &self.fault.parent {
            Some(parent) => vec![(node.to_owned(), parent.clone())],
            None => {
                let up = tree.parents(node).into_iter().map(|parent| (node.to_owned(), parent));
                up.chain(tree.children(node).into_iter().map(|child| (child, node.to_owned()))).collect()
            }
        };
        for (child, parent) in links {
            let is_up = match &self.restarted {
                Some(journal) if child == node => last_is(journal, UP, FAILED, &of_parent(&parent))? == Some(true),
                _ => last_is(&self.journals[&child], UP, FAILED, &of_parent(&parent))? != Some(false),
            };
            let is_here = match &self.restarted {
                Some(journal) if parent == node => last_is(journal, HERE, GONE, &of_child(&child))? == Some(true),
                _ => last_is(&self.journals[&parent], HERE, GONE, &of_child(&child))? != Some(false),
            };
            if !is_up || !is_here {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Tells whether `good` rather than `bad` was said last of a peer, if either was.
fn last_is(journal: &Journal, good: &str, bad: &str, peer: &str) -> Result<Option<bool>> {
    let lines = journal.lines(&[peer])?;
    Ok(lines
        .iter()
        .rev()
        .find_map(|line| if line.contains(good) { Some(true) } else { line.contains(bad).then_some(false) }))
}

fn of_parent(name: &str) -> String {
    format!("parent=\"{name}\"")
}

fn of_child(name: &str) -> String {
    format!("child=\"{name}\"")
}

/// Takes a data directory away, as a broken disk does.
fn wipe(tree: &mut Tree, node: &str) -> Result<Loss> {
    let is_secondary = tree.children(node).is_empty();
    let from_ms = now_ms();
    let raw = if is_secondary { tree.raw_of(node)? } else { Vec::new() };
    tree.kill(node)?;
    for entry in fs::read_dir(tree.data(node))? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }?;
    }
    Ok(Loss { node: node.to_owned(), from_ms, until_ms: None, raw })
}

/// Brings a copy of a data directory back that was made while it was in use.
fn go_back(tree: &mut Tree, node: &str) -> Result<Loss> {
    let from_ms = now_ms();
    let (copy, data) = (tree.directory().join(format!("copy-{from_ms}")), tree.data(node));
    let [copy, data, topology] = [copy, data, tree.topology()].map(|path| path.to_string_lossy().into_owned());
    tree.run(node, &["store", "backup", &copy, "--topology", &topology, "--node", node])?;
    let passed = accounts::passed(tree, node)?;
    wait_for("something is passed on after the copy", FOUND_LIMIT, || {
        Ok((accounts::passed(tree, node)? > passed).then_some(()))
    })?;
    let loss = wipe(tree, node)?;
    tree.run(node, &["store", "restore", &copy, "--data", &data])?;
    fs::remove_dir_all(copy)?;
    Ok(Loss { from_ms, ..loss })
}

fn link_fault(tree: &Tree, kind: Kind, parent: &str) -> Result<LinkFault> {
    Ok(match kind {
        Kind::Cut => LinkFault::Cut,
        Kind::DeafParent => LinkFault::DeafParent,
        Kind::DeafChild => LinkFault::DeafChild,
        Kind::Slow => LinkFault::Slow,
        Kind::Lossy => LinkFault::Lossy,
        Kind::Reset => LinkFault::Reset,
        Kind::Silent => LinkFault::Silent,
        Kind::Garbage => LinkFault::Garbage,
        Kind::Oversized => LinkFault::Oversized(tree.directory().join("certs").join(parent)),
        _ => {
            let names = tree.node_names();
            let other = names.iter().find(|name| *name != parent && !tree.children(name).is_empty());
            LinkFault::WrongHost(tree.grpc_address(other.context("there is no other parent")?)?)
        }
    })
}

/// What the child says why its link has failed, where that shows which fault it was.
fn link_words(kind: Kind) -> &'static str {
    match kind {
        Kind::WrongHost => "wrong_name",
        Kind::Silent => "deadline has elapsed",
        Kind::Garbage => "plain_text",
        Kind::Oversized => "too large",
        _ => "error=",
    }
}
