//! `firetower certs`: a private authority, certificates for the monitors of a topology, and tokens.
//!
//! Where a public or a company's own authority signs certificates, none of this is needed: the topology's `tls` names any
//! PEM files.

mod authority;
mod files;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use firetower_daemon::{Clock, certificate_end};
use firetower_topology::Topology;
use rustls::crypto::ring;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::arguments::{CertsArguments, Server};
use crate::load;
use crate::output::print;
use crate::table::{Column, table};
use authority::{Authority, Leaf};
use files::{Mode, replace, write_new};

const DAY: Duration = Duration::from_secs(86_400);

/// Files of the authority, in the folder.
const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
/// Files of tokens, in the folder.
const TOKENS: [&str; 2] = ["read.token", "operate.token"];
/// How many days certificates are good for unless said otherwise.
pub(crate) const DAYS: u32 = 365;
/// How many random bytes a token has, twice as many letters.
const TOKEN_BYTES: usize = 32;

/// Whether files that are there may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overwrite {
    /// None may.
    Never,
    /// The authority stays, and so do tokens; certificates and their keys are made anew.
    Certificates,
}

/// What is to be made.
struct Order<'a> {
    /// Where.
    folder: &'a Path,
    /// For whose monitors.
    topology: &'a Topology,
    /// For what else.
    servers: &'a [Server],
    /// How many days certificates are good for.
    days: u32,
    /// Whether files that are there may be replaced.
    overwrite: Overwrite,
}

/// A file that was made.
struct Made {
    path: PathBuf,
    what: String,
}

/// Makes what the arguments ask for, and says what it made.
pub(crate) fn certs(arguments: &CertsArguments) -> anyhow::Result<()> {
    let topology = load::topology(&arguments.topology)?;
    let order = Order {
        folder: &arguments.folder,
        topology: &topology,
        servers: &arguments.servers,
        days: arguments.days,
        overwrite: if arguments.renew { Overwrite::Certificates } else { Overwrite::Never },
    };
    let made = make(&order)?;
    let rows = made.into_iter().map(|made| vec![made.path.display().to_string(), made.what]).collect();
    print(&table(&[Column::Text("MADE"), Column::Text("")], rows))?;
    if topology.tls.is_none() {
        // Of a bare file name the folder is empty, which stands for this one.
        let start = Path::new(".").join(arguments.topology.parent().unwrap_or(Path::new("")));
        print(&format!("\n{}", keys(&arguments.folder, &start)))?;
    }
    Ok(())
}

/// Makes authority, certificates and tokens.
///
/// # Errors
/// If a file is there that may not be replaced, or one cannot be written.
fn make(order: &Order<'_>) -> anyhow::Result<Vec<Made>> {
    let leaves = leaves(order)?;
    let pairs: Vec<[String; 2]> =
        leaves.iter().map(|leaf| [format!("{}.pem", leaf.name), format!("{}-key.pem", leaf.name)]).collect();
    let names: Vec<&str> =
        [CA, CA_KEY].into_iter().chain(TOKENS).chain(pairs.iter().flatten().map(String::as_str)).collect();
    let mut met = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !met.insert(**name)) {
        bail!("two files would be called {twice}: give one of the two another name");
    }
    let path = |name: &str| order.folder.join(name);
    if order.overwrite == Overwrite::Never {
        let there: Vec<String> = names
            .iter()
            .map(|name| path(name))
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
        if !there.is_empty() {
            bail!(
                "refuse to overwrite {}: --renew makes new certificates with the authority that is there",
                there.join(", ")
            );
        }
    }
    files::make_folder(order.folder)?;
    let mut made = Vec::new();
    let mut note = |name: &str, what: String| made.push(Made { path: path(name), what });
    let authority = match order.overwrite {
        Overwrite::Certificates => Authority::read(&path(CA), &path(CA_KEY))?,
        Overwrite::Never => {
            let authority = Authority::new()?;
            write_new(&path(CA_KEY), &authority.key_pem(), Mode::Secret)?;
            write_new(&path(CA), authority.pem(), Mode::Public)?;
            note(CA, "the authority, for every machine".into());
            note(CA_KEY, "its key: whoever has it can make monitors, so keep it elsewhere".into());
            authority
        }
    };
    for (leaf, [certificate, key]) in leaves.iter().zip(&pairs) {
        let signed = authority.sign(leaf, order.days)?;
        replace(&path(key), &signed.key, Mode::Secret)?;
        replace(&path(certificate), &signed.certificate, Mode::Public)?;
        note(certificate, format!("for {}; until {}", leaf.hosts.join(", "), rfc3339(signed.ends)));
        note(key, "its key".into());
    }
    for name in TOKENS {
        if !path(name).exists() {
            write_new(&path(name), &format!("{}\n", token()?), Mode::Secret)?;
            note(name, format!("a token of those who may {}", name.trim_end_matches(".token")));
        }
    }
    Ok(made)
}

/// Makes what is missing of the files that the topology in `folder` names, or all certificates anew if one ends within a day;
/// says what it did.
///
/// # Errors
/// If files are missing that go by other names than those that [`make`] gives.
pub(crate) fn make_missing(topology: &Topology, folder: &Path, servers: &[Server]) -> anyhow::Result<Option<String>> {
    let Some(tls) = &topology.tls else { return Ok(None) };
    let ca = folder.join(&tls.ca_file);
    let names = topology.places().map(|place| place.node().name.as_str());
    let names = names.chain(servers.iter().map(|server| server.name.as_str()));
    let (certificates, keys): (Vec<PathBuf>, Vec<PathBuf>) = names
        .map(|name| tls.of_node(name))
        .map(|files| (folder.join(files.cert_file), folder.join(files.key_file)))
        .unzip();
    let tokens = topology.auth.iter().flat_map(|auth| auth.read_token_files.iter().chain(&auth.operate_token_files));
    let tokens: Vec<PathBuf> = tokens.map(|file| folder.join(file)).collect();
    let missing = || certificates.iter().chain(&keys).chain(&tokens).chain([&ca]).find(|path| !path.exists());
    let tomorrow = Clock::system().now() + DAY;
    let end_of = |path: &PathBuf| certificate_end(&fs::read(path).ok()?);
    if missing().is_none() && certificates.iter().filter_map(end_of).all(|end| tomorrow < end) {
        return Ok(None);
    }
    let overwrite = if ca.exists() { Overwrite::Certificates } else { Overwrite::Never };
    let into = ca.parent().unwrap_or(Path::new(""));
    let made = make(&Order { folder: into, topology, servers, days: DAYS, overwrite })?;
    if let Some(path) = missing() {
        bail!("{} is missing, and was not made: only what is called as firetower certs does is", path.display());
    }
    Ok(Some(format!("made {} files of certificates, keys and tokens in {}", made.len(), into.display())))
}

/// Returns what to make certificates for.
fn leaves(order: &Order<'_>) -> anyhow::Result<Vec<Leaf>> {
    let nodes: Vec<_> = order.topology.places().map(|place| place.node()).collect();
    let mut leaves = Vec::new();
    for node in &nodes {
        let mut hosts = vec![node.name.clone()];
        let addresses = [Some(&node.http), node.grpc.as_ref()].into_iter().flatten();
        let own =
            addresses.filter_map(|address| address.rsplit_once(':')).map(|(host, _)| host.trim_matches(['[', ']']));
        for host in own.chain(["localhost", "127.0.0.1", "::1"]) {
            if host != node.name && nodes.iter().any(|other| other.name == host) {
                bail!(
                    "{} listens on {host}, which is the name of another monitor: it could pass for that one",
                    node.name
                );
            }
            let is_everywhere = host == "0.0.0.0" || host == "::";
            if !is_everywhere && !hosts.iter().any(|known| known == host) {
                hosts.push(host.to_owned());
            }
        }
        leaves.push(Leaf { name: node.name.clone(), hosts, is_node: true });
    }
    for server in order.servers {
        if let Some(node) = nodes.iter().find(|node| server.hosts.contains(&node.name)) {
            bail!("--server {}: {} is the name of a monitor, which it could pass for", server.name, node.name);
        }
        leaves.push(Leaf { name: server.name.clone(), hosts: server.hosts.clone(), is_node: false });
    }
    Ok(leaves)
}

/// Returns a token that nobody can guess.
fn token() -> anyhow::Result<String> {
    let mut bytes = [0; TOKEN_BYTES];
    let filled = ring::default_provider().secure_random.fill(&mut bytes);
    filled.ok().context("draw random bytes for a token")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the keys of the topology that use what was made in `folder`.
fn keys(folder: &Path, topology_folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let start = std::path::absolute(topology_folder).unwrap_or_else(|_| topology_folder.to_owned());
    let folder = absolute.strip_prefix(start).map_or(absolute.as_path(), |inside| inside).display();
    format!(
        "to be put into the topology:\n\n\
         tls:\n  ca_file: {folder}/{CA}\n  cert_file: {folder}/{{node}}.pem\n  key_file: {folder}/{{node}}-key.pem\n\
         auth:\n  read_token_files: [ {folder}/{} ]\n  operate_token_files: [ {folder}/{} ]\n",
        TOKENS[0], TOKENS[1]
    )
}

fn rfc3339(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests;
