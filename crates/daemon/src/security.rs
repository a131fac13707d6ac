//! Who gets in: certificates between processes, bearer tokens for those who ask over HTTP.
//!
//! Certificates, keys and tokens lie in files, which are looked at every second: what is new and makes sense is used
//! from the next handshake or request on, what makes none is complained about and changes nothing. What was refused is
//! counted by reason, and said here and, as far as the protocol allows, to the far side.

mod accept;
mod certificates;
mod dial;
mod error;
mod files;
mod refusal;
mod report;
mod routes;
mod tokens;
mod validity;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use prometheus_client::registry::Registry;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::clock::Clock;
use crate::net::{Connector, Listener};
use accept::TlsAccept;
use certificates::{Certificates, Expiry};
use files::{Followed, Look};
use refusal::Refusals;
use routes::Denials;
use tokens::Tokens;

pub use error::SecurityError;
pub use report::{SecurityFamily, SecurityLine};
pub use validity::certificate_end;

/// How often it is looked whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files of a process's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The authorities that sign the other processes' certificates; without it there is HTTPS, but no parent or child.
    pub ca: Option<PathBuf>,
    /// Its certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Files of bearer tokens, one token a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFiles {
    /// Whose bearers may look.
    pub read: Vec<PathBuf>,
    /// Whose bearers may also change something.
    pub operate: Vec<PathBuf>,
}

/// Where a listener is in the outside faces of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Anybody may connect, and shows a token with each request.
    Http,
    /// Only children connect, each with a certificate of its own.
    Grpc,
}

/// Who gets in; clones share it.
#[derive(Clone)]
pub struct Security(Arc<Parts>);

struct Parts {
    certificates: Option<Followed<Certificates>>,
    tokens: Option<Followed<Tokens>>,
    /// The name that the certificate should prove.
    node: Option<String>,
    expiry: Expiry,
    refusals: Refusals,
    denials: Denials,
    clock: Clock,
}

impl Parts {
    fn new(clock: Clock) -> Parts {
        let (expiry, refusals, denials) = (Expiry::default(), Refusals::default(), Denials::default());
        Parts { certificates: None, tokens: None, node: None, expiry, refusals, denials, clock }
    }
}

impl Security {
    /// Everybody gets in, and nothing is encrypted.
    pub fn none() -> Security {
        Security(Arc::new(Parts::new(Clock::system())))
    }

    /// Reads the files of the process `node`; the name is `None` for one that is in no topology.
    ///
    /// # Errors
    /// If a file cannot be read, or does not hold what it should.
    pub fn open(
        certificates: Option<CertificateFiles>,
        tokens: Option<TokenFiles>,
        node: Option<&str>,
        clock: Clock,
    ) -> Result<Security, SecurityError> {
        let certificates = certificates.map(Certificates::follow).transpose()?;
        let tokens = tokens.map(Tokens::follow).transpose()?;
        let node = node.map(str::to_owned);
        let security = Security(Arc::new(Parts { certificates, tokens, node, ..Parts::new(clock) }));
        security.look_at_name();
        security.look_at_expiry();
        Ok(security)
    }

    /// Lets connections in only as `port` demands; without certificates `listener` stays as it is.
    pub fn secure(&self, listener: Listener, port: Port) -> Listener {
        if self.0.certificates.is_none() {
            return listener;
        }
        listener.map(|accept| Box::new(TlsAccept::new(accept, self.clone(), port)))
    }

    /// Returns what opens connections to the parent `node`: over TLS, to nobody but `node`, if there are certificates.
    ///
    /// Such a connection is there once the parent has said something, as a parent that speaks HTTP/2 does by itself: only
    /// then is it known that it takes this process's certificate.
    pub fn connector_to(&self, connector: &Connector, node: &str) -> Connector {
        if self.0.certificates.is_none() {
            return connector.clone();
        }
        let (security, connector, node) = (self.clone(), connector.clone(), node.to_owned());
        Connector::new(move |address| {
            let (security, connector, node) = (security.clone(), connector.clone(), node.clone());
            async move { security.dial(&connector, &address, &node).await }
        })
    }

    /// Lets only bearers of tokens ask `router`, except for `/-/healthy` and `/-/ready`; without tokens it stays as it is.
    ///
    /// Whoever may read may `GET`, and ask a query by `POST`; all else takes the right to operate.
    pub fn protect(&self, router: Router) -> Router {
        if self.0.tokens.is_none() { router } else { routes::protect(router, self.clone()) }
    }

    /// Follows the files until `cancel`, and says in good time that a certificate is about to expire.
    pub async fn follow(self, cancel: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = ticks.tick() => blocking(|| self.look()),
            }
        }
    }

    /// Registers what is counted.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(report::Exposed(self.clone())));
    }

    fn look(&self) {
        if let Some(certificates) = &self.0.certificates {
            let look = certificates.look();
            if matches!(look, Look::Renewed) {
                self.look_at_name();
            }
            say(look, "certificates");
            self.look_at_expiry();
        }
        if let Some(tokens) = &self.0.tokens {
            say(tokens.look(), "tokens");
        }
    }

    fn look_at_name(&self) {
        if let (Some(certificates), Some(node)) = (&self.0.certificates, &self.0.node) {
            certificates.current().check_name(node);
        }
    }

    fn look_at_expiry(&self) {
        if let Some(certificates) = &self.0.certificates {
            self.0.expiry.look(&certificates.current(), self.0.clock.now());
        }
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Security(tls {}, tokens {})", self.0.certificates.is_some(), self.0.tokens.is_some())
    }
}

/// Says what has become of files.
fn say(look: Look, what: &'static str) {
    match look {
        Look::Same => {}
        Look::Renewed => tracing::info!(what, "files read anew"),
        Look::Broken(error) => {
            let error = crate::telemetry::chain(&error).to_string();
            tracing::error!(what, error, "new files make no sense, going on with those before");
        }
    }
}

#[cfg(test)]
mod tests;
