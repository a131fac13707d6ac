//! Encrypted connections to targets.

use std::fmt;
use std::io;
use std::sync::Arc;

use firetower_daemon::Stream;
use firetower_model::{TlsAccess, TlsVersion};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{AccessError, Error};

/// Whose certificates are believed where a job does not say so itself; clones share it.
#[derive(Clone)]
pub struct Tls {
    roots: Arc<RootCertStore>,
    config: Arc<ClientConfig>,
}

/// How TLS is agreed on.
#[derive(Clone)]
pub(super) struct TlsKeys {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    /// Changes with what certificates and keys say: connections made before are not used after.
    pub(super) version: u64,
}

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
        let roots = Arc::new(roots);
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what the default versions need")
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        Tls { roots, config: Arc::new(config) }
    }

    /// Makes what a job says ready for use; `before` stays if nothing has changed.
    pub(super) fn keys(
        &self,
        access: &TlsAccess,
        ca: Option<String>,
        cert: Option<String>,
        key: Option<String>,
        before: Option<&TlsKeys>,
    ) -> Result<TlsKeys, AccessError> {
        if *access == TlsAccess::default() {
            return Ok(TlsKeys { config: Arc::clone(&self.config), server_name: None, version: 0 });
        }
        let text = [ca.as_deref(), cert.as_deref(), key.as_deref()].map(Option::unwrap_or_default).join("\0");
        let version = xxh3_64(text.as_bytes());
        if let Some(before) = before.filter(|before| before.version == version) {
            return Ok(before.clone());
        }
        let server_name = access
            .server_name
            .as_ref()
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| AccessError::ServerName { name: name.clone() }));
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&versions(access))
            .map_err(AccessError::Tls)?;
        let builder = if access.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(ring::default_provider())))
        } else {
            builder.with_root_certificates(ca.map_or_else(|| Ok(Arc::clone(&self.roots)), |ca| read_roots(&ca))?)
        };
        let config = match (cert, key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
                let key = key.map_err(|_| AccessError::Pem { what: "the client's key" })?;
                builder.with_client_auth_cert(read_certificates(&cert, "the client's certificate")?, key)
            }
            _ => Ok(builder.with_no_client_auth()),
        };
        let config = Arc::new(config.map_err(AccessError::Tls)?);
        Ok(TlsKeys { config, server_name: server_name.transpose()?, version })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl TlsKeys {
    /// Agrees with `host` on keys over a connection to it.
    pub(super) async fn connect(&self, host: &str, stream: Stream) -> Result<Stream, Error> {
        let fault = |source: io::Error| Error::Tls { host: host.into(), source };
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|error| fault(io::Error::other(error)))?,
        };
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await.map_err(fault)?;
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for TlsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsKeys({:?}, {})", self.server_name, self.version)
    }
}

fn versions(access: &TlsAccess) -> Vec<&'static SupportedProtocolVersion> {
    let is_spoken = |version| {
        access.min_version.is_none_or(|least| least <= version) && access.max_version.is_none_or(|most| version <= most)
    };
    [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)]
        .into_iter()
        .filter_map(|(version, spoken)| is_spoken(version).then_some(spoken))
        .collect()
}

fn read_roots(pem: &str) -> Result<Arc<RootCertStore>, AccessError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(read_certificates(pem, "the CA")?);
    if added == 0 { Err(AccessError::Pem { what: "the CA" }) } else { Ok(Arc::new(roots)) }
}

fn read_certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(AccessError::Pem { what }),
    }
}

/// Takes any certificate, and only checks that its owner is at the other end.
#[derive(Debug)]
struct Anyone(CryptoProvider);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
