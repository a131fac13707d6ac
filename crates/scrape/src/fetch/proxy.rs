//! What a request goes through, if anything.
//!
//! Source: Go `golang.org/x/net/http/httpproxy`, and Prometheus `config/http_config.go`, `ProxyConfig`.

mod exceptions;

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use firetower_model::ProxyAccess;

use self::exceptions::Exceptions;
use super::url::Url;
use crate::error::Error;

/// What the environment of a process says about proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentProxies {
    /// Proxy for `http`, as `HTTP_PROXY` names it; empty for none.
    pub http: String,
    /// Proxy for `https`, as `HTTPS_PROXY` names it; empty for none.
    pub https: String,
    /// Hosts that are reached without one, as `NO_PROXY` names them.
    pub exceptions: String,
}

impl EnvironmentProxies {
    /// Reads the environment of this process; names in lower case count where those in upper case are not set.
    pub fn of_process() -> EnvironmentProxies {
        let read = |upper: &str| {
            let lower = upper.to_ascii_lowercase();
            let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            set(upper).or_else(|| set(&lower)).unwrap_or_default()
        };
        EnvironmentProxies { http: read("HTTP_PROXY"), https: read("HTTPS_PROXY"), exceptions: read("NO_PROXY") }
    }
}

/// A server to go through.
#[derive(Debug, PartialEq)]
pub(super) struct Proxy {
    /// `scheme://host:port` of it.
    pub(super) url: Url,
    /// The header line that says who asks, if its URL does.
    pub(super) authorization: String,
}

/// Which proxy stands before which URL.
#[derive(Debug)]
pub(super) struct Proxies {
    http: Option<Arc<Proxy>>,
    https: Option<Arc<Proxy>>,
    /// `None` if every host is reached through it, this one too.
    exceptions: Option<Exceptions>,
}

impl Proxies {
    pub(super) fn new(access: &ProxyAccess, environment: &EnvironmentProxies) -> Result<Proxies, Error> {
        if access.is_from_environment {
            let of = |url: &str| if url.is_empty() { Ok(None) } else { Proxy::parse(url).map(Some) };
            let exceptions = Some(Exceptions::parse(&environment.exceptions));
            return Ok(Proxies { http: of(&environment.http)?, https: of(&environment.https)?, exceptions });
        }
        let proxy = access.url.as_deref().map(Proxy::parse).transpose()?;
        let exceptions = Some(access.no_proxy.as_str()).filter(|names| !names.is_empty()).map(Exceptions::parse);
        Ok(Proxies { http: proxy.clone(), https: proxy, exceptions })
    }

    /// Returns what to go through to reach `url`.
    pub(super) fn of(&self, url: &Url) -> Option<&Arc<Proxy>> {
        let proxy = if url.is_tls() { &self.https } else { &self.http };
        let is_direct = self.exceptions.as_ref().is_some_and(|names| names.has(url.host(), url.port()));
        proxy.as_ref().filter(|_| !is_direct)
    }
}

impl Proxy {
    /// Reads `scheme://user:password@host:port`; without a scheme it is `http`. Faults do not show the password.
    fn parse(text: &str) -> Result<Arc<Proxy>, Error> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let url = Url::parse(&format!("{scheme}://{authority}"))?;
        let authorization = user.map_or(String::new(), |user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let pair = [unescape(name), b":".to_vec(), unescape(password)].concat();
            format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(pair))
        });
        Ok(Arc::new(Proxy { url, authorization }))
    }
}

/// Reads `%41` as `A`.
fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_may_have_a_user() {
        let check = |text: &str, address: &str, authorization: &str| {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!((proxy.url.address(), proxy.authorization.as_str()), (address, authorization), "{text}");
        };
        check("http://p:3128/", "p:3128", "");
        check("p", "p:80", "");
        check("https://p", "p:443", "");
        check("http://u:p%40s@p:1", "p:1", "Proxy-Authorization: Basic dTpwQHM=\r\n");
        check("http://u@[::1]:1", "[::1]:1", "Proxy-Authorization: Basic dTo=\r\n");
        assert!(Proxy::parse("socks5://p").is_err());
    }

    #[test]
    fn the_proxy_follows_from_scheme_and_host() {
        let environment = EnvironmentProxies {
            http: "plain:1".into(),
            https: "http://tls:2".into(),
            exceptions: "inside.example".into(),
        };
        let given = |no_proxy: &str| ProxyAccess {
            url: Some("http://given:3".into()),
            no_proxy: no_proxy.into(),
            ..ProxyAccess::default()
        };
        let from_environment = ProxyAccess { is_from_environment: true, ..ProxyAccess::default() };
        let check = |access: &ProxyAccess, url: &str, expected: Option<&str>| {
            let proxies = Proxies::new(access, &environment).unwrap();
            let url = Url::parse(url).unwrap();
            assert_eq!(proxies.of(&url).map(|proxy| proxy.url.address()), expected, "{access:?} {url:?}");
        };
        check(&ProxyAccess::default(), "http://h/", None);
        check(&from_environment, "http://h/", Some("plain:1"));
        check(&from_environment, "https://h/", Some("tls:2"));
        check(&from_environment, "http://a.inside.example/", None);
        check(&from_environment, "http://localhost:1/", None);
        check(&given(""), "http://localhost:1/", Some("given:3"));
        check(&given("other"), "http://localhost:1/", None);
        check(&given("h"), "https://h/", None);
        check(&given("h"), "https://i/", Some("given:3"));
    }
}
