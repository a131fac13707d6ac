//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use firetower_topology::{Retention, parse_duration, parse_store_memory};

use crate::certs::DAYS;

/// How much time a block of raw samples may cover.
const BLOCK_LENGTHS: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);

/// Watches servers from a tree of monitors: secondaries pull, primaries gather, a global aggregator answers.
#[derive(Debug, Parser)]
#[command(name = "firetower", version, about, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pull from targets of one datacenter, keep raw samples, push windows up
    Secondary(Box<SecondaryArguments>),
    /// Gather one datacenter's secondaries
    Primary(MonitorArguments),
    /// Gather all datacenters and answer for the whole fleet
    Global(MonitorArguments),
    /// Show this host's readings to the monitors
    Agent(AgentArguments),
    /// Check a file and say what is wrong with it
    Check(CheckArguments),
    /// Show the whole tree
    Status(StatusArguments),
    /// Show how many targets are well, and those that are not
    Health(HealthArguments),
    /// Ask a monitor in PromQL: `sum by (job) (rate(http_requests_total[5m]))`
    Query(QueryArguments),
    /// Look into a data directory
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Make a private authority, certificates for all monitors of a topology, and tokens
    Certs(CertsArguments),
    /// Start a small tree of real processes on this host and show it
    Demo(DemoArguments),
    /// Run a program until standard input closes
    #[command(hide = true)]
    Leash(LeashArguments),
}

/// Of a monitor that is in the topology.
#[derive(Debug, Args)]
pub(crate) struct MonitorArguments {
    /// The topology file
    #[arg(long, value_name = "FILE")]
    pub topology: PathBuf,
    #[command(flatten)]
    pub place: PlaceArguments,
    #[command(flatten)]
    pub running: RunningArguments,
}

#[derive(Debug, Args)]
pub(crate) struct PlaceArguments {
    /// Its name in the topology file; else CONTAINER_NAME, if that names a monitor of the file
    #[arg(long, value_name = "NAME", env = "FIRETOWER_NODE")]
    pub node: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunningArguments {
    /// Where it keeps its data
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// How long stopping may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub grace: Duration,
    /// Name servers to ask for dns_sd_configs, in place of those in /etc/resolv.conf
    #[arg(long, value_name = "IP:PORT", env = "FIRETOWER_NAME_SERVERS", value_delimiter = ',')]
    pub name_servers: Vec<SocketAddr>,
    #[command(flatten)]
    pub process: ProcessArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ProcessArguments {
    /// Listen beyond loopback without tls and auth
    #[arg(long)]
    pub insecure: bool,
    /// Stop once standard input closes
    #[arg(long, hide = true)]
    pub stop_on_stdin_close: bool,
}

/// Of a process that is in no topology.
#[derive(Debug, Args)]
pub(crate) struct ProtectionArguments {
    /// Answer by HTTPS with this certificate, PEM, and those between it and its authority
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Answer only to bearers of a token that is a line of this file; may be given more than once
    #[arg(long, value_name = "FILE")]
    pub read_token_file: Vec<PathBuf>,
}

impl ProtectionArguments {
    /// Tells whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.tls_cert.is_none() && self.read_token_file.is_empty()
    }
}

#[derive(Debug, Args)]
pub(crate) struct SecondaryArguments {
    /// The topology file
    #[arg(long, value_name = "FILE", required_unless_present = "standalone", conflicts_with = "standalone")]
    pub topology: Option<PathBuf>,
    #[command(flatten)]
    pub place: PlaceArguments,
    /// Run alone, without a topology
    #[arg(long, requires = "http")]
    pub standalone: bool,
    /// Prometheus's own configuration file; without it nothing is scraped
    #[arg(long, value_name = "FILE", requires = "standalone")]
    pub scrape_config: Option<PathBuf>,
    /// Where to answer HTTP
    #[arg(long, value_name = "HOST:PORT", requires = "standalone")]
    pub http: Option<String>,
    #[command(flatten)]
    pub protection: ProtectionArguments,
    /// Let bearers of a token that is a line of this file reload it too; may be given more than once
    #[arg(long, value_name = "FILE", requires = "standalone")]
    pub operate_token_file: Vec<PathBuf>,
    /// How long to keep data
    #[arg(long, value_name = "raw=DURATION", requires = "standalone", value_parser = parse_retention)]
    pub retention: Option<Retention>,
    /// Memory for the store's write buffers, its cache and settling, 160MiB unless said otherwise
    #[arg(long, value_name = "SIZE", requires = "standalone", value_parser = parse_store_memory)]
    pub store_memory: Option<u64>,
    /// How old a sample may be that is written to it, as old as raw samples become unless said otherwise
    #[arg(long, value_name = "DURATION", requires = "standalone", value_parser = parse_duration)]
    pub receive_window: Option<Duration>,
    /// How much time a block of raw samples covers, 2h unless said otherwise; only a new data directory takes it
    #[arg(long, value_name = "DURATION", value_parser = parse_block)]
    pub block: Option<Duration>,
    #[command(flatten)]
    pub running: RunningArguments,
}

#[derive(Debug, Args)]
pub(crate) struct AgentArguments {
    /// Where to answer HTTP
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6140")]
    pub http: String,
    #[command(flatten)]
    pub protection: ProtectionArguments,
    /// How long stopping may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub grace: Duration,
    #[command(flatten)]
    pub process: ProcessArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(subcommand)]
    pub what: Check,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Check {
    /// Check a topology file, and say what follows from it
    Topology {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say what becomes of each key that Prometheus knows, as Markdown
    Keys,
    /// Check a page of metrics to the letter of its format
    ///
    /// Faults go to standard error as FILE:LINE:COLUMN: TEXT, and the exit status is then 1. What is well-formed and yet
    /// not as it should be is said there too, as FILE:LINE:COLUMN: warning: TEXT, and leaves the exit status at 0.
    Metrics {
        /// The format of the page
        #[arg(long, value_enum)]
        format: PageFormat,
        /// The page; standard input if it is left out
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// A format of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PageFormat {
    /// Prometheus's text format
    Prometheus,
    /// OpenMetrics 1.0
    #[value(name = "openmetrics")]
    OpenMetrics,
}

/// Whom to ask, and how to show the answer.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// The topology file: says where monitors answer, who signs their certificates, and where tokens lie
    #[arg(long, value_name = "FILE", env = "FIRETOWER_TOPOLOGY")]
    pub topology: Option<PathBuf>,
    /// The monitor of the topology to ask; its first global aggregator if it is left out
    #[arg(long, value_name = "NAME", requires = "topology", conflicts_with = "url")]
    pub node: Option<String>,
    /// The monitor to ask; without it and a topology http://127.0.0.1:6110
    #[arg(long, value_name = "URL", env = "FIRETOWER_URL")]
    pub url: Option<String>,
    /// Believe the authorities of this file, PEM, in place of the topology's or the system's
    #[arg(long, value_name = "FILE", env = "FIRETOWER_CA")]
    pub ca: Option<PathBuf>,
    /// Show the token that this file begins with, in place of the topology's
    #[arg(long, value_name = "FILE", env = "FIRETOWER_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For reading
    Table,
    /// As the API gives it
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Show what became of every raw sample at each hop instead; fails if an account does not close
    #[arg(long)]
    pub account: bool,
    #[command(flatten)]
    pub ask: Ask,
    /// How to show the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct HealthArguments {
    #[command(flatten)]
    pub ask: Ask,
    /// How to show the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Only targets of this datacenter
    #[arg(long, value_name = "NAME")]
    pub datacenter: Option<String>,
    /// Only targets in this state
    #[arg(long, value_name = "STATE", value_parser = ["online", "degraded", "offline", "unknown"])]
    pub state: Option<String>,
    /// How many targets to list at most
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u32>,
}

/// Times are RFC 3339, seconds since the unix epoch, or a duration such as 90s or 1h30m, which is how long ago.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct QueryArguments {
    /// What to ask, in PromQL
    #[arg(value_name = "EXPR")]
    pub expression: String,
    /// When; now if it is left out
    #[arg(long, conflicts_with_all = ["start", "end", "step"])]
    pub time: Option<String>,
    /// From when on, for many times
    #[arg(long)]
    pub start: Option<String>,
    /// Until when; now if it is left out
    #[arg(long, requires = "start")]
    pub end: Option<String>,
    /// How long from one time to the next; such that there are 120 if it is left out
    #[arg(long, value_name = "DURATION", requires = "start")]
    pub step: Option<String>,
    /// Draw each series
    #[arg(long, conflicts_with = "output")]
    pub plot: bool,
    #[command(flatten)]
    pub ask: Ask,
    /// How to show the answer
    #[arg(short, long, value_enum, default_value_t = QueryOutput::Table)]
    pub output: QueryOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryOutput {
    /// For reading
    Table,
    /// As the API gives it
    Json,
    /// With a column for each label
    Csv,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Say who has how many series, and what takes the room; works while the monitor runs
    Analyze(AnalyzeArguments),
    /// Read every file and every entry, and say what is damaged and what that means; works while the monitor runs
    ///
    /// Exits with 1 if anything is. Nothing is written.
    Check(CheckStoreArguments),
    /// Copy a data directory; the running monitor does it, or --data names the directory of one that is stopped
    Backup(BackupArguments),
    /// Bring a copy back into an empty data directory, which begins a new life there
    Restore(RestoreArguments),
}

#[derive(Debug, Args)]
pub(crate) struct CheckStoreArguments {
    /// The data directory, or a copy of one
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// Where the copy is made, on the monitor's machine; must not exist
    #[arg(value_name = "DIR")]
    pub to: PathBuf,
    /// The data directory of a monitor that does not run, in place of asking one that does
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub ask: Ask,
    /// How to show the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// The copy
    #[arg(value_name = "DIR")]
    pub from: PathBuf,
    /// The data directory to be: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AnalyzeArguments {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// How many of each kind to list at most
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub limit: usize,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct CertsArguments {
    /// The folder to write to; nothing in it is overwritten, unless --renew is given
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The topology file whose monitors get certificates
    #[arg(long, value_name = "FILE")]
    pub topology: PathBuf,
    /// How many days the certificates are good for; the authority for ten years. With 0 they have ended already, for trials
    #[arg(long, value_name = "COUNT", default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(0..=3_650))]
    pub days: u32,
    /// Make all certificates and keys anew, with the authority that is in the folder; tokens stay
    #[arg(long)]
    pub renew: bool,
    /// One more certificate, for something that answers by HTTPS and is no monitor, as an agent; may be given more than once
    #[arg(long = "server", value_name = "NAME=HOST,HOST", value_parser = parse_server)]
    pub servers: Vec<Server>,
}

/// What answers by HTTPS and is no monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its name, after which its files are called.
    pub name: String,
    /// Host names and addresses under which it is asked.
    pub hosts: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Stop by itself after this time, and fail unless every target was seen with full coverage
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub length: Option<Duration>,
    /// Kill this datacenter's agents half-way, and fail unless the API says so (for 60s unless --for is given)
    #[arg(long = "break", value_name = "DATACENTER")]
    pub broken: Option<String>,
    /// The topology file
    #[arg(long, value_name = "FILE", default_value = "topology/demo.yaml")]
    pub topology: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct LeashArguments {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub program: Vec<OsString>,
}

/// Reads the length of a block, which must hold a few scrapes and, so that its offsets fit, no more than a day.
fn parse_block(text: &str) -> Result<Duration, String> {
    let block = parse_duration(text)?;
    if BLOCK_LENGTHS.contains(&block) { Ok(block) } else { Err("a block covers from 1m to 1d".to_owned()) }
}

/// Reads `NAME=HOST,HOST`.
fn parse_server(text: &str) -> Result<Server, String> {
    let (name, hosts) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=HOST,HOST"))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(format!("the name {name:?} may hold letters, digits, \"-\", \"_\" and \".\" only"));
    }
    Ok(Server { name: name.to_owned(), hosts: hosts.split(',').map(str::to_owned).collect() })
}

/// Reads `raw=100y,5m=1y`: what is not named keeps its default, but no tier is shorter than the one before it.
fn parse_retention(text: &str) -> Result<Retention, String> {
    let mut retention = Retention::default();
    for part in text.split(',') {
        let (tier, duration) = part.split_once('=').ok_or_else(|| format!("{part:?} is not TIER=DURATION"))?;
        let duration = parse_duration(duration)?;
        match tier {
            "raw" => retention.raw = duration,
            "5m" => retention.five_minutes = duration,
            "1h" => retention.one_hour = duration,
            _ => return Err(format!("no tier is called {tier:?}: there are raw, 5m and 1h")),
        }
    }
    retention.five_minutes = retention.five_minutes.max(retention.raw);
    retention.one_hour = retention.one_hour.max(retention.five_minutes);
    Ok(retention)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let check = |line: &str, expected: Option<ErrorKind>| {
            let parsed = Arguments::try_parse_from(line.split_whitespace());
            assert_eq!(parsed.err().map(|error| error.kind()), expected, "{line}");
        };
        check("firetower primary --topology t.yaml --data d", None);
        check("firetower global --topology t.yaml --data d --node global-0 --grace 3s", None);
        check("firetower secondary --topology t.yaml --data d", None);
        check("firetower secondary --standalone --http 127.0.0.1:0 --data d --retention raw=100y", None);
        check("firetower secondary --topology t.yaml --data d --block 10m", None);
        check("firetower secondary --topology t.yaml --data d --block 10s", Some(ErrorKind::ValueValidation));
        check("firetower secondary --standalone --http a:1 --data d --store-memory 64MiB", None);
        let small = "firetower secondary --standalone --http a:1 --data d --store-memory 64KiB";
        check(small, Some(ErrorKind::ValueValidation));
        check("firetower secondary --data d", Some(ErrorKind::MissingRequiredArgument));
        check("firetower secondary --standalone --data d", Some(ErrorKind::MissingRequiredArgument));
        let both = "firetower secondary --standalone --http a:1 --topology t.yaml --data d";
        check(both, Some(ErrorKind::ArgumentConflict));
        let half = "firetower secondary --topology t.yaml --scrape-config p.yml --data d";
        check(half, Some(ErrorKind::MissingRequiredArgument));
        check("firetower agent --grace 5", Some(ErrorKind::ValueValidation));
        check("firetower demo --for 60s --break dub", None);
        check("firetower health --state dead", Some(ErrorKind::InvalidValue));
        check("firetower status -o yaml", Some(ErrorKind::InvalidValue));
        check("firetower check topology t.yaml", None);
        check("firetower check metrics --format openmetrics", None);
        check("firetower check metrics --format prometheus page", None);
        check("firetower check metrics --format json page", Some(ErrorKind::InvalidValue));
        check("firetower check metrics", Some(ErrorKind::MissingRequiredArgument));
        check("firetower check keys", None);
        check("firetower store analyze --data d --limit 5 -o json", None);
        check("firetower store analyze", Some(ErrorKind::MissingRequiredArgument));
        check("firetower certs d --topology t.yaml --days 0 --server agent=127.0.0.1,localhost", None);
        check("firetower certs d --topology t.yaml --days 4000", Some(ErrorKind::ValueValidation));
        check("firetower certs d --topology t.yaml --server a/b=c", Some(ErrorKind::ValueValidation));
        check("firetower certs d", Some(ErrorKind::MissingRequiredArgument));
        check("firetower agent --tls-cert c.pem", Some(ErrorKind::MissingRequiredArgument));
        check("firetower agent --tls-cert c.pem --tls-key k.pem --read-token-file t", None);
        let operate = "firetower secondary --topology t.yaml --data d --operate-token-file t";
        check(operate, Some(ErrorKind::MissingRequiredArgument));
        check("firetower status --topology t.yaml --node dub-p0", None);
        check("firetower status --node dub-p0", Some(ErrorKind::MissingRequiredArgument));
        check("firetower store check --data d -o json", None);
        check("firetower store backup /b --url http://127.0.0.1:6130", None);
        check("firetower store backup /b --data d", None);
        check("firetower store restore /b --data d", None);
        check("firetower store restore /b", Some(ErrorKind::MissingRequiredArgument));
        check("firetower leash -- prometheus-node-exporter --web.listen-address=127.0.0.1:9100", None);
    }

    #[test]
    fn retentions_are_read_by_tier() {
        const DAY: Duration = Duration::from_secs(86_400);
        let check = |text: &str, expected: Option<(u32, u32, u32)>| {
            let days = |duration: Duration| (duration.as_secs() / DAY.as_secs()) as u32;
            let found = parse_retention(text).ok();
            let found = found.map(|kept| (days(kept.raw), days(kept.five_minutes), days(kept.one_hour)));
            assert_eq!(found, expected, "{text}");
        };
        check("raw=2d", Some((2, 7, 90)));
        check("raw=100y", Some((36_500, 36_500, 36_500)));
        check("raw=1d,5m=8d,1h=9d", Some((1, 8, 9)));
        check("raw", None);
        check("raw=2", None);
        check("10m=2d", None);
    }
}
