//! Parents, children and strangers over real connections.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use axum::routing::{get, post};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use super::refusal::{At, Reason};
use super::*;
use crate::net::{Peer, Stream};

const MINUTE: Duration = Duration::from_secs(60);

/// An authority, and the folder that its certificates are written to.
struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        Authority { ca, folder }
    }

    /// Writes a certificate for `name` that is valid from `age` ago for `life`; returns where its files are.
    fn sign(&self, name: &str, age: Duration, life: Duration) -> CertificateFiles {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - age).into();
        params.not_after = params.not_before + life;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        let file = |ending: &str| self.folder.path().join(format!("{name}{ending}"));
        fs::write(file(".pem"), certificate.pem()).unwrap();
        fs::write(file("-key.pem"), key.serialize_pem()).unwrap();
        CertificateFiles {
            ca: Some(self.folder.path().join("ca.pem")),
            certificate: file(".pem"),
            key: file("-key.pem"),
        }
    }

    /// Returns what the node `name` goes by, with a certificate that is good for an hour.
    fn security(&self, name: &str) -> Security {
        open(self.sign(name, MINUTE, 60 * MINUTE))
    }
}

fn open(files: CertificateFiles) -> Security {
    Security::open(Some(files), None, None, Clock::system()).unwrap()
}

/// A parent that greets every child that it lets in.
struct Parent {
    security: Security,
    address: String,
    admitted: tokio::sync::mpsc::UnboundedReceiver<Peer>,
    _task: tokio::task::JoinSet<()>,
}

async fn parent(security: Security, port: Port) -> Parent {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().to_owned();
    let mut listener = security.secure(listener, port);
    let (tell, admitted) = tokio::sync::mpsc::unbounded_channel();
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        let mut held: Vec<Stream> = Vec::new();
        loop {
            let (mut stream, peer) = listener.accept().await;
            let _ = stream.write_all(b"welcome").await;
            held.push(stream);
            let _ = tell.send(peer);
        }
    });
    Parent { security, address, admitted, _task: task }
}

/// Dials as a child does, and returns why that failed.
async fn dial(parent: &Parent, child: &Security, node: &str) -> Option<String> {
    let connector = child.connector_to(&Connector::tcp(), node);
    match connector.connect(&parent.address).await {
        Err(error) => Some(error.to_string()),
        Ok(mut stream) => {
            let mut said = [0; 7];
            stream.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"welcome");
            None
        }
    }
}

/// Waits until the parent has counted one refusal of this kind at `at`.
async fn refused(security: &Security, at: At, reason: Reason) {
    while security.0.refusals.get(at, reason) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_child_is_known_by_its_certificate() {
    let authority = Authority::new();
    let mut parent = parent(authority.security("dub-p0"), Port::Grpc).await;
    assert_eq!(dial(&parent, &authority.security("dub-s0"), "dub-p0").await, None);
    let peer = parent.admitted.recv().await.unwrap();
    assert!(peer.may_be("dub-s0") && !peer.may_be("dub-s1"), "{peer:?}");
    assert!(Peer::at("10.0.0.1:1").may_be("anybody"), "without certificates nobody is doubted");
}

#[tokio::test]
async fn strangers_are_refused_counted_and_told_why() {
    let authority = Authority::new();
    let expired = |name: &str| open(authority.sign(name, 2 * MINUTE, MINUTE));
    let child = authority.security("dub-s0");
    let check = async |server: Security, child: Security, at_parent: Reason, at_child: Option<Reason>, said: &str| {
        let parent = parent(server, Port::Grpc).await;
        let error = dial(&parent, &child, "dub-p0").await.unwrap();
        assert!(error.contains(said), "{error}");
        refused(&parent.security, At::Grpc, at_parent).await;
        if let Some(reason) = at_child {
            refused(&child, At::Parent, reason).await;
        }
    };
    let by_peer = Reason::RefusedByPeer;
    let ours = authority.security("dub-p0");
    let stranger = Authority::new();
    check(ours.clone(), stranger.security("dub-s0"), by_peer, Some(Reason::UnknownAuthority), "ca_file here").await;
    // A stranger that believes our authority, and has a certificate of its own.
    let half =
        CertificateFiles { ca: authority.sign("x", MINUTE, MINUTE).ca, ..stranger.sign("dub-s0", MINUTE, 2 * MINUTE) };
    check(ours.clone(), open(half), Reason::UnknownAuthority, Some(by_peer), "ca_file does not hold").await;
    check(ours.clone(), expired("dub-s0"), Reason::Expired, Some(by_peer), "has expired").await;
    check(expired("dub-p0"), child.clone(), by_peer, Some(Reason::Expired), "has expired").await;
    check(authority.security("dub-p1"), child.clone(), by_peer, Some(Reason::WrongName), "not for dub-p0").await;
}

#[tokio::test]
async fn plain_text_is_answered_in_its_own_words() {
    let authority = Authority::new();
    let check = async |port: Port, said: &str, expected: &str| {
        let parent = parent(authority.security("dub-p0"), port).await;
        let mut stream = Connector::tcp().connect(&parent.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(expected), "{answer}");
        refused(&parent.security, port.into(), Reason::PlainText).await;
    };
    check(Port::Http, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", "\"error\":\"this port speaks TLS only: ask by https\"")
        .await;
    check(Port::Grpc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "this port takes TLS only").await;

    let plain = parent(Security::none(), Port::Grpc).await;
    let child = authority.security("dub-s0");
    let error = dial(&plain, &child, "dub-p0").await.unwrap();
    assert!(error.contains("it speaks no TLS"), "{error}");
    refused(&child, At::Parent, Reason::PlainText).await;
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out() {
    let authority = Authority::new();
    let parent = parent(authority.security("dub-p0"), Port::Grpc).await;
    let mut silent = Vec::new();
    for _ in 0..520 {
        silent.push(Connector::tcp().connect(&parent.address).await.unwrap());
    }
    assert_eq!(dial(&parent, &authority.security("dub-s0"), "dub-p0").await, None);
    refused(&parent.security, At::Grpc, Reason::CrowdedOut).await;
}

#[tokio::test]
async fn new_files_are_used_and_broken_ones_are_not() {
    let authority = Authority::new();
    let mut parent = parent(authority.security("dub-p0"), Port::Grpc).await;
    let files = authority.sign("dub-s0", 2 * MINUTE, MINUTE);
    let child = open(files.clone());
    assert!(dial(&parent, &child, "dub-p0").await.is_some(), "it has expired");
    let followed = child.0.certificates.as_ref().unwrap();

    fs::write(&files.certificate, "nothing").unwrap();
    let Look::Broken(error) = followed.look() else { panic!("it makes no sense") };
    assert_eq!(error.to_string(), format!("{} holds no certificate", files.certificate.display()));
    assert!(matches!(followed.look(), Look::Same), "each fault is told once");
    authority.sign("dub-s0", MINUTE, 60 * MINUTE);
    assert!(matches!(followed.look(), Look::Renewed));
    assert_eq!(dial(&parent, &child, "dub-p0").await, None);
    assert!(parent.admitted.recv().await.unwrap().may_be("dub-s0"));

    // Somebody else's key.
    fs::write(&files.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(followed.look(), Look::Broken(SecurityError::Unusable { .. })));
    assert_eq!(dial(&parent, &child, "dub-p0").await, None);
    let value = |name: &str| {
        let families = child.families();
        let family = families.iter().find(|family| family.name == name).unwrap();
        family.lines[0].value
    };
    assert_eq!((value("firetower_security_files_renewed"), value("firetower_security_files_broken")), (1.0, 2.0));
    let remaining = value("firetower_tls_certificate_remaining_seconds");
    assert!((3_000.0..3_600.0).contains(&remaining), "{remaining}");
}

#[tokio::test]
async fn tokens_open_what_their_role_may() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let file = |name: &str| vec![Path::new(folder.path()).join(name)];
    write("read", "reader-0123456789\n");
    write("operate", "operator-0123456789\n");
    let files = TokenFiles { read: file("read"), operate: file("operate") };
    let security = Security::open(None, Some(files), None, Clock::system()).unwrap();
    let router = Router::new().route("/-/ready", get(async || "ready")).route("/metrics", get(async || "page"));
    let router = security.protect(router.route("/-/reload", post(async || "reloaded")));
    let ask = async |method: &str, path: &str, token: Option<&str>, expected: (u16, &str)| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (status, challenge) =
            (response.status().as_u16(), response.headers().get(header::WWW_AUTHENTICATE).cloned());
        let body = to_bytes(response.into_body(), 1 << 10).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(status == expected.0 && body.contains(expected.1), "{method} {path} {token:?}: {status} {body}");
        assert_eq!(challenge.is_some(), status != 200 && status != 404, "{challenge:?}");
        assert!(token.is_none_or(|token| !body.contains(token)), "a token is never shown");
    };
    let (reader, operator) = (Some("reader-0123456789"), Some("operator-0123456789"));
    ask("GET", "/-/ready", None, (200, "ready")).await;
    ask("GET", "/metrics", None, (401, "\"errorType\":\"unauthorized\"")).await;
    ask("GET", "/metrics", Some("somebody-0123456789"), (401, "not known")).await;
    ask("GET", "/metrics", reader, (200, "page")).await;
    ask("GET", "/metrics", operator, (200, "page")).await;
    ask("GET", "/nowhere", None, (401, "bearer")).await;
    ask("GET", "/nowhere", reader, (404, "")).await;
    ask("POST", "/-/reload", reader, (403, "\"errorType\":\"forbidden\"")).await;
    ask("POST", "/-/reload", operator, (200, "reloaded")).await;

    let followed = security.0.tokens.as_ref().unwrap();
    write("read", "short\n");
    assert!(matches!(followed.look(), Look::Broken(SecurityError::Token { line: 1, .. })));
    ask("GET", "/metrics", reader, (200, "page")).await;
    write("read", "newcomer-0123456789\n");
    assert!(matches!(followed.look(), Look::Renewed));
    ask("GET", "/metrics", reader, (401, "not known")).await;
    ask("GET", "/metrics", Some("newcomer-0123456789"), (200, "page")).await;
    let families = security.families();
    let denied = families.iter().find(|family| family.name == "firetower_http_refused").unwrap();
    assert_eq!(denied.lines.iter().map(|line| line.value).collect::<Vec<_>>(), [2.0, 2.0, 1.0]);
    assert!(!format!("{security:?}").contains("0123456789"));
}
