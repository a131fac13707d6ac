//! One simulation, from its plan to what must hold at its end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use firetower_daemon::Random;
use firetower_store::ModelDisk;
use firetower_topology::Topology;
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use crate::check;
use crate::faults::{DiskFate, Event, LATENCY, links};
use crate::monitors::{Site, live};
use crate::network::Resets;
use crate::observe::{Readings, Reloads, observe};
use crate::plan::{DEADLINE, EMPTIED, HEALED, Plan, Role};
use crate::served::{Served, instance, serve};
use crate::trace::Trace;

/// How much time passes in one step.
const TICK: Duration = Duration::from_millis(10);
/// How long nothing may have been on its way for all to have settled: longer than any change is waited for.
const SETTLED: Duration = Duration::from_secs(5);

/// Runs the simulation that `seed` says; returns the hash of all that happened.
///
/// # Errors
/// If something is not as it must be.
pub(crate) fn run(seed: u64) -> Result<u64> {
    let plan = Plan::of(seed);
    tracing::info!(target: "simulation", seed, nodes = plan.nodes.len(), "begins");
    let folder = tempfile::tempdir().context("make a folder for the lists of targets")?;
    let topology = read(&plan, None)?;
    let mut world = World::new(&plan, &topology, folder.path());
    world.run()?;
    check::check(&plan, &world.sites, &world.served, &world.wiped)?;
    for site in world.sites.values() {
        world.trace.note(&format!("{:016x}", site.disk.digest()));
    }
    Ok(world.trace.hash())
}

struct World<'a> {
    plan: &'a Plan,
    sim: Sim<'static>,
    folder: &'a Path,
    sites: BTreeMap<String, Arc<Site>>,
    served: Served,
    readings: Readings,
    reloads: Reloads,
    resets: Resets,
    trace: Trace,
    /// Nodes that have lost their data or some of it, and when they began anew.
    wiped: BTreeMap<String, Duration>,
    copies: BTreeMap<String, ModelDisk>,
    /// Nodes whose power goes with one of their next writes, and how many of a thousand batches are left then.
    dying: BTreeMap<String, u64>,
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, topology: &Topology, folder: &'a Path) -> World<'a> {
        let mut sim = turmoil::Builder::new()
            .simulation_duration(DEADLINE * 2)
            .tick_duration(TICK)
            .min_message_latency(LATENCY.0)
            .max_message_latency(LATENCY.1)
            .rng_seed(plan.seed)
            .enable_random_order()
            .enable_tokio_io()
            .build();
        let (resets, trace, served, readings) =
            (Resets::default(), Trace::new(), Served::default(), Readings::default());
        let mut sites = BTreeMap::new();
        for node in &plan.nodes {
            let site = Arc::new(Site {
                name: node.name.clone(),
                disk: ModelDisk::new(),
                clock_ms: AtomicI64::new(plan.begin_ms + node.skew_ms),
                lives: AtomicU64::new(0),
                cancel: Mutex::new(CancellationToken::new()),
                seed: plan.seed,
                topology: Arc::new(Mutex::new(topology.clone())),
                folder: folder.to_owned(),
                resets: resets.clone(),
                trace: trace.clone(),
            });
            sites.insert(node.name.clone(), Arc::clone(&site));
            sim.host(node.name.as_str(), move || live(Arc::clone(&site)));
        }
        for (at, (datacenter, count)) in plan.datacenters.iter().enumerate() {
            let host = Plan::targets_host(datacenter);
            let begin_ms = plan.begin_ms;
            let random = Random::seeded(plan.seed ^ (1 + at as u64).rotate_left(32));
            let (name, count, served, trace) = (host.clone(), *count, served.clone(), trace.clone());
            sim.host(host, move || {
                let serving = serve(name.clone(), count, (begin_ms, served.clone()), random.clone(), trace.clone());
                async move { Ok(serving.await?) }
            });
        }
        let (names, heard) = (plan.nodes.iter().map(|node| node.name.clone()).collect(), readings.clone());
        let reloads = Reloads::default();
        sim.client("observer", observe(names, heard, reloads.clone()));
        World {
            plan,
            sim,
            folder,
            sites,
            served,
            readings,
            reloads,
            resets,
            trace,
            wiped: BTreeMap::new(),
            copies: BTreeMap::new(),
            dying: BTreeMap::new(),
        }
    }

    /// Lets everything happen that the plan says, until all has settled.
    fn run(&mut self) -> Result<()> {
        let mut events = self.plan.events.iter().peekable();
        let (mut is_healed, mut settled_since) = (false, None);
        loop {
            let now = self.sim.elapsed();
            while let Some((_, event)) = events.next_if(|(at, _)| *at <= now) {
                self.happen(event).with_context(|| format!("{event:?} at {now:?}"))?;
            }
            if now >= HEALED && !is_healed {
                is_healed = true;
                self.heal();
            }
            self.sim.step().map_err(|error| anyhow!("at {now:?}: {error}"))?;
            self.cut_power();
            if let Some(violation) = self.readings.violation() {
                bail!(violation);
            }
            if now < EMPTIED + SETTLED {
                continue;
            }
            settled_since = if self.is_drained(now) { settled_since.or(Some(now)) } else { None };
            if settled_since.is_some_and(|since| now >= since + SETTLED) {
                return Ok(());
            }
            if now > DEADLINE {
                bail!("not settled by {now:?}: {:#?}", self.readings.all());
            }
        }
    }

    /// Tells whether every monitor answers, and has nothing on its way.
    fn is_drained(&self, now: Duration) -> bool {
        let readings = self.readings.all();
        self.plan.nodes.iter().all(|node| {
            let reading = readings.get(&node.name);
            reading.is_some_and(|reading| reading.at + SETTLED >= now && reading.queued() == 0)
        })
    }

    fn happen(&mut self, event: &Event) -> Result<()> {
        self.trace.note(&format!("{event:?}"));
        let sim = &mut self.sim;
        match event {
            Event::Crash { node, disk } => self.crash(node, *disk),
            Event::Copy { node } => drop(self.copies.insert(node.clone(), self.sites[node].disk.copy())),
            Event::Stop { node } => self.sites[node].stop(),
            Event::Start { node, jump_ms } => {
                // One whose power should go with a write, and that did not write, dies now, as does one that was asked to
                // stop and has not yet.
                self.lose_power(node);
                let sim = &mut self.sim;
                self.sites[node].clock_ms.fetch_add(*jump_ms, Ordering::Relaxed);
                if let Some(at) = self.wiped.get_mut(node) {
                    *at = sim.elapsed();
                }
                sim.crash(node.as_str());
                sim.bounce(node.as_str());
            }
            Event::Cut { a, b } => sim.partition(a.as_str(), b.as_str()),
            Event::CutOneWay { from, to } => sim.partition_oneway(from.as_str(), to.as_str()),
            Event::Hold { a, b } => sim.hold(a.as_str(), b.as_str()),
            Event::Slow { a, b, latency } => sim.set_link_latency(a.as_str(), b.as_str(), *latency),
            Event::Reset { from, to } => self.resets.reset(from, to),
            Event::Repair { a, b } => repair(sim, a, b),
            Event::Secondaries { datacenter, without } => {
                let topology = read(self.plan, without.as_deref())?;
                for node in self.plan.of_role(Role::Primary, datacenter) {
                    *self.sites[&node.name].topology.lock().expect("no panics") = topology.clone();
                    self.reloads.want(&node.name);
                }
            }
            Event::List { datacenter, numbers } => self.list(datacenter, numbers)?,
        }
        Ok(())
    }

    fn crash(&mut self, node: &str, fate: DiskFate) {
        match fate {
            DiskFate::Kept => self.sim.crash(node),
            DiskFate::Cut { writes, kept_per_mille } => {
                self.sites[node].disk.lose_power_after(writes);
                self.dying.insert(node.to_owned(), kept_per_mille);
            }
            DiskFate::Lost => {
                self.sim.crash(node);
                self.sites[node].disk.wipe();
                self.wiped.insert(node.to_owned(), self.sim.elapsed());
            }
            DiskFate::Restored { is_by_hand } => {
                self.sim.crash(node);
                let (disk, copy) = (&self.sites[node].disk, &self.copies[node]);
                // One that was lost meanwhile has begun another life: the old one would be refused.
                if is_by_hand && !self.wiped.contains_key(node) {
                    disk.replace(copy)
                } else {
                    disk.restore(copy)
                }
                self.wiped.insert(node.to_owned(), self.sim.elapsed());
            }
        }
    }

    /// Ends the processes whose power went in the last step.
    fn cut_power(&mut self) {
        let dead = self.dying.keys().filter(|node| self.sites[*node].disk.has_lost_power());
        for node in dead.cloned().collect::<Vec<_>>() {
            self.lose_power(&node);
        }
    }

    /// Ends a process whose power goes, and cuts its disk to what was synced and a part of the rest.
    fn lose_power(&mut self, node: &str) {
        let Some(kept_per_mille) = self.dying.remove(node) else { return };
        // What it said after its last write was never said; nor does it say goodbye.
        let peers: Vec<String> = links(self.plan)
            .into_iter()
            .filter_map(|(a, b)| match (a == node, b == node) {
                (true, _) => Some(b),
                (_, true) => Some(a),
                _ => None,
            })
            .chain(["observer".to_owned()])
            .collect();
        for peer in &peers {
            self.sim.partition(node, peer.as_str());
        }
        self.sim.crash(node);
        let disk = &self.sites[node].disk;
        disk.lose_power((disk.unsynced_batches() as u64 * kept_per_mille).div_ceil(1_000) as usize);
        self.trace.note(&format!("{node} has lost power"));
        for peer in &peers {
            repair(&mut self.sim, node, peer);
        }
    }

    /// Repairs everything.
    fn heal(&mut self) {
        self.trace.note("all is healed");
        for (a, b) in links(self.plan) {
            repair(&mut self.sim, &a, &b);
        }
    }

    /// Replaces a list of targets as whoever writes one should: by a new file under the old name.
    fn list(&self, datacenter: &str, numbers: &[u16]) -> Result<()> {
        let host = Plan::targets_host(datacenter);
        let targets: Vec<String> = numbers.iter().map(|number| format!("{:?}", instance(&host, *number))).collect();
        let text = format!("[{{\"targets\": [{}]}}]", targets.join(", "));
        let (new, name) = (self.folder.join("new"), self.folder.join(format!("{datacenter}.json")));
        fs::write(&new, text).context("write a list of targets")?;
        fs::rename(new, name).context("replace a list of targets")
    }
}

/// Returns the topology without a secondary, if one is named.
fn read(plan: &Plan, without: Option<&str>) -> Result<Topology> {
    let text = plan.topology(without);
    let checked = firetower_topology::read("simulation.yaml", &text);
    Ok(checked.map_err(|complaints| anyhow!("{complaints:?}\n{text}"))?.topology)
}

fn repair(sim: &mut Sim<'static>, a: &str, b: &str) {
    sim.release(a, b);
    sim.set_link_latency(a, b, LATENCY.0);
    sim.set_link_max_message_latency(a, b, LATENCY.1);
}
