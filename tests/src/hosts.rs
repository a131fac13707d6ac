//! Hosts of their own for processes: network namespaces on one bridge, where root alone may make them.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::broken::{Broken, LinkFault};

/// Hosts on one bridge, at most.
const HOSTS_MAX: usize = 100;
/// The last number of the first host's address; that of the bridge, where this process is, is 1.
const FIRST_ADDRESS: usize = 10;

/// A network of hosts; they are gone when this is dropped.
#[derive(Debug)]
pub struct Hosts {
    index: u16,
    names: Vec<String>,
}

impl Hosts {
    /// Makes a network of these hosts; `index`, below 300, is of no other network on this machine.
    ///
    /// # Errors
    /// If it cannot be made, as by somebody who is not root.
    pub fn start(index: u16, names: Vec<String>) -> Result<Hosts> {
        ensure!(names.len() <= HOSTS_MAX, "{} hosts are too many", names.len());
        let hosts = Hosts { index, names };
        // Whoever had this index is dead, and may have left his network.
        hosts.remove();
        hosts.make().context("make a network of namespaces, which takes root, and iproute2 and iptables of Debian")?;
        Ok(hosts)
    }

    fn make(&self) -> Result<()> {
        let bridge = self.bridge();
        run("ip", ["link", "add", &bridge, "type", "bridge"])?;
        run("ip", ["addr", "add", &format!("{}/24", self.gateway()), "dev", &bridge])?;
        run("ip", ["link", "set", &bridge, "up"])?;
        for (at, name) in self.names.iter().enumerate() {
            let (space, outside) = (self.space(name), format!("{bridge}v{at}"));
            run("ip", ["netns", "add", &space])?;
            run("ip", ["link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &space])?;
            run("ip", ["link", "set", &outside, "master", &bridge, "up"])?;
            let inside = ["-n", &space];
            // Packets of the usual size, so that slow links carry them one by one.
            let up = ["link", "set", "eth0", "gso_max_segs", "1", "up"];
            run("ip", inside.into_iter().chain(["addr", "add", &format!("{}/24", self.address(name)), "dev", "eth0"]))?;
            run("ip", inside.into_iter().chain(up))?;
            run("ip", inside.into_iter().chain(["link", "set", "lo", "up"]))?;
            run("tc", inside.into_iter().chain(["qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb"]))?;
        }
        Ok(())
    }

    fn remove(&self) {
        // The links first: those of a namespace that is deleted go some time later.
        for link in known(&["-br", "link"], &format!("{}v", self.bridge())) {
            let _ = Command::new("ip").args(["link", "del", &link]).output();
        }
        for space in known(&["netns", "list"], &self.space("")) {
            let _ = Command::new("ip").args(["netns", "del", &space]).output();
        }
        let _ = Command::new("ip").args(["link", "del", &self.bridge()]).output();
    }

    fn bridge(&self) -> String {
        format!("ft{}", self.index)
    }

    /// Returns the name of a host's namespace.
    pub(crate) fn space(&self, name: &str) -> String {
        format!("{}-{name}", self.bridge())
    }

    /// Returns where this process is, as the hosts see it.
    pub fn gateway(&self) -> String {
        self.numbered(1)
    }

    /// Returns the address of the host `name`.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn address(&self, name: &str) -> String {
        self.numbered(FIRST_ADDRESS + self.number(name))
    }

    /// Returns the place of the host `name` among all.
    pub(crate) fn number(&self, name: &str) -> usize {
        self.names.iter().position(|host| host == name).unwrap_or_else(|| panic!("no host {name}"))
    }

    fn numbered(&self, last: usize) -> String {
        format!("10.{}.{}.{last}", 201 + self.index / 200, self.index % 200)
    }

    /// Returns the command that runs `program` on the host `name`; it is killed when the thread that starts it ends.
    pub fn command(&self, name: &str, program: impl AsRef<OsStr>) -> Command {
        let space = PathBuf::from("/var/run/netns").join(self.space(name));
        let mut command = Hosts::beside("nsenter");
        command.arg(format!("--net={}", space.display())).arg(program);
        command
    }

    /// Returns the command that runs `program` where this process is; it is killed when the thread that starts it ends.
    pub fn beside(program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    }

    /// Breaks the way from the host `child` to `parent`, a host that listens on `port`, until what this returns is repaired.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn break_link(&self, child: &str, parent: (&str, u16), fault: LinkFault) -> Result<Broken> {
        Broken::begin(self, child, parent, fault)
    }

    /// Takes the host `name` off the network, as if its cable had been pulled, until what this returns is repaired.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn unplug(&self, name: &str) -> Result<Broken> {
        Broken::unplug(self, name)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Returns the names in a list of `ip` that begin with `prefix`.
fn known(list: &[&str], prefix: &str) -> Vec<String> {
    let said = Command::new("ip").args(list).output().map(|said| said.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let names = said.lines().filter_map(|line| line.split([' ', '@']).next());
    names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
}

/// Runs a program that has nothing to say.
pub(crate) fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<()> {
    let mut command = Command::new(program);
    let output = command.args(arguments).output().with_context(|| format!("run {program}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
