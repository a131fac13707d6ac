//! Encrypted connections to targets.

use std::fmt;
use std::io;
use std::sync::Arc;

use firetower_daemon::Stream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// Whose certificates are believed; clones share it.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Believes the certificate authorities of the operating system. Reads them from disk: to be called once, at start.
    pub fn system() -> Tls {
        let mut roots = RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::warn!(%error, "some certificate authorities of the system cannot be read");
        }
        roots.add_parsable_certificates(loaded.certs);
        Tls::of_roots(roots)
    }

    /// Believes nobody, so that no connection to `https` can be made.
    pub fn none() -> Tls {
        Tls::of_roots(RootCertStore::empty())
    }

    fn of_roots(roots: RootCertStore) -> Tls {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what the default versions need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Tls(Arc::new(config))
    }

    /// Agrees with `host` on keys over a connection to it.
    pub(super) async fn connect(&self, host: &str, stream: Stream) -> Result<Stream, Error> {
        let fault = |source: io::Error| Error::Tls { host: host.into(), source };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| fault(io::Error::other(error)))?;
        let stream = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await.map_err(fault)?;
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
