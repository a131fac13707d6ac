//! A secondary alone that finds its targets, and asks them, in each way that a job can say.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Answer, Answers, Asked, NameServer, Ports, Process, Site, firetower, now_ms, wait_for};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

const LIMIT: Duration = Duration::from_secs(60);

/// A secondary that runs alone on a configuration.
struct Alone {
    process: Process,
    answers: Answers,
    directory: tempfile::TempDir,
    /// Nobody else takes its port meanwhile.
    _ports: Ports,
}

impl Alone {
    fn start(directory: tempfile::TempDir, jobs: &str, name_server: Option<&NameServer>) -> Result<Alone> {
        let mut ports = Ports::claim()?;
        let port = ports.take()?;
        let config = directory.path().join("prometheus.yml");
        fs::write(&config, format!("global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n{jobs}"))?;
        let mut command = Command::new(firetower()?);
        command.args(["secondary", "--standalone", "--http", &format!("127.0.0.1:{port}"), "--scrape-config"]);
        command.arg(config).arg("--data").arg(directory.path().join("data"));
        if let Some(server) = name_server {
            command.args(["--name-servers", &server.address()]);
        }
        let process = Process::start("secondary", directory.path(), &mut command).context("start the secondary")?;
        Ok(Alone { process, answers: Answers::of_port(port), directory, _ports: ports })
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        write(self.directory.path(), name, text).map(drop)
    }

    /// Waits until the targets of a job are as `expected`, instance by instance, in scrapes after `from_ms`.
    fn wait_up(&mut self, job: &str, from_ms: i64, expected: &[(&str, f64)]) -> Result<()> {
        wait_for(&format!("job {job}: {expected:?}"), LIMIT, || {
            self.process.check_running()?;
            let ups = self.answers.series(&format!("up{{job=\"{job}\"}}"))?;
            let newest = ups.iter().filter_map(|up| Some((up.label("instance"), up.samples.last()?)));
            let mut newest: Vec<(&str, f64)> =
                newest.filter(|(_, (at, _))| *at >= from_ms).map(|(instance, (_, up))| (instance, *up)).collect();
            newest.sort_by(|a, b| a.0.cmp(b.0));
            ensure!(newest == expected, "found {newest:?}");
            Ok(Some(()))
        })
        .with_context(|| self.process.last_lines())
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn page() -> Answer {
    (200, "Content-Type: text/plain; version=0.0.4\r\n".into(), "a 1\n".into())
}

fn refused() -> Answer {
    (401, String::new(), String::new())
}

#[test]
fn credentials_and_redirects_are_as_the_job_says() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let token = write(directory.path(), "token", "one\n")?;
    let site = Site::start(None, move |asked: &Asked| match asked.target() {
        "/basic" if asked.has("Authorization: Basic YW5uOnMzY3JldA==") => page(),
        "/bearer" => {
            let current = fs::read_to_string(&token).unwrap_or_default();
            if asked.has(&format!("Authorization: Bearer {}", current.trim())) { page() } else { refused() }
        }
        "/header" if asked.has("X-Scope: one") && asked.has("Accept-Encoding: identity") => page(),
        "/moved" => (302, "Location: /there\r\n".into(), String::new()),
        "/there" => page(),
        _ => refused(),
    })?;
    let address = site.address();
    let job = |name: &str, path: &str, keys: &str| {
        format!(
            "- {{ job_name: {name}, metrics_path: {path}, static_configs: [{{ targets: ['{address}'] }}]{keys} }}\n"
        )
    };
    let jobs = [
        job("basic", "/basic", ", basic_auth: { username: ann, password: s3cret }"),
        job("stranger", "/basic", ""),
        job("bearer", "/bearer", ", authorization: { credentials_file: token }"),
        job("header", "/header", ", enable_compression: false, http_headers: { X-Scope: { values: [one] } }"),
        job("moved", "/moved", ""),
        job("stays", "/moved", ", follow_redirects: false"),
    ];
    let mut alone = Alone::start(directory, &jobs.concat(), None)?;
    let expected =
        [("basic", 1.0), ("stranger", 0.0), ("bearer", 1.0), ("header", 1.0), ("moved", 1.0), ("stays", 0.0)];
    for (job, up) in expected {
        alone.wait_up(job, 0, &[(&address, up)])?;
    }
    alone.write("token", "two\n")?;
    alone.wait_up("bearer", now_ms(), &[(&address, 1.0)])
}

#[test]
fn what_is_listed_is_scraped_and_followed_as_it_changes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let site = Site::start(None, |_| page())?;
    let (port, address) = (site.port(), site.address());
    let again = format!("localhost:{port}");
    let group = |targets: &[&str]| format!("[{{ \"targets\": {targets:?}, \"labels\": {{ \"zone\": \"z\" }} }}]");
    write(directory.path(), "targets.json", &group(&[&address]))?;
    let list = Arc::new(Mutex::new(group(&[&address])));
    let listed = Arc::clone(&list);
    let lister = Site::start(None, move |_| {
        let body = listed.lock().map(|list| list.clone()).unwrap_or_default();
        (if body.is_empty() { 500 } else { 200 }, "Content-Type: application/json\r\n".into(), body)
    })?;
    let names = NameServer::start(&[Ipv4Addr::LOCALHOST])?;
    let jobs = [
        "- { job_name: files, file_sd_configs: [{ files: [targets.json] }] }\n".to_owned(),
        format!(
            "- {{ job_name: list, http_sd_configs: [{{ url: 'http://{}/', refresh_interval: 1s }}] }}\n",
            lister.address()
        ),
        format!(
            "- {{ job_name: names, dns_sd_configs: [{{ names: [h.example], type: A, port: {port}, refresh_interval: 1s }}] }}\n"
        ),
        format!("- {{ job_name: many, target_limit: 1, static_configs: [{{ targets: ['{address}', '{again}'] }}] }}\n"),
    ];
    let mut alone = Alone::start(directory, &jobs.concat(), Some(&names))?;
    for job in ["files", "list", "names"] {
        alone.wait_up(job, 0, &[(&address, 1.0)])?;
    }
    alone.wait_up("many", 0, &[(&address, 0.0), (&again, 0.0)])?;
    ensure!(alone.process.stderr().contains("exceed its target_limit of 1"), "{}", alone.process.last_lines());

    alone.write("targets.json", &group(&[&address, &again]))?;
    *list.lock().expect("nobody panics with it") = group(&[&address, &again]);
    let third = format!("127.0.0.2:{port}");
    names.set(&[Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)]);
    let from_ms = now_ms();
    alone.wait_up("files", from_ms, &[(&address, 1.0), (&again, 1.0)])?;
    alone.wait_up("list", from_ms, &[(&address, 1.0), (&again, 1.0)])?;
    // Nobody listens at the third address.
    alone.wait_up("names", from_ms, &[(&address, 1.0), (&third, 0.0)])?;

    alone.write("targets.json", "[{ \"target\": 1 }]")?;
    list.lock().expect("nobody panics with it").clear();
    wait_for("both faults are told", LIMIT, || {
        let said = alone.process.stderr();
        Ok((said.contains("targets.json") && said.contains("HTTP status 500")).then_some(()))
    })?;
    let from_ms = now_ms() + 2_000;
    alone.wait_up("files", from_ms, &[(&address, 1.0), (&again, 1.0)])?;
    alone.wait_up("list", from_ms, &[(&address, 1.0), (&again, 1.0)])
}

#[test]
fn tls_with_certificates_of_ones_own_and_a_proxy() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let sign = |name: &str| -> Result<(rcgen::Certificate, KeyPair)> {
        let key = KeyPair::generate()?;
        Ok((CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &ca)?, key))
    };
    let (mine, my_key) = sign("me")?;
    write(directory.path(), "ca.pem", &ca.pem())?;
    write(directory.path(), "me.pem", &mine.pem())?;
    write(directory.path(), "me.key", &my_key.serialize_pem())?;
    let site = Site::start(Some(tls_that_asks_for_certificates(&ca, sign("127.0.0.1")?)?), |_| page())?;
    let proxy = Site::start(None, |asked| match asked.target() {
        "http://far.example:81/metrics" if asked.has("Proxy-Authorization: Basic dTpw") => page(),
        _ => refused(),
    })?;
    let address = site.address();
    let job = |name: &str, tls: &str| {
        format!(
            "- {{ job_name: {name}, scheme: https, static_configs: [{{ targets: ['{address}'] }}], tls_config: {tls} }}\n"
        )
    };
    let jobs = [
        job("friend", "{ ca_file: ca.pem, cert_file: me.pem, key_file: me.key }"),
        job("nobody", "{ ca_file: ca.pem }"),
        job("distrust", "{ cert_file: me.pem, key_file: me.key }"),
        job("careless", "{ insecure_skip_verify: true, cert_file: me.pem, key_file: me.key }"),
        format!(
            "- {{ job_name: far, proxy_url: 'http://u:p@{}', static_configs: [{{ targets: ['far.example:81'] }}] }}\n",
            proxy.address()
        ),
    ];
    let mut alone = Alone::start(directory, &jobs.concat(), None)?;
    for (job, up) in [("friend", 1.0), ("nobody", 0.0), ("distrust", 0.0), ("careless", 1.0)] {
        alone.wait_up(job, 0, &[(&address, up)])?;
    }
    alone.wait_up("far", 0, &[("far.example:81", 1.0)])
}

fn tls_that_asks_for_certificates(
    ca: &CertifiedIssuer<'_, KeyPair>,
    (certificate, key): (rcgen::Certificate, KeyPair),
) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_client_cert_verifier(verifier);
    Ok(Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key)?))
}
