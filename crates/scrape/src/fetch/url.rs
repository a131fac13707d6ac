//! The little of URLs that scraping needs.

use crate::error::Error;

/// `scheme://host:port/path?query` of a target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Url {
    is_tls: bool,
    /// Host and port as they are written.
    authority: String,
    /// Host and port to connect to.
    address: String,
    path: String,
}

impl Url {
    /// Reads an absolute URL; what comes after `#` is left out.
    pub(crate) fn parse(text: &str) -> Result<Url, Error> {
        let fault = |reason| Error::Url { url: text.into(), reason };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fault("it has no scheme"))?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(fault("its scheme is neither http nor https")),
        };
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(fault("it has a blank or control character"));
        }
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || authority.contains('@') {
            return Err(fault("it must have a host, and no user"));
        }
        let after_host = authority.rfind(']').map_or(0, |at| at + 1);
        let has_port = authority[after_host..].contains(':');
        let port = if is_tls { ":443" } else { ":80" };
        let address = if has_port { authority.to_owned() } else { format!("{authority}{port}") };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { is_tls, authority: authority.into(), address, path })
    }

    /// Returns the URL that a `Location` names, which may be relative to this one.
    ///
    /// Source: RFC 3986, section 5.2, without the removal of dot segments.
    pub(crate) fn join(&self, location: &str) -> Result<Url, Error> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let is_absolute = location.find("://").is_some_and(|at| !location[..at].contains(['/', '?', '#']));
        if is_absolute {
            return Url::parse(location);
        }
        if location.starts_with("//") {
            return Url::parse(&format!("{scheme}:{location}"));
        }
        let path = self.path.split('?').next().unwrap_or("/");
        let base = match location.as_bytes().first() {
            Some(b'/') => "",
            Some(b'?') => path,
            _ => &path[..path.rfind('/').map_or(0, |at| at + 1)],
        };
        Url::parse(&format!("{scheme}://{}{base}{location}", self.authority))
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns path and query.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the port to connect to; 0 if what is written is none.
    pub(crate) fn port(&self) -> u16 {
        self.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }

    /// Tells whether a secret for `first` may go to this one: the same host, or one below it.
    ///
    /// Source: Go `net/http/client.go`, `shouldCopyHeaderOnRedirect`.
    pub(crate) fn is_trusted_like(&self, first: &Url) -> bool {
        let (host, first) = (self.host().to_ascii_lowercase(), first.host().to_ascii_lowercase());
        let is_below = || host.strip_suffix(&first).is_some_and(|rest| rest.ends_with('.'));
        host == first || (!host.contains([':', '%']) && is_below())
    }

    /// Returns the host without port and brackets.
    pub(crate) fn host(&self) -> &str {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_joined() {
        let check = |text: &str, address: &str, host: &str, path: &str| {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.address(), url.host(), url.path()), (address, host, path), "{text}");
            assert!(address.ends_with(&format!(":{}", url.port())), "{text}");
        };
        check("http://h:9100/metrics?a=b#c", "h:9100", "h", "/metrics?a=b");
        check("https://h", "h:443", "h", "/");
        check("http://[::1]?x", "[::1]:80", "::1", "/?x");
        check("HTTP://[::1]:81/", "[::1]:81", "::1", "/");
        for bad in ["", "h:1/m", "ftp://h/", "http:///m", "http://u@h/", "http://h/a b", "http://h/\r\nX: y"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        for (host, is_trusted) in [("h", true), ("H:1", true), ("x.h", true), ("xh", false), ("k", false)] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert_eq!(url.is_trusted_like(&Url::parse("https://h:2/").unwrap()), is_trusted, "{host}");
        }
        let base = Url::parse("http://h:1/a/b?c=d").unwrap();
        let cases = [
            ("/x", "http://h:1/x"),
            ("x?y", "http://h:1/a/x?y"),
            ("?y", "http://h:1/a/b?y"),
            ("//k/x", "http://k/x"),
            ("https://k/x", "https://k/x"),
            ("/x?u=http://k", "http://h:1/x?u=http://k"),
        ];
        for (location, joined) in cases {
            assert_eq!(base.join(location).unwrap(), Url::parse(joined).unwrap(), "{location}");
        }
    }
}
