//! How a server is asked over HTTP: what Prometheus calls `http_config`.

use std::fmt;
use std::path::PathBuf;

/// How to reach a server over HTTP and who to say one is; the default is a plain request that follows redirects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpAccess {
    /// Who asks.
    pub authorization: Option<Authorization>,
    /// More headers, each with its values in order.
    pub headers: Vec<(String, Vec<Secret>)>,
    /// How `https` is checked.
    pub tls: TlsAccess,
    /// What to go through.
    pub proxy: ProxyAccess,
    /// Whether a redirect is followed.
    pub follow_redirects: bool,
}

impl Default for HttpAccess {
    fn default() -> HttpAccess {
        HttpAccess {
            authorization: None,
            headers: Vec::new(),
            tls: TlsAccess::default(),
            proxy: ProxyAccess::default(),
            follow_redirects: true,
        }
    }
}

/// What the header `Authorization` says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authorization {
    /// A name and a password.
    Basic {
        /// The name.
        username: Secret,
        /// The password.
        password: Secret,
    },
    /// Credentials of another scheme, such as `Bearer`.
    Credentials {
        /// The scheme.
        scheme: String,
        /// What comes after it.
        credentials: Secret,
    },
}

/// Something that is not shown: given as it is, or by a file that is read anew when it is needed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Secret {
    /// As it is.
    Text(String),
    /// In a file, without the white space around it; relative paths start at the folder of the configuration.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Text(_) => f.write_str("<secret>"),
            Secret::File(path) => write!(f, "<secret in {}>", path.display()),
        }
    }
}

/// How TLS is spoken; the default trusts the system's certificates and names nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsAccess {
    /// PEM certificates to trust in place of the system's.
    pub ca: Option<Secret>,
    /// PEM certificates to show.
    pub cert: Option<Secret>,
    /// PEM key of the first of them.
    pub key: Option<Secret>,
    /// Name to ask for and to check, in place of the host's.
    pub server_name: Option<String>,
    /// Whether any certificate is taken.
    pub insecure_skip_verify: bool,
    /// The oldest version to speak.
    pub min_version: Option<TlsVersion>,
    /// The newest version to speak.
    pub max_version: Option<TlsVersion>,
}

/// A version of TLS; older ones are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Which proxy to go through; the default is none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ProxyAccess {
    /// Its `http://host:port`, or `http://name:password@host:port`.
    pub url: Option<String>,
    /// Whether `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of the process say it.
    pub is_from_environment: bool,
    /// Hosts that are reached without it: names, domains, addresses and ranges of them, with commas between.
    pub no_proxy: String,
    /// Headers for the proxy when it is asked to connect, each with its values in order.
    pub connect_headers: Vec<(String, Vec<Secret>)>,
}

impl fmt::Debug for ProxyAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_deref().map(|url| match url.rsplit_once('@') {
            None => url.to_owned(),
            Some((_, host)) => format!("<secret>@{host}"),
        });
        f.debug_struct("ProxyAccess")
            .field("url", &url)
            .field("is_from_environment", &self.is_from_environment)
            .field("no_proxy", &self.no_proxy)
            .field("connect_headers", &self.connect_headers)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let access = HttpAccess {
            authorization: Some(Authorization::Basic {
                username: Secret::Text("abc".into()),
                password: Secret::File("word".into()),
            }),
            headers: vec![("X-Key".into(), vec![Secret::Text("abc".into())])],
            proxy: ProxyAccess { url: Some("http://me:abc@proxy:3128".into()), ..ProxyAccess::default() },
            ..HttpAccess::default()
        };
        let shown = format!("{access:?}");
        assert!(!shown.contains("abc") && shown.contains("<secret>@proxy:3128"), "{shown}");
    }
}
