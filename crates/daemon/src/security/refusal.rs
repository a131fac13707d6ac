//! Why a connection did not come about, in a word to count by and a sentence that says what to do.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage};
use tokio::time::Instant;

use super::Port;

/// Refusals of one kind in a row are said this often; all are counted.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Where a refused connection came from or went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// Somebody came to the HTTP port.
    Http,
    /// Somebody came to the port for children.
    Grpc,
    /// This process dialled a parent.
    Parent,
}

impl At {
    pub(super) const ALL: [At; 3] = [At::Http, At::Grpc, At::Parent];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            At::Http => "http",
            At::Grpc => "grpc",
            At::Parent => "parent",
        }
    }
}

impl From<Port> for At {
    fn from(port: Port) -> At {
        match port {
            Port::Http => At::Http,
            Port::Grpc => At::Grpc,
        }
    }
}

/// Why a connection was refused, here or by the far side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    PlainText,
    NoCertificate,
    UnknownAuthority,
    Expired,
    NotYetValid,
    WrongName,
    /// The certificate is no good otherwise.
    BadCertificate,
    /// The far side does not take ours.
    RefusedByPeer,
    Silent,
    CrowdedOut,
    /// Anything else that is not TLS as it should be.
    Malformed,
}

impl Reason {
    pub(super) const ALL: [Reason; 11] = [
        Reason::PlainText,
        Reason::NoCertificate,
        Reason::UnknownAuthority,
        Reason::Expired,
        Reason::NotYetValid,
        Reason::WrongName,
        Reason::BadCertificate,
        Reason::RefusedByPeer,
        Reason::Silent,
        Reason::CrowdedOut,
        Reason::Malformed,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Reason::PlainText => "plain_text",
            Reason::NoCertificate => "no_certificate",
            Reason::UnknownAuthority => "unknown_authority",
            Reason::Expired => "expired",
            Reason::NotYetValid => "not_yet_valid",
            Reason::WrongName => "wrong_name",
            Reason::BadCertificate => "bad_certificate",
            Reason::RefusedByPeer => "refused_by_peer",
            Reason::Silent => "silent",
            Reason::CrowdedOut => "crowded_out",
            Reason::Malformed => "malformed",
        }
    }
}

/// A connection that did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// What to do, or what TLS says where that says more.
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, text: impl Into<String>) -> Refusal {
        Refusal { reason, text: text.into() }
    }

    /// Reads what a failed handshake says; `None` if the connection only broke.
    pub(super) fn of(error: &io::Error) -> Option<Refusal> {
        let error = error.get_ref()?.downcast_ref::<TlsError>()?;
        Some(match error {
            TlsError::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                Refusal::new(Reason::PlainText, "it speaks no TLS: give its topology the same tls, or mend the address")
            }
            TlsError::NoCertificatesPresented => {
                Refusal::new(Reason::NoCertificate, "it shows no certificate: give it one of this tree's authority")
            }
            TlsError::InvalidCertificate(fault) => Refusal::of_certificate(fault),
            TlsError::AlertReceived(alert) => Refusal::new(Reason::RefusedByPeer, alert_text(*alert)),
            other => Refusal::new(Reason::Malformed, format!("no TLS as it should be: {other}")),
        })
    }

    fn of_certificate(fault: &CertificateError) -> Refusal {
        match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Refusal::new(Reason::Expired, "its certificate has expired: put a new one in its place over there")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Refusal::new(Reason::NotYetValid, "its certificate is not valid yet: compare the clocks of both hosts")
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Refusal::new(
                Reason::UnknownAuthority,
                "its certificate is of an authority that the ca_file here does not hold: give it one of this tree's, or add \
                 its authority here",
            ),
            CertificateError::NotValidForName => {
                Refusal::new(Reason::WrongName, "its certificate is for another: mend the address, or its certificate")
            }
            CertificateError::NotValidForNameContext { expected, presented } => Refusal::new(
                Reason::WrongName,
                format!(
                    "its certificate is not for {} but for {}: mend the address, or its certificate",
                    expected.to_str(),
                    presented.join(", ")
                ),
            ),
            other => Refusal::new(Reason::BadCertificate, format!("its certificate is no good: {other}")),
        }
    }
}

/// Says what the far side has against us.
fn alert_text(alert: AlertDescription) -> String {
    let why = match alert {
        // The latter if its authority is called alike.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "its ca_file does not hold the authority of this process's certificate: give this one another, or add the authority over there"
        }
        AlertDescription::CertificateExpired => {
            "this process's certificate has expired, or is not valid yet: put a new one in its place"
        }
        AlertDescription::CertificateRequired => "it wants a certificate, and none was shown",
        AlertDescription::BadCertificate => "this process's certificate is not for the name that was dialled",
        other => return format!("it refuses this process's certificate ({other:?}): its own log says why"),
    };
    format!("it refuses this process's certificate: {why}")
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.reason.as_str())
    }
}

impl std::error::Error for Refusal {}

/// What is counted of one place and reason.
#[derive(Debug, Default)]
struct Cell {
    count: AtomicU64,
    said: Mutex<Option<Instant>>,
}

/// Counts refusals by place and reason, and says them.
#[derive(Debug, Default)]
pub(super) struct Refusals([[Cell; Reason::ALL.len()]; At::ALL.len()]);

impl Refusals {
    /// Counts a refusal.
    pub(super) fn count(&self, at: At, reason: Reason) {
        self.cell(at, reason).count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts and says a connection from `peer` that was refused; of many like it in a row, one every 10 s is said.
    pub(super) fn say(&self, at: At, peer: &str, refusal: &Refusal) {
        self.count(at, refusal.reason);
        let mut said = self.cell(at, refusal.reason).said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| SAY_EVERY <= at.elapsed()) {
            *said = Some(Instant::now());
            let (port, reason, text) = (at.as_str(), refusal.reason.as_str(), &refusal.text);
            tracing::warn!(port, peer, reason, text, "connection refused");
        }
    }

    /// Returns how many there were.
    pub(super) fn get(&self, at: At, reason: Reason) -> u64 {
        self.cell(at, reason).count.load(Ordering::Relaxed)
    }

    fn cell(&self, at: At, reason: Reason) -> &Cell {
        &self.0[at as usize][reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_word_and_says_what_to_do() {
        let check = |error: TlsError, reason: Reason, said: &str| {
            let refusal = Refusal::of(&io::Error::new(io::ErrorKind::InvalidData, error)).unwrap();
            assert_eq!(refusal.reason, reason);
            assert!(refusal.text.contains(said), "{refusal}");
        };
        let certificate = TlsError::InvalidCertificate;
        check(TlsError::InvalidMessage(InvalidMessage::InvalidContentType), Reason::PlainText, "speaks no TLS");
        check(TlsError::NoCertificatesPresented, Reason::NoCertificate, "give it one");
        check(certificate(CertificateError::UnknownIssuer), Reason::UnknownAuthority, "ca_file");
        check(certificate(CertificateError::Expired), Reason::Expired, "put a new one");
        check(certificate(CertificateError::NotValidYet), Reason::NotYetValid, "compare the clocks");
        check(certificate(CertificateError::NotValidForName), Reason::WrongName, "for another");
        check(certificate(CertificateError::Revoked), Reason::BadCertificate, "no good");
        check(TlsError::AlertReceived(AlertDescription::UnknownCA), Reason::RefusedByPeer, "add the authority");
        check(TlsError::AlertReceived(AlertDescription::CertificateExpired), Reason::RefusedByPeer, "has expired");
        check(TlsError::AlertReceived(AlertDescription::AccessDenied), Reason::RefusedByPeer, "AccessDenied");
        check(TlsError::DecryptError, Reason::Malformed, "no TLS as it should be");
        assert_eq!(Refusal::of(&io::Error::from(io::ErrorKind::UnexpectedEof)), None);
    }

    #[test]
    fn places_and_reasons_are_counted_apart() {
        let refusals = Refusals::default();
        refusals.count(At::Grpc, Reason::Expired);
        refusals.say(At::Grpc, "10.0.0.1:1", &Refusal::new(Reason::Expired, "renew"));
        for (at, reason) in At::ALL.into_iter().flat_map(|at| Reason::ALL.map(|reason| (at, reason))) {
            let expected = if (at, reason) == (At::Grpc, Reason::Expired) { 2 } else { 0 };
            assert_eq!(refusals.get(at, reason), expected, "{at:?} {reason:?}");
        }
    }
}
