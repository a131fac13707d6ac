//! `firetower demo`: a small tree of real processes on this host.
//!
//! It starts what the topology names, shows it, and in the end asks the global aggregator whether it saw everything.
//! What it prints is what the API said; nothing is filled in.

mod children;
mod plan;
mod verdict;
mod watch;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use firetower_daemon::stop_signal;
use firetower_topology::Topology;

use crate::arguments::{DemoArguments, Server};
use crate::certs::make_missing;
use crate::client::Client;
use crate::load;
use crate::output::print;
use children::Children;
use plan::{AGENT_JOB, Plan};
use watch::Screen;

/// How long the demo runs if it breaks something and nobody says how long.
const LENGTH_WITH_BREAK: Duration = Duration::from_secs(60);

/// How often the demo looks around.
const POLL: Duration = Duration::from_millis(100);

/// Whether somebody has asked the demo to stop.
#[derive(Clone, Debug, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs the demo; fails if it ends by itself and the API does not say what it should.
pub(crate) fn demo(arguments: DemoArguments) -> anyhow::Result<ExitCode> {
    let stop = Stop::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let run = {
        let stop = stop.clone();
        move || run(&arguments, &stop)
    };
    let mut demo = runtime.spawn_blocking(run);
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = &mut demo => return ended,
            _ = stop_signal() => stop.0.store(true, Ordering::Relaxed),
        }
        demo.await
    });
    ended.context("the demo's thread panicked")?
}

fn run(arguments: &DemoArguments, stop: &Stop) -> anyhow::Result<ExitCode> {
    let topology = load::topology(&arguments.topology)?;
    let folder = arguments.topology.parent().unwrap_or(Path::new(""));
    make_certificates(&topology, folder)?;
    let plan = Plan::of(&topology, &arguments.topology, folder)?;
    if let Some(broken) = arguments.broken.as_deref().filter(|name| plan.targets_of(name).is_empty()) {
        bail!("no datacenter with targets is called {broken:?}: there are {}", plan.datacenter_names().join(", "));
    }
    if let Some(missing) = plan.missing.first() {
        bail!("find what scraping needs: {missing}");
    }
    plan.check_ports()?;
    let length = arguments.length.or(arguments.broken.as_ref().map(|_| LENGTH_WITH_BREAK));
    let data = tempfile::Builder::new().prefix("firetower-demo-").tempdir().context("make a folder for the data")?;
    let mut children = Children::new(data.path());
    let ended = start(&plan, &mut children, stop).and_then(|()| show(arguments, length, &plan, &mut children, stop));
    print("\nstopping: secondaries, primaries, global aggregator, targets\n")?;
    let overran = children.stop_in_order();
    for name in &overran {
        eprintln!("firetower: {name} overran its grace period and was killed");
    }
    match ended {
        Ok(true) if overran.is_empty() => Ok(ExitCode::SUCCESS),
        Ok(_) => {
            eprintln!("firetower: the processes' logs are in {}", data.keep().display());
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            let logs = data.keep();
            Err(error.context(format!("run the demo (its logs are in {})", logs.display())))
        }
    }
}

fn start(plan: &Plan, children: &mut Children, stop: &Stop) -> anyhow::Result<()> {
    let began = Instant::now();
    print(&format!("starting {} processes, data in {}\n", plan.processes.len(), children.folder().display()))?;
    for process in &plan.processes {
        children.start(process)?;
    }
    children.wait_until_ready(stop, |name, url| {
        print(&format!("{:6.1}s  ready  {name:<28} {url}\n", began.elapsed().as_secs_f64()))
    })
}

/// Makes the certificates and tokens that the topology names, as far as they are not there.
fn make_certificates(topology: &Topology, folder: &Path) -> anyhow::Result<()> {
    let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let agents = Server { name: AGENT_JOB.to_owned(), hosts };
    let said = make_missing(topology, folder, &[agents]).context("make certificates for the demo")?;
    said.map_or(Ok(()), |said| Ok(print(&format!("{said}\n"))?))
}

/// Shows the tree until told to stop or its time is over; returns whether the API says what it should then.
fn show(
    arguments: &DemoArguments,
    length: Option<Duration>,
    plan: &Plan,
    children: &mut Children,
    stop: &Stop,
) -> anyhow::Result<bool> {
    let broken = arguments.broken.as_deref();
    let client = Client::new(&plan.global)?;
    let mut screen = Screen::new(plan, &arguments.topology, std::io::stdout().is_terminal());
    let began = Instant::now();
    let mut to_break = broken;
    let mut next_look = began;
    loop {
        if stop.is_asked() {
            // Asked to run unattended and stopped before its end, it has shown nothing.
            return Ok(length.is_none());
        }
        children.check_alive()?;
        let elapsed = began.elapsed();
        if let (Some(name), Some(length)) = (to_break, length)
            && length / 2 <= elapsed
        {
            let killed = children.kill_agents(name)?;
            print(&format!("\nkilled the {killed} agents of {name}; expected from now on:\n"))?;
            print(&verdict::expectation(plan, broken))?;
            to_break = None;
        }
        if length.is_some_and(|length| length <= elapsed) {
            break;
        }
        if next_look <= Instant::now() {
            screen.show(&client)?;
            next_look += plan.window;
        }
        thread::sleep(POLL);
    }
    let verdict = verdict::judge(plan, broken, &client)?;
    print(&format!("\n{}", verdict.text))?;
    Ok(verdict.is_as_expected)
}
