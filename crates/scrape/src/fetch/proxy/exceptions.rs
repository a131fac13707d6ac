//! Which hosts are reached without a proxy, as `NO_PROXY` says it.
//!
//! Source: Go `golang.org/x/net/http/httpproxy`, `config.init` and `useProxy`.

use std::net::IpAddr;

/// Hosts that are reached without a proxy. This host is always one of them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Exceptions(Vec<Exception>);

#[derive(Debug, PartialEq)]
enum Exception {
    Everything,
    /// Addresses that share their first bits.
    Range {
        address: IpAddr,
        bits: u32,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    Domain {
        /// With a dot before it.
        suffix: String,
        /// Whether it is itself meant too, and not only what is below it.
        is_host: bool,
        port: Option<u16>,
    },
}

impl Exceptions {
    /// Reads names, domains, addresses and ranges with commas between; what is none of these is left out.
    pub(super) fn parse(text: &str) -> Exceptions {
        let parts = text.split(',').map(|part| part.trim().to_ascii_lowercase());
        Exceptions(parts.filter_map(|part| Exception::parse(&part)).collect())
    }

    /// Tells whether a host is reached directly at `port`.
    pub(super) fn has(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let is_own = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        is_own || self.0.iter().any(|exception| exception.has(&host, address, port))
    }
}

impl Exception {
    fn parse(part: &str) -> Option<Exception> {
        if part == "*" {
            return Some(Exception::Everything);
        }
        if let Some((address, bits)) = part.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse())
        {
            return (bits <= width(address)).then_some(Exception::Range { address, bits });
        }
        let (host, port) = match part.rsplit_once(':') {
            // An IPv6 address has colons of its own; with a port it stands in brackets.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (part, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Exception::Address { address: address.to_canonical(), port });
        }
        let host = if host.starts_with("*.") { &host[1..] } else { host };
        match host {
            "" => None,
            host if host.starts_with('.') => Some(Exception::Domain { suffix: host.into(), is_host: false, port }),
            host => Some(Exception::Domain { suffix: format!(".{host}"), is_host: true, port }),
        }
    }

    fn has(&self, host: &str, address: Option<IpAddr>, asked: u16) -> bool {
        let is_port = |port: &Option<u16>| port.is_none_or(|port| port == asked);
        match self {
            Exception::Everything => true,
            Exception::Range { address: range, bits } => address.is_some_and(|address| {
                width(address) == width(*range) && prefix(address, *bits) == prefix(*range, *bits)
            }),
            Exception::Address { address: own, port } => address == Some(*own) && is_port(port),
            Exception::Domain { suffix, is_host, port } => {
                (host.ends_with(suffix) || (*is_host && host == &suffix[1..])) && is_port(port)
            }
        }
    }
}

/// Returns how many bits an address has.
fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Returns the first `bits` of an address.
fn prefix(address: IpAddr, bits: u32) -> u128 {
    let number = match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    number.checked_shr(width(address) - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_excepted_as_go_does() {
        let check = |names: &str, host: &str, expected: bool| {
            assert_eq!(Exceptions::parse(names).has(host, 8080), expected, "{names} {host}");
        };
        check("", "localhost", true);
        check("", "127.1.2.3", true);
        check("", "::1", true);
        check("", "foo.com", false);
        check("*", "foo.com", true);
        check("a, foo.com", "foo.com", true);
        check("foo.com", "Bar.Foo.com", true);
        check("foo.com", "xfoo.com", false);
        check(".foo.com", "foo.com", false);
        check(".foo.com", "bar.foo.com", true);
        check("*.foo.com", "bar.foo.com", true);
        check("*.foo.com", "foo.com", false);
        check("foo.com:8080", "foo.com", true);
        check("foo.com:80", "foo.com", false);
        check("10.0.0.1", "10.0.0.1", true);
        check("10.0.0.1:80", "10.0.0.1", false);
        check("10.0.0.1:8080", "10.0.0.1", true);
        check("10.0.0.0/8", "10.9.9.9", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("0.0.0.0/0", "11.0.0.1", true);
        check("fd00::/8", "fd12::1", true);
        check("fd00::/8", "fe12::1", false);
        check("[fd00::1]:8080", "fd00::1", true);
        check("fd00::1", "fd00::1", true);
        check("10.0.0.0/33", "10.0.0.0", false);
        check("foo.com:http", "foo.com", false);
    }
}
