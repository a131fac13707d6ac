//! `fleet`: simulates the targets of a datacenter.

use std::io::{BufWriter, Write, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use firetower_benches::{Churn, Containers, Explosion, Fleet, FleetOptions, Page, Pages, Recorded, Values};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Serves the pages of many simulated node_exporters from one process, and logs what it served.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of the first port; port 0 lets the system choose each.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How many ports; target I answers on port I % PORTS under /t/I/metrics.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    ports: u16,
    /// How many targets.
    #[arg(long, default_value_t = 20)]
    targets: usize,
    /// How often they were scraped before: as what their first scrape counts.
    #[arg(long, default_value_t = 0)]
    first_scrape: u64,
    /// How many samples a page has.
    #[arg(long, default_value_t = 200)]
    series: usize,
    /// What the values follow from, beside target, line and scrape.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Gives seconds and loads two decimals.
    #[arg(long)]
    decimals: bool,
    /// What values are like.
    #[arg(long, value_enum, default_value_t = Values::Lifelike)]
    values: Values,
    /// Lets 30 % of the lines name the target, 1 % come and go, and the order differ from page to page.
    #[arg(long)]
    unlike: bool,
    /// Shows containers, whose pods come and go, rather than nodes.
    #[arg(long, conflicts_with_all = ["unlike", "explode", "decimals", "reset_every"])]
    cadvisor: bool,
    /// With --cadvisor: after how many scrapes a pod is replaced; 40 at 15 s is a tenth of the pods a minute.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..))]
    pod_scrapes: u64,
    /// Shows recorded pages: one folder a host, in it a file a page, in time order.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["unlike", "explode", "decimals", "reset_every", "cadvisor"])]
    recorded: Option<PathBuf>,
    /// Replaces PERCENT of the targets by new ones each SECONDS, and writes the targets again.
    #[arg(long, value_name = "PERCENT/SECONDS")]
    churn: Option<Churn>,
    /// Lets TARGET expose a hundred times its series, SECONDS after the start.
    #[arg(long, value_name = "TARGET@SECONDS")]
    explode: Option<Explosion>,
    /// Lets counters start again from zero each so many scrapes.
    #[arg(long, default_value_t = 0)]
    reset_every: u64,
    /// Compresses for clients that take gzip.
    #[arg(long)]
    gzip: bool,
    /// Lets a target's compressed pages come again after so many scrapes, so that each is compressed once only.
    #[arg(long, default_value_t = 0)]
    gzip_cycle: u64,
    /// How many targets never answer: the last ones.
    #[arg(long, default_value_t = 0)]
    hang: usize,
    /// How many targets answer after LATENCY_MS only: those before.
    #[arg(long, default_value_t = 0)]
    slow: usize,
    /// How long the slow ones take.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// How many targets show a page with a malformed line: those before.
    #[arg(long, default_value_t = 0)]
    malformed: usize,
    /// Where to write "target scrape unix-milliseconds samples" for every response served.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Serves nothing, but writes so many scrapes of each target to standard output, to be imported elsewhere:
    /// SCRAPES@INTERVAL_SECONDS@START_SECONDS, with "ms" behind it for timestamps in milliseconds.
    #[arg(long)]
    dump: Option<Dump>,
    /// Where to write the targets for file_sd_configs, once they answer.
    #[arg(long)]
    write_file_sd: Option<PathBuf>,
}

/// Which scrapes to write out.
#[derive(Clone, Copy, Debug)]
struct Dump {
    scrapes: u64,
    interval_seconds: u64,
    start_seconds: u64,
    is_millis: bool,
}

impl FromStr for Dump {
    type Err = String;

    fn from_str(text: &str) -> Result<Dump, String> {
        let (numbers, is_millis) = text.strip_suffix("ms").map_or((text, false), |numbers| (numbers, true));
        let numbers: Result<Vec<u64>, _> = numbers.split('@').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[scrapes, interval_seconds, start_seconds]) => {
                Ok(Dump { scrapes, interval_seconds, start_seconds, is_millis })
            }
            _ => Err(format!("{text:?} is not SCRAPES@INTERVAL_SECONDS@START_SECONDS")),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(arguments.series >= 2, "--series must be at least 2");
    let pages = pages(&arguments)?;
    if let Some(dump) = arguments.dump {
        return dump_pages(&pages, arguments.targets, dump);
    }
    let options = FleetOptions {
        listen: arguments.listen,
        ports: arguments.ports,
        targets: arguments.targets,
        first_scrape: arguments.first_scrape,
        gzip: arguments.gzip,
        gzip_cycle: arguments.gzip_cycle,
        slow: arguments.slow,
        latency: Duration::from_millis(arguments.latency_ms),
        hung: arguments.hang,
        malformed: arguments.malformed,
        churn: arguments.churn,
        explosion: arguments.explode,
        log: arguments.log,
        file_sd: arguments.write_file_sd,
    };
    let fleet = Fleet::bind(options, pages).await.context("begin")?;
    writeln!(stdout(), "{}", fleet.address()).context("say the address")?;
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let wait_for_signal = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    };
    let (served, ()) = tokio::join!(fleet.serve(stop.clone()), wait_for_signal);
    served.context("serve")
}

fn pages(arguments: &Arguments) -> Result<Pages> {
    if arguments.cadvisor {
        return Ok(Pages::Containers(Containers::new(arguments.seed, arguments.series, arguments.pod_scrapes)));
    }
    if let Some(directory) = &arguments.recorded {
        return Ok(Pages::Recorded(Recorded::read(directory)?));
    }
    let mut page = Page::new(arguments.seed, arguments.series).with_resets(arguments.reset_every);
    if arguments.decimals {
        page = page.with_decimals();
    }
    page = page.with_values(arguments.values);
    Ok(Pages::Node(if arguments.unlike { page.unlike() } else { page }))
}

/// Writes what would be served to standard output, for importers: each line with its target and the time of its scrape.
fn dump_pages(pages: &Pages, targets: usize, dump: Dump) -> Result<()> {
    if let Pages::Node(page) = pages {
        let bits: f64 = (0..targets).map(|target| page.entropy_bits(target)).sum();
        eprintln!("entropy: {:.2} bits a sample", bits / targets as f64);
    }
    let mut output = BufWriter::new(stdout().lock());
    let mut page = Vec::new();
    for scrape in 0..dump.scrapes {
        for target in 0..targets {
            page.clear();
            pages.render(target, scrape, 1, &mut page);
            let instance = format!("instance=\"{}:9100\"", Page::node_name(target));
            // Seconds, as OpenMetrics has them; VictoriaMetrics takes milliseconds.
            let at = (dump.start_seconds + scrape * dump.interval_seconds) * if dump.is_millis { 1_000 } else { 1 };
            for line in std::str::from_utf8(&page)?.lines().filter(|line| !line.starts_with('#')) {
                let (head, value) = line.rsplit_once(' ').context("a sample has a value")?;
                match head.strip_suffix('}') {
                    Some(head) => writeln!(output, "{head},{instance}}} {value} {at}")?,
                    None => writeln!(output, "{head}{{{instance}}} {value} {at}")?,
                }
            }
        }
    }
    if !dump.is_millis {
        writeln!(output, "# EOF")?;
    }
    output.flush().context("write")
}
