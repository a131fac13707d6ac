//! A process's own certificate, and the authorities that it believes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firetower_model::Timestamp;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use webpki::EndEntityCert;

use super::error::SecurityError;
use super::files::Followed;
use super::validity::validity;
use super::{CertificateFiles, Port};

/// What is spoken on a `Grpc` port.
const HTTP_2: &[u8] = b"h2";
/// What is spoken on an `Http` port.
const HTTP_1: &[u8] = b"http/1.1";
/// This long before its end, or in the last third of its life if that is shorter, a certificate is warned of.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);
/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(3_600);

/// A certificate with its key, ready to be shown, and the authorities to judge others by.
pub(super) struct Certificates {
    http: Arc<ServerConfig>,
    tree: Option<TreeConfigs>,
    path: PathBuf,
    names: Vec<String>,
    begins: Timestamp,
    /// When the certificate ends.
    pub(super) ends: Timestamp,
}

/// What links between tiers need.
struct TreeConfigs {
    grpc: Arc<ServerConfig>,
    parent: Arc<ClientConfig>,
}

impl Certificates {
    /// Reads the files, to look at them again and again.
    pub(super) fn follow(files: CertificateFiles) -> Result<Followed<Certificates>, SecurityError> {
        let paths = [Some(&files.certificate), Some(&files.key), files.ca.as_ref()];
        let paths: Vec<PathBuf> = paths.into_iter().flatten().cloned().collect();
        Followed::open(paths, move |texts| Certificates::read(&files, texts))
    }

    fn read(files: &CertificateFiles, texts: &[Vec<u8>]) -> Result<Certificates, SecurityError> {
        let provider = Arc::new(ring::default_provider());
        let chain = read_certificates(&files.certificate, &texts[0])?;
        let key = PrivateKeyDer::from_pem_slice(&texts[1])
            .map_err(|_| SecurityError::Missing { path: files.key.clone(), what: "private key" })?;
        let (begins, ends) =
            validity(&chain[0]).ok_or(SecurityError::Certificate { path: files.certificate.clone() })?;
        let unusable = |source| SecurityError::Unusable { path: files.certificate.clone(), source };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
        let http = builder.with_no_client_auth().with_single_cert(chain.clone(), key.clone_key());
        let mut http = http.map_err(unusable)?;
        http.alpn_protocols = vec![HTTP_1.to_vec()];
        let tree = match (&files.ca, texts.get(2)) {
            (Some(path), Some(text)) => {
                let roots = Arc::new(read_authorities(path, text)?);
                Some(tree_configs(&provider, roots, (chain.clone(), key), path).map_err(|error| match error {
                    TreeFault::Own(source) => unusable(source),
                    TreeFault::Authorities(error) => error,
                })?)
            }
            _ => None,
        };
        Ok(Certificates {
            http: Arc::new(http),
            tree,
            path: files.certificate.clone(),
            names: dns_names(&chain[0]),
            begins,
            ends,
        })
    }

    /// Returns how to take connections on `port`; `None` for children if nothing says whose certificates are good.
    pub(super) fn server(&self, port: Port) -> Option<Arc<ServerConfig>> {
        match port {
            Port::Http => Some(Arc::clone(&self.http)),
            Port::Grpc => self.tree.as_ref().map(|tree| Arc::clone(&tree.grpc)),
        }
    }

    /// Returns how to dial parents; `None` if nothing says whose certificates are good.
    pub(super) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.tree.as_ref().map(|tree| Arc::clone(&tree.parent))
    }

    /// Warns if the certificate does not prove the name that this process goes by.
    pub(super) fn check_name(&self, node: &str) {
        if !self.names.iter().any(|name| name == node) {
            let (file, names) = (self.path.display(), self.names.join(", "));
            tracing::warn!(%file, node, names, "certificate does not name this node: parents and children will refuse it");
        }
    }
}

enum TreeFault {
    Own(rustls::Error),
    Authorities(SecurityError),
}

fn tree_configs(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    path: &Path,
) -> Result<TreeConfigs, TreeFault> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build();
    let verifier = verifier
        .map_err(|source| TreeFault::Authorities(SecurityError::Authorities { path: path.to_owned(), source }))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(&[&TLS13]).map_err(TreeFault::Own)?;
    let grpc = builder.with_client_cert_verifier(verifier).with_single_cert(chain.clone(), key.clone_key());
    let mut grpc = grpc.map_err(TreeFault::Own)?;
    grpc.alpn_protocols = vec![HTTP_2.to_vec()];
    // A session that is taken up again would not look at certificates again.
    grpc.send_tls13_tickets = 0;
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(&[&TLS13]).map_err(TreeFault::Own)?;
    let parent = builder.with_root_certificates(roots).with_client_auth_cert(chain, key);
    let mut parent = parent.map_err(TreeFault::Own)?;
    parent.alpn_protocols = vec![HTTP_2.to_vec()];
    parent.resumption = Resumption::disabled();
    Ok(TreeConfigs { grpc: Arc::new(grpc), parent: Arc::new(parent) })
}

fn read_certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(SecurityError::Missing { path: path.to_owned(), what: "certificate" }),
    }
}

fn read_authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, SecurityError> {
    let mut roots = RootCertStore::empty();
    for authority in read_certificates(path, pem)? {
        roots.add(authority).map_err(|_| SecurityError::Certificate { path: path.to_owned() })?;
    }
    Ok(roots)
}

/// Returns the names of hosts and nodes that a certificate is for; none of one that cannot be read.
pub(super) fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let read = EndEntityCert::try_from(certificate);
    read.map(|read| read.valid_dns_names().map(str::to_owned).collect()).unwrap_or_default()
}

/// Says in good time that a certificate is about to expire.
#[derive(Debug, Default)]
pub(super) struct Expiry(Mutex<Option<Timestamp>>);

impl Expiry {
    /// Warns if `certificates` end soon, at most once an hour.
    pub(super) fn look(&self, certificates: &Certificates, now: Timestamp) {
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let notice = WARN_BEFORE.min(certificates.ends.since(certificates.begins) / 3);
        if now < certificates.ends - notice {
            *warned = None;
            return;
        }
        if warned.is_some_and(|at| now.since(at) < WARN_EVERY && (at < certificates.ends) == (now < certificates.ends))
        {
            return;
        }
        *warned = Some(now);
        let file = certificates.path.display();
        if now < certificates.ends {
            let remaining_seconds = certificates.ends.since(now).as_secs();
            tracing::warn!(%file, remaining_seconds, "certificate expires soon: put a new one in its place, no restart is needed");
        } else {
            tracing::error!(%file, "certificate has expired: others refuse this process until a new one is in its place");
        }
    }
}
