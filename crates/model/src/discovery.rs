//! Where targets come from, and what is found there.

use std::time::Duration;

use crate::http::HttpAccess;

/// Targets that share labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroup {
    /// Where it comes from: `static:0`, or the file and its place in there, such as `targets/dub.json:0`.
    pub source: String,
    /// Their addresses, `host:port`.
    pub targets: Vec<String>,
    /// Their labels, sorted by name.
    pub labels: Vec<(String, String)>,
}

/// Files that list targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSd {
    /// Paths as written, relative to the topology file; the last part may hold one `*`.
    pub files: Vec<String>,
    /// How long until the files are looked at again.
    pub refresh_interval: Duration,
}

/// A server that lists targets as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSd {
    /// Where the list is.
    pub url: String,
    /// How long until it is asked again.
    pub refresh_interval: Duration,
    /// How it is asked.
    pub http: HttpAccess,
}

/// Names to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSd {
    /// The names.
    pub names: Vec<String>,
    /// Which of their records are targets.
    pub kind: DnsKind,
    /// The port of records that name none.
    pub port: u16,
    /// How long until they are looked up again.
    pub refresh_interval: Duration,
}

/// A type of DNS records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsKind {
    /// Host and port of a service.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Hosts that take mail.
    Mx,
    /// Hosts that serve a zone.
    Ns,
}

/// Where the targets of one job come from besides its own list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobSources {
    /// The job's name.
    pub job_name: String,
    /// Files that list targets.
    pub files: Vec<FileSd>,
    /// Servers that list targets.
    pub servers: Vec<HttpSd>,
    /// Names whose records are targets.
    pub names: Vec<DnsSd>,
}
