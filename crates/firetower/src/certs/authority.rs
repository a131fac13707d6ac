//! An authority that signs certificates.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;

/// What an authority is called.
const NAME: &str = "firetower authority";
/// How long the authority lasts.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3_650 * 86_400);
/// Certificates are good from this long ago on, for hosts whose clocks are behind.
const BEFORE: Duration = Duration::from_secs(3_600);

/// An authority with its key.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// After which its files are called.
    pub(super) name: String,
    /// Names and addresses that it proves.
    pub(super) hosts: Vec<String>,
    /// Whether it dials parents too.
    pub(super) is_node: bool,
}

/// A certificate with its key, both PEM.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) ends: OffsetDateTime,
}

impl Authority {
    /// Makes a new one.
    pub(super) fn new() -> anyhow::Result<Authority> {
        let key = KeyPair::generate().context("make the authority's key")?;
        let params = authority_params();
        let certificate = params.self_signed(&key).context("sign the authority's certificate")?;
        Ok(Authority { pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// Reads one that [`Authority::new`] made.
    ///
    /// # Errors
    /// If its files are not there, or the key is another's.
    pub(super) fn read(certificate: &Path, key: &Path) -> anyhow::Result<Authority> {
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
        let (pem, key_pem) = (read(certificate)?, read(key)?);
        let pair = KeyPair::from_pem(&key_pem).with_context(|| format!("use the key in {}", key.display()))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        let der = der.with_context(|| format!("use the authority in {}", certificate.display()))?;
        let public = pair.subject_public_key_info();
        let holds = |part: &[u8]| der.windows(part.len()).any(|window| window == part);
        if !holds(&public) || !holds(NAME.as_bytes()) {
            bail!(
                "{} is not the key of {}, or firetower certs did not make them",
                key.display(),
                certificate.display()
            );
        }
        Ok(Authority { issuer: Issuer::new(authority_params(), pair), pem })
    }

    /// Returns its certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns its key.
    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Makes a key, and a certificate that is good for `days` from now on.
    pub(super) fn sign(&self, leaf: &Leaf, days: u32) -> anyhow::Result<Signed> {
        let step = || format!("sign a certificate for {}", leaf.name);
        let life = Duration::from_secs(u64::from(days) * 86_400);
        let names = CertificateParams::new(leaf.hosts.clone()).with_context(step)?.subject_alt_names;
        let mut params = params(&leaf.name, life);
        params.subject_alt_names = names;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if leaf.is_node {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        let key = KeyPair::generate().with_context(step)?;
        let certificate = params.signed_by(&key, &self.issuer).with_context(step)?;
        Ok(Signed { certificate: certificate.pem(), key: key.serialize_pem(), ends: params.not_after })
    }
}

/// Returns what an authority's certificate says: the same each time, so that its key is all that is needed to sign again.
fn authority_params() -> CertificateParams {
    let mut params = params(NAME, AUTHORITY_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params(name: &str, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    // A second less, so that what is good for no time at all has ended when it is made.
    (params.not_before, params.not_after) = (now - BEFORE, now + life - Duration::from_secs(1));
    params
}
