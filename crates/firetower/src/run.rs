//! From arguments to a running role.

use std::env;
use std::future::Future;
use std::path::Path;

use anyhow::{Context, bail};
use firetower_daemon::{Clock, Port, start_logging};
use firetower_topology::{Place, ReceiveLimits, STORE_MEMORY};
use tokio_util::sync::CancellationToken;

use crate::arguments::{AgentArguments, MonitorArguments, ProcessArguments, RunningArguments, SecondaryArguments};
use crate::load;
use crate::open_files;
use crate::protection::Protection;
use crate::roles::{self, MonitorSetup, StandaloneSetup};
use crate::stop::{StopOn, until_stopped};

/// Runs a secondary.
pub(crate) fn secondary(arguments: SecondaryArguments) -> anyhow::Result<()> {
    let Some(topology) = arguments.topology else {
        return standalone(arguments);
    };
    if !arguments.protection.is_empty() {
        bail!("with --topology, certificates and tokens are those that its tls and auth name");
    }
    let block = arguments.block;
    let arguments = MonitorArguments { topology, place: arguments.place, running: arguments.running };
    let setup = setup(&arguments, |place| matches!(place, Place::Secondary(..)), "secondary")?;
    start(&arguments.running.process, |cancel| roles::secondary(setup, block, cancel))
}

fn standalone(arguments: SecondaryArguments) -> anyhow::Result<()> {
    let http = arguments.http.context("--standalone needs --http")?;
    let RunningArguments { data, grace, name_servers, process } = arguments.running;
    let protection = Protection::of_arguments(arguments.protection, arguments.operate_token_file);
    protection.check_reach(&[&http], process.insecure)?;
    let retention = arguments.retention.unwrap_or_default();
    let store_memory = arguments.store_memory.unwrap_or(STORE_MEMORY);
    let receive = ReceiveLimits { window: arguments.receive_window, ..ReceiveLimits::default() };
    let SecondaryArguments { scrape_config, block, .. } = arguments;
    let setup = StandaloneSetup {
        scrape_config,
        http,
        protection,
        data,
        retention,
        store_memory,
        receive,
        name_servers,
        block,
        grace,
    };
    start(&process, |cancel| roles::standalone(setup, cancel))
}

/// Runs a primary.
pub(crate) fn primary(arguments: MonitorArguments) -> anyhow::Result<()> {
    let setup = setup(&arguments, |place| matches!(place, Place::Primary(..)), "primary")?;
    start(&arguments.running.process, |cancel| roles::primary(setup, cancel))
}

/// Runs a global aggregator.
pub(crate) fn global(arguments: MonitorArguments) -> anyhow::Result<()> {
    let setup = setup(&arguments, |place| matches!(place, Place::Global(_)), "global aggregator")?;
    start(&arguments.running.process, |cancel| roles::global(setup, cancel))
}

/// Runs an agent.
pub(crate) fn agent(arguments: AgentArguments) -> anyhow::Result<()> {
    let protection = Protection::of_arguments(arguments.protection, Vec::new());
    protection.check_reach(&[&arguments.http], arguments.process.insecure)?;
    start(&arguments.process, |cancel| async move {
        let security = protection.open()?;
        let listener = security.secure(roles::listen(&arguments.http).await?, Port::Http);
        let grace = arguments.grace;
        let options = firetower_agent::Options { grace, security, ..firetower_agent::Options::default() };
        Ok(firetower_agent::run(listener, Clock::system(), cancel, options).await?)
    })
}

fn setup(
    arguments: &MonitorArguments,
    is_right: impl Fn(&Place<'_>) -> bool,
    role: &str,
) -> anyhow::Result<MonitorSetup> {
    let topology = load::topology(&arguments.topology)?;
    let container = env::var("CONTAINER_NAME").ok();
    let place = load::place(&topology, arguments.place.node.as_deref(), container.as_deref())?;
    let node = place.node().clone();
    if !is_right(&place) {
        bail!("{} is no {role} in {}", node.name, arguments.topology.display());
    }
    let addresses: Vec<&str> = [Some(node.http.as_str()), node.grpc.as_deref()].into_iter().flatten().collect();
    let folder = arguments.topology.parent().unwrap_or(Path::new(""));
    let protection = Protection::of_topology(&topology, folder, &node.name);
    protection.check_reach(&addresses, arguments.running.process.insecure)?;
    let datacenter = match place {
        Place::Global(_) => None,
        Place::Primary(datacenter, _) | Place::Secondary(datacenter, _) => Some(datacenter.clone()),
    };
    Ok(MonitorSetup {
        topology_path: arguments.topology.clone(),
        datacenter,
        node,
        protection,
        topology,
        data: arguments.running.data.clone(),
        name_servers: arguments.running.name_servers.clone(),
        grace: arguments.running.grace,
    })
}

/// Starts the runtime and in it `role`, until it ends or is told to stop.
fn start<F>(process: &ProcessArguments, role: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    start_logging();
    open_files::raise_limit();
    let stop_on = if process.stop_on_stdin_close { StopOn::SignalsAndStdin } else { StopOn::Signals };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let cancel = CancellationToken::new();
    let ended = runtime.block_on(until_stopped(stop_on, cancel.clone(), role(cancel)));
    // Threads that block in a read that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    ended
}
