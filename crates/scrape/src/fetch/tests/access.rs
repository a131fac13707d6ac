//! How a server is asked: credentials, headers, redirects, proxies, TLS.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firetower_daemon::{Connector, Listener, Stream, chain};
use firetower_model::{Authorization, HttpAccess, ProxyAccess, Secret, TlsAccess, TlsVersion};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::{Puller, Server, plain};
use crate::fetch::{Client, EnvironmentProxies, Tls};

fn text(text: &str) -> Secret {
    Secret::Text(text.into())
}

/// Lets the time go by after which files of secrets are looked at again.
async fn let_files_be_looked_at() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3)).await;
    tokio::time::resume();
}

impl Puller {
    fn asking(http: HttpAccess, folder: &Path) -> Puller {
        let (folder, environment) = (folder.to_owned(), EnvironmentProxies::default());
        let client = Client::of_folder(Connector::tcp(), Tls::none(), folder, environment);
        Puller { client, http, ..Puller::new() }
    }

    async fn page(&mut self, url: &str) -> Result<String, String> {
        self.get(url).await.map(|(page, _)| page).map_err(|error| format!("{}: {}", error.reason(), chain(&error)))
    }
}

#[tokio::test]
async fn requests_say_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), " t0k3n \n").unwrap();
    let server = Server::start(|_| plain("a 1\n")).await;
    let check = async |http: HttpAccess, expected: &[&str]| {
        let mut puller = Puller::asking(http, folder.path());
        let asked = puller.page(&server.url("/")).await;
        let request = server.requests.lock().unwrap().pop();
        match asked {
            Ok(_) => expected.iter().for_each(|line| {
                let request = request.as_deref().unwrap();
                assert!(request.contains(&format!("\r\n{line}\r\n")), "{line}: {request}");
            }),
            Err(error) => assert!(expected.iter().all(|part| error.contains(part)), "{error}"),
        }
    };
    let of = |authorization| HttpAccess { authorization: Some(authorization), ..HttpAccess::default() };
    let basic = |password| Authorization::Basic { username: text("ann"), password };
    let bearer = |credentials| Authorization::Credentials { scheme: "Bearer".into(), credentials };
    check(of(basic(text("b: c"))), &["Authorization: Basic YW5uOmI6IGM="]).await;
    check(of(bearer(Secret::File("token".into()))), &["Authorization: Bearer t0k3n"]).await;
    let absolute = Secret::File(folder.path().join("token"));
    check(of(bearer(absolute)), &["Authorization: Bearer t0k3n"]).await;
    check(of(bearer(Secret::File("none".into()))), &["access: prepare the request: read ", "none"]).await;
    check(of(bearer(text("a\r\nb"))), &["the value of header Authorization has a line break"]).await;
    let headers = vec![("X-A".to_owned(), vec![text("1"), Secret::File("token".into())])];
    check(HttpAccess { headers, ..HttpAccess::default() }, &["X-A: 1", "X-A: t0k3n"]).await;

    let mut puller = Puller { is_compressed: false, ..Puller::new() };
    puller.page(&server.url("/")).await.unwrap();
    let request = server.requests.lock().unwrap().pop().unwrap();
    assert!(request.contains("\r\nAccept-Encoding: identity\r\n") && request.ends_with("\r\n\r\n"), "{request}");
}

#[tokio::test]
async fn a_file_of_credentials_is_read_again_once_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let server = Server::start(|_| plain("a 1\n")).await;
    let credentials = Secret::File("token".into());
    let authorization = Some(Authorization::Credentials { scheme: "Bearer".into(), credentials });
    let mut puller = Puller::asking(HttpAccess { authorization, ..HttpAccess::default() }, folder.path());
    let mut check = async |content: Option<&str>, expected: Option<&str>| {
        content.map_or_else(|| _ = fs::remove_file(&path), |content| fs::write(&path, content).unwrap());
        let_files_be_looked_at().await;
        let asked = puller.page(&server.url("/")).await;
        assert_eq!(asked.is_ok(), expected.is_some(), "{asked:?}");
        let request = server.requests.lock().unwrap().pop().unwrap_or_default();
        assert!(expected.is_none_or(|token| request.contains(&format!("Bearer {token}\r\n"))), "{request}");
    };
    check(Some("one"), Some("one")).await;
    check(Some("two"), Some("two")).await;
    check(None, None).await;
    check(Some("3"), Some("3")).await;
}

#[tokio::test]
async fn a_redirect_may_be_refused_and_takes_no_secret_elsewhere() {
    let other = Server::start(|_| plain("b 1\n")).await;
    let away = format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {}\r\n\r\n", other.url("/b"));
    let away = away.replace("127.0.0.1", "localhost");
    let server = Server::start(move |path| match path {
        "/away" => away.clone().into_bytes(),
        "/near" => b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /a\r\n\r\n".to_vec(),
        _ => plain("a 1\n"),
    })
    .await;
    let authorization = Some(Authorization::Credentials { scheme: "Bearer".into(), credentials: text("t") });
    let headers = vec![("Cookie".to_owned(), vec![text("c")]), ("X-A".to_owned(), vec![text("1")])];
    let http = HttpAccess { authorization, headers, ..HttpAccess::default() };
    let mut puller = Puller::asking(http.clone(), Path::new(""));
    for (path, page, seen_by, is_trusted) in [("/near", "a 1\n", &server, true), ("/away", "b 1\n", &other, false)] {
        assert_eq!(puller.page(&server.url(path)).await.as_deref(), Ok(page));
        let request = seen_by.requests.lock().unwrap().pop().unwrap();
        for line in ["Authorization: Bearer t\r\n", "Cookie: c\r\n"] {
            assert_eq!(request.contains(line), is_trusted, "{request}");
        }
        assert!(request.contains("X-A: 1\r\n"), "{request}");
    }
    let mut puller = Puller::asking(HttpAccess { follow_redirects: false, ..http }, Path::new(""));
    let refused = Err("http_status: server returned HTTP status 302 Found".to_owned());
    assert_eq!(puller.page(&server.url("/near")).await, refused);
    assert!(puller.kept.is_some());
}

/// A proxy that connects, or answers itself; it notes what it was asked.
async fn start_proxy(seen: Arc<Mutex<Vec<String>>>) -> String {
    let mut listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().to_owned();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await;
            tokio::spawn(pass_on(stream, Arc::clone(&seen)));
        }
    });
    address
}

async fn pass_on(mut stream: Stream, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let request = String::from_utf8(request).unwrap();
    let target = request.split(' ').nth(1).unwrap().to_owned();
    seen.lock().unwrap().push(request.clone());
    if !request.starts_with("CONNECT") {
        stream.write_all(&plain("through 1\n")).await.unwrap();
        return;
    }
    match TcpStream::connect(&target).await {
        Ok(mut server) => {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut server).await;
        }
        Err(_) => _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await,
    }
}

#[tokio::test]
async fn a_proxy_asks_for_http_and_connects_for_https() {
    let authority = Authority::new();
    let server = authority.server(false).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let proxy = start_proxy(Arc::clone(&seen)).await;
    let access = HttpAccess {
        proxy: ProxyAccess {
            url: Some(format!("http://u:p@{proxy}")),
            connect_headers: vec![("X-Connect".to_owned(), vec![text("1")])],
            ..ProxyAccess::default()
        },
        tls: TlsAccess { ca: Some(text(&authority.ca.pem())), ..TlsAccess::default() },
        ..HttpAccess::default()
    };
    let mut puller = Puller::asking(access, Path::new(""));
    assert_eq!(puller.page("http://far.example:81/m?x=y").await.as_deref(), Ok("through 1\n"));
    let request = seen.lock().unwrap().pop().unwrap();
    assert!(request.starts_with("GET http://far.example:81/m?x=y HTTP/1.1\r\nHost: far.example:81\r\n"), "{request}");
    assert!(request.contains("Proxy-Authorization: Basic dTpw\r\n") && !request.contains("X-Connect"), "{request}");

    puller.kept = None;
    let url = server.url("/m").replace("http:", "https:");
    assert_eq!(puller.page(&url).await.as_deref(), Ok("tls 1\n"));
    let request = seen.lock().unwrap().pop().unwrap();
    assert!(request.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.address)), "{request}");
    assert!(request.contains("Proxy-Authorization: Basic dTpw\r\nX-Connect: 1\r\n"), "{request}");
    assert!(!server.requests.lock().unwrap()[0].contains("Proxy"));

    puller.kept = None;
    let error = puller.page("https://127.0.0.1:1/").await.unwrap_err();
    assert_eq!(error, format!("proxy: connect through the proxy {proxy}: it says 502 Bad Gateway"));
}

/// Signs the certificates of servers and clients.
struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority { ca: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Returns certificate and key for a name.
    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.ca).unwrap(), key)
    }

    /// Starts a server with a certificate for `127.0.0.1`, which may ask for one in turn.
    async fn server(&self, asks_for_certificate: bool) -> Server {
        let (certificate, key) = self.sign("127.0.0.1");
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if asks_for_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.ca.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        Server::start_tls(TlsAcceptor::from(Arc::new(config)), |_| plain("tls 1\n")).await
    }
}

#[tokio::test]
async fn tls_is_as_the_job_says() {
    let authority = Authority::new();
    let server = authority.server(false).await;
    let url = server.url("/").replace("http:", "https:");
    let ca = Some(text(&authority.ca.pem()));
    let of_ca = TlsAccess { ca, ..TlsAccess::default() };
    let check = async |tls: TlsAccess, expected: Result<(), &str>| {
        let mut puller = Puller::asking(HttpAccess { tls, ..HttpAccess::default() }, Path::new(""));
        match (puller.page(&url).await, expected) {
            (Ok(page), Ok(())) => assert_eq!(page, "tls 1\n"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error} does not contain {part}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    };
    check(TlsAccess::default(), Err("UnknownIssuer")).await;
    check(of_ca.clone(), Ok(())).await;
    check(TlsAccess { insecure_skip_verify: true, ..TlsAccess::default() }, Ok(())).await;
    check(TlsAccess { server_name: Some("other".into()), ..of_ca.clone() }, Err("tls: agree on TLS")).await;
    check(TlsAccess { server_name: Some("a b".into()), ..of_ca.clone() }, Err("server_name \"a b\"")).await;
    check(TlsAccess { max_version: Some(TlsVersion::Tls12), ..of_ca.clone() }, Ok(())).await;
    check(TlsAccess { min_version: Some(TlsVersion::Tls13), ..of_ca }, Ok(())).await;
    check(TlsAccess { ca: Some(text("nothing")), ..TlsAccess::default() }, Err("the CA is no PEM")).await;
}

#[tokio::test]
async fn a_client_shows_its_certificate_and_takes_a_new_one_up() {
    let authority = Authority::new();
    let server = authority.server(true).await;
    let url = server.url("/").replace("http:", "https:");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let (stranger, friend) = (Authority::new().sign("me"), authority.sign("me"));
    let write_pair = |(certificate, key): &(rcgen::Certificate, KeyPair)| {
        write("me.pem", &certificate.pem());
        write("me.key", &key.serialize_pem());
    };
    write("ca.pem", &authority.ca.pem());
    write_pair(&stranger);
    let file = |name: &str| Some(Secret::File(name.into()));
    let tls = TlsAccess { ca: file("ca.pem"), cert: file("me.pem"), key: file("me.key"), ..TlsAccess::default() };
    let mut puller = Puller::asking(HttpAccess { tls, ..HttpAccess::default() }, folder.path());
    assert!(puller.page(&url).await.is_err());
    write_pair(&friend);
    let_files_be_looked_at().await;
    for _ in 0..2 {
        assert_eq!(puller.page(&url).await.as_deref(), Ok("tls 1\n"));
    }
    let connections = || server.connections.load(std::sync::atomic::Ordering::SeqCst);
    let before = connections();
    write_pair(&authority.sign("me"));
    let_files_be_looked_at().await;
    assert_eq!(puller.page(&url).await.as_deref(), Ok("tls 1\n"));
    assert_eq!(connections(), before + 1, "a new certificate needs a new connection");
}

#[tokio::test]
async fn targets_of_one_job_share_what_they_are_asked_with() {
    let puller = Puller::new();
    let request = |url| {
        let wanted = crate::fetch::Wanted {
            url,
            http: &puller.http,
            accept: "a/b",
            is_compressed: true,
            notice: ("X-Time", Duration::from_millis(1_500)),
            timeout: Duration::from_secs(1),
        };
        puller.client.prepare(&wanted).unwrap()
    };
    let (one, two) = (request("http://h:1/"), request("http://h:2/"));
    assert!(Arc::ptr_eq(&one.access, &two.access) && Arc::ptr_eq(&one.shared, &two.shared));
    assert_eq!(&*one.shared, "User-Agent: Firetower/0.1.0\r\nAccept: a/b\r\nAccept-Encoding: gzip\r\nX-Time: 1.5\r\n");
}
