//! What protects the listeners of a process, and whether it may do without.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use firetower_daemon::{CertificateFiles, Clock, Security, TokenFiles};
use firetower_topology::Topology;

use crate::arguments::ProtectionArguments;

/// What to do where a topology protects nothing.
const BY_TOPOLOGY: &str = "add both to the topology (firetower certs makes the files)";
/// What to do where arguments protect nothing.
const BY_ARGUMENTS: &str = "give --tls-cert, --tls-key and --read-token-file";

/// What protects the listeners of a process.
#[derive(Clone, Debug)]
pub(crate) struct Protection {
    certificates: Option<CertificateFiles>,
    tokens: Option<TokenFiles>,
    /// The monitor that it is for, if that has a name.
    node: Option<String>,
    /// How to get what is missing.
    how: &'static str,
}

impl Protection {
    /// Returns that of a monitor of the topology in `folder`.
    pub(crate) fn of_topology(topology: &Topology, folder: &Path, node: &str) -> Protection {
        let certificates = topology.tls.as_ref().map(|tls| {
            let files = tls.of_node(node);
            CertificateFiles {
                ca: Some(folder.join(files.ca_file)),
                certificate: folder.join(files.cert_file),
                key: folder.join(files.key_file),
            }
        });
        let paths = |files: &[String]| files.iter().map(|file| folder.join(file)).collect();
        let tokens = topology
            .auth
            .as_ref()
            .map(|auth| TokenFiles { read: paths(&auth.read_token_files), operate: paths(&auth.operate_token_files) });
        Protection { certificates, tokens, node: Some(node.to_owned()), how: BY_TOPOLOGY }
    }

    /// Returns that of a process without a topology.
    pub(crate) fn of_arguments(arguments: ProtectionArguments, operate: Vec<PathBuf>) -> Protection {
        let pair = arguments.tls_cert.zip(arguments.tls_key);
        let certificates = pair.map(|(certificate, key)| CertificateFiles { ca: None, certificate, key });
        let tokens = TokenFiles { read: arguments.read_token_file, operate };
        let tokens = Some(tokens).filter(|tokens| *tokens != TokenFiles::default());
        Protection { certificates, tokens, node: None, how: BY_ARGUMENTS }
    }

    /// Refuses addresses that others than this host can reach, unless strangers are kept out.
    ///
    /// # Errors
    /// If one of them is not of loopback, and certificates or tokens are missing.
    pub(crate) fn check_reach(&self, addresses: &[&str], is_insecure: bool) -> anyhow::Result<()> {
        let missing = match (&self.certificates, &self.tokens) {
            (Some(_), Some(_)) => return Ok(()),
            (None, Some(_)) => "there is no tls: all could be read on the way",
            (Some(_), None) => "there is no auth: anybody could ask",
            (None, None) => "there is neither tls nor auth: anybody could ask, and all could be read on the way",
        };
        match addresses.iter().find(|address| !is_loopback(address)) {
            Some(address) if !is_insecure => bail!(
                "refuse to listen on {address}: it is not on loopback, and {missing}; {}, or allow it with --insecure",
                self.how
            ),
            _ => Ok(()),
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read or does not hold what it should.
    pub(crate) fn open(self) -> anyhow::Result<Security> {
        let security = Security::open(self.certificates, self.tokens, self.node.as_deref(), Clock::system());
        security.context("read certificates and tokens")
    }
}

fn is_loopback(address: &str) -> bool {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection(has_tls: bool, has_auth: bool) -> Protection {
        let file = || PathBuf::from("file");
        let arguments = ProtectionArguments {
            tls_cert: has_tls.then(file),
            tls_key: has_tls.then(file),
            read_token_file: has_auth.then(file).into_iter().collect(),
        };
        Protection::of_arguments(arguments, Vec::new())
    }

    #[test]
    fn only_loopback_needs_no_protection() {
        let check = |address: &str, expected: bool| {
            assert_eq!(protection(false, false).check_reach(&[address], false).is_ok(), expected, "{address}");
        };
        check("127.0.0.1:6110", true);
        check("127.8.9.1:0", true);
        check("[::1]:6110", true);
        check("localhost:6110", true);
        check("0.0.0.0:6110", false);
        check("[::]:6110", false);
        check("10.0.0.1:6110", false);
        check("monitor.example:6110", false);
    }

    #[test]
    fn beyond_loopback_both_are_needed() {
        let check = |has_tls: bool, has_auth: bool, is_insecure: bool, expected: Option<&str>| {
            let refused = protection(has_tls, has_auth).check_reach(&["127.0.0.1:1", "10.0.0.1:6110"], is_insecure);
            match (refused, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, _) => panic!("{has_tls} {has_auth} {is_insecure}: {found:?}"),
            }
        };
        check(true, true, false, None);
        check(false, false, true, None);
        check(true, false, false, Some("there is no auth"));
        check(false, true, false, Some("there is no tls"));
        check(false, false, false, Some("10.0.0.1:6110: it is not on loopback, and there is neither tls nor auth"));
    }
}
