//! What goes wrong between two hosts, by the kernel where it can, and by a far end that misbehaves where it cannot.

use std::fmt::Debug;
use std::path::PathBuf;

use anyhow::Result;
use firetower_benches::{Fault, Proxy};

use crate::hosts::{Hosts, run};
use crate::impostor::Impostor;

/// What a slow link lets through, and what waits before it.
const SLOW_RATE: &str = "80kbit";
const SLOW_QUEUE_BYTES: &str = "30000";
/// How many packets of a lossy link are lost, each way.
const LOSS: &str = "0.25";

/// What can be wrong with the way from a child to its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFault {
    /// Nothing passes, and nobody is told.
    Cut,
    /// What the child says does not arrive.
    DeafParent,
    /// What the parent says does not arrive.
    DeafChild,
    /// Ten kilobytes a second pass, each way.
    Slow,
    /// A quarter of all packets is lost, each way.
    Lossy,
    /// Connections are reset, and new ones too.
    Reset,
    /// Another listener is behind the parent's address.
    WrongHost(String),
    /// Whoever is behind it takes connections and never says a word.
    Silent,
    /// Whoever is behind it says what nobody understands.
    Garbage,
    /// Whoever is behind it has the parent's certificate, of which this is the file without `.pem`, and sends a message
    /// over the limit.
    Oversized(PathBuf),
}

/// A link that is broken until it is repaired, or this is dropped.
#[derive(Debug)]
pub struct Broken {
    /// What takes back what was done, newest last.
    undo: Vec<Vec<String>>,
    /// Who answers in the place of the parent for as long as this is held.
    _far_end: Option<Box<dyn Debug>>,
}

impl Broken {
    pub(crate) fn begin(hosts: &Hosts, child: &str, parent: (&str, u16), fault: LinkFault) -> Result<Broken> {
        let mut broken = Broken { undo: Vec::new(), _far_end: None };
        let (at, port) = (hosts.address(parent.0), parent.1);
        let drop_to = ["OUTPUT", "-d", &at, "-j", "DROP"];
        let drop_from = ["INPUT", "-s", &at, "-j", "DROP"];
        match fault {
            LinkFault::Cut => {
                broken.rule(hosts, child, &drop_to)?;
                broken.rule(hosts, child, &drop_from)?;
            }
            LinkFault::DeafParent => broken.rule(hosts, child, &drop_to)?,
            LinkFault::DeafChild => broken.rule(hosts, child, &drop_from)?,
            LinkFault::Slow => {
                broken.slow(hosts, child, parent.0)?;
                broken.slow(hosts, parent.0, child)?;
            }
            LinkFault::Lossy => {
                let some = ["-m", "statistic", "--mode", "random", "--probability", LOSS];
                broken.rule(hosts, child, &[&drop_to[..3], &some[..], &drop_to[3..]].concat())?;
                broken.rule(hosts, child, &[&drop_from[..3], &some[..], &drop_from[3..]].concat())?;
            }
            LinkFault::Reset => {
                let reset = ["-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"];
                let of_child = ["OUTPUT", "-d", &hosts.address(child)];
                broken.rule(hosts, child, &[&drop_to[..3], &reset[..]].concat())?;
                broken.rule(hosts, parent.0, &[&of_child[..], &reset[..]].concat())?;
            }
            LinkFault::WrongHost(other) => broken.divert(hosts, child, (&at, port), &other)?,
            LinkFault::Silent | LinkFault::Garbage => {
                let proxy = Proxy::start_on(&hosts.gateway(), "nobody")?;
                proxy.set_fault(if fault == LinkFault::Silent { Fault::Silent } else { Fault::Garbage });
                broken.divert(hosts, child, (&at, port), &proxy.address().to_string())?;
                broken._far_end = Some(Box::new(proxy));
            }
            LinkFault::Oversized(certificate) => {
                let impostor = Impostor::start(&hosts.gateway(), &certificate)?;
                broken.divert(hosts, child, (&at, port), &impostor.address().to_string())?;
                broken._far_end = Some(Box::new(impostor));
            }
        }
        Ok(broken)
    }

    pub(crate) fn unplug(hosts: &Hosts, name: &str) -> Result<Broken> {
        let mut broken = Broken { undo: Vec::new(), _far_end: None };
        broken.rule(hosts, name, &["OUTPUT", "-o", "eth0", "-j", "DROP"])?;
        broken.rule(hosts, name, &["INPUT", "-i", "eth0", "-j", "DROP"])?;
        Ok(broken)
    }

    /// Makes all as it was.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn repair(mut self) -> Result<()> {
        self.take_back()
    }

    fn take_back(&mut self) -> Result<()> {
        while let Some(command) = self.undo.pop() {
            run(&command[0], &command[1..])?;
        }
        Ok(())
    }

    /// Adds a rule of the host `name`: its chain, and the rest.
    fn rule(&mut self, hosts: &Hosts, name: &str, rule: &[&str]) -> Result<()> {
        self.table_rule(hosts, name, "filter", rule)
    }

    fn table_rule(&mut self, hosts: &Hosts, name: &str, table: &str, rule: &[&str]) -> Result<()> {
        let command = |how: &str| {
            let space = hosts.space(name);
            let head = ["ip", "netns", "exec", &space, "iptables", "-w", "-t", table, how];
            head.into_iter().chain(rule.iter().copied()).map(str::to_owned).collect::<Vec<String>>()
        };
        let add = command("-A");
        run(&add[0], &add[1..])?;
        self.undo.push(command("-D"));
        Ok(())
    }

    /// Leads new connections of `child` to `parent` to another listener, and resets those that there are.
    fn divert(&mut self, hosts: &Hosts, child: &str, (at, port): (&str, u16), other: &str) -> Result<()> {
        let port = port.to_string();
        let to_parent = ["OUTPUT", "-p", "tcp", "-d", at, "--dport", &port, "-j"];
        self.table_rule(hosts, child, "nat", &[&to_parent[..], &["DNAT", "--to-destination", other]].concat())?;
        // What is led elsewhere does not come by here any more.
        self.rule(hosts, child, &[&to_parent[..], &["REJECT", "--reject-with", "tcp-reset"]].concat())
    }

    /// Makes what the host `from` sends to `to` slow.
    fn slow(&mut self, hosts: &Hosts, from: &str, to: &str) -> Result<()> {
        let number = hosts.number(to) + 1;
        let (class, preference) = (format!("1:{number:x}"), number.to_string());
        let (space, to) = (hosts.space(from), format!("{}/32", hosts.address(to)));
        let head = |what: &'static str, how: &'static str| ["tc", "-n", &space, what, how, "dev", "eth0"];
        let mut both = |what: &'static str, key: &[&str], rest: &[&str]| -> Result<()> {
            let words = |how, rest: &[&str]| -> Vec<String> {
                head(what, how).iter().chain(key).chain(rest).map(|word| (*word).to_owned()).collect()
            };
            let add = words("add", rest);
            run(&add[0], &add[1..])?;
            self.undo.push(words("del", &[]));
            Ok(())
        };
        both("class", &["parent", "1:", "classid", &class], &["htb", "rate", SLOW_RATE, "burst", "2kb"])?;
        both("qdisc", &["parent", &class], &["bfifo", "limit", SLOW_QUEUE_BYTES])?;
        let matches = ["protocol", "ip", "u32", "match", "ip", "dst", &to, "flowid", &class];
        both("filter", &["parent", "1:", "pref", &preference], &matches)
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        // Its hosts may be gone already.
        let _ = self.take_back();
    }
}
