//! Where a monitor is asked, whose certificate it may show, and which token it is shown.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use firetower_topology::Topology;

use crate::arguments::Ask;
use crate::load;

/// Where the global aggregator of the demo, or of one host alone, answers.
const DEFAULT_URL: &str = "http://127.0.0.1:6110";

/// What whoever asks has to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Read,
    Operate,
}

/// Where a monitor is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// `scheme://host:port`.
    pub url: String,
    /// The authorities to believe; the system's if there is no such file.
    pub ca: Option<PathBuf>,
    /// Begins with the token to show.
    pub token_file: Option<PathBuf>,
}

impl Access {
    /// Asks at `url`, of whoever is there.
    pub(crate) fn plain(url: impl Into<String>) -> Access {
        Access { url: url.into(), ca: None, token_file: None }
    }

    /// Asks as the arguments say, and as the topology says where they say nothing, with a token for what `right` is needed to.
    ///
    /// # Errors
    /// If the topology cannot be read, or has no such monitor.
    pub(crate) fn of(ask: &Ask, right: Right) -> anyhow::Result<Access> {
        let by_topology = match &ask.topology {
            None => Access::plain(DEFAULT_URL),
            Some(path) => {
                let topology = load::topology(path)?;
                let folder = path.parent().unwrap_or(Path::new(""));
                Access::of_node(&topology, folder, ask.node.as_deref(), right)?
            }
        };
        Ok(Access {
            url: ask.url.clone().unwrap_or(by_topology.url),
            ca: ask.ca.clone().or(by_topology.ca),
            token_file: ask.token_file.clone().or(by_topology.token_file),
        })
    }

    /// Asks the monitor `node`, or the first global aggregator, of the topology in `folder`.
    ///
    /// # Errors
    /// If there is no such monitor.
    pub(crate) fn of_node(
        topology: &Topology,
        folder: &Path,
        node: Option<&str>,
        right: Right,
    ) -> anyhow::Result<Access> {
        let address = match node {
            None => topology.globals.first().map(|global| &global.http),
            Some(node) => topology.find(node).map(|place| &place.node().http),
        };
        let Some(address) = address else {
            bail!("no monitor of the topology is called {:?}", node.unwrap_or_default());
        };
        let scheme = if topology.tls.is_some() { "https" } else { "http" };
        // A monitor that listens everywhere is asked on this host.
        let address = address.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1);
        let auth = topology.auth.as_ref();
        let token_file = auth.and_then(|auth| match right {
            Right::Read => auth.read_token_files.iter().chain(&auth.operate_token_files).next(),
            Right::Operate => auth.operate_token_files.first(),
        });
        Ok(Access {
            url: format!("{scheme}://{address}"),
            ca: topology.tls.as_ref().map(|tls| folder.join(&tls.ca_file)),
            token_file: token_file.map(|file| folder.join(file)),
        })
    }

    /// Reads the token to show.
    pub(crate) fn token(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let text = fs::read_to_string(path).with_context(|| format!("read the token in {}", path.display()))?;
        let token = text.lines().map(str::trim).find(|line| !line.is_empty());
        Ok(Some(token.with_context(|| format!("{} holds no token", path.display()))?.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_says_how_its_monitors_are_asked() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topology"));
        let topology = load::topology(&folder.join("demo.yaml")).unwrap();
        let check = |node: Option<&str>, right, expected: &str, token: &str| {
            let access = Access::of_node(&topology, Path::new("t"), node, right).unwrap();
            let file = |name: &str| Some(PathBuf::from(format!("t/demo-certs/{name}")));
            assert_eq!(access, Access { url: expected.into(), ca: file("ca.pem"), token_file: file(token) });
        };
        check(None, Right::Read, "https://127.0.0.1:6110", "read.token");
        check(Some("dub-s0"), Right::Operate, "https://127.0.0.1:6130", "operate.token");
        assert!(Access::of_node(&topology, folder, Some("nobody"), Right::Read).is_err());
        let ask = |url: Option<&str>| Ask {
            topology: None,
            node: None,
            url: url.map(str::to_owned),
            ca: None,
            token_file: Some("token".into()),
        };
        let token_file = Some(PathBuf::from("token"));
        assert_eq!(
            Access::of(&ask(None), Right::Read).unwrap(),
            Access { token_file: token_file.clone(), ..Access::plain(DEFAULT_URL) }
        );
        let url = "http://10.0.0.1:1";
        assert_eq!(Access::of(&ask(Some(url)), Right::Read).unwrap(), Access { token_file, ..Access::plain(url) });
    }
}
