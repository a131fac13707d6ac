//! Who gets in: certificates between tiers, HTTPS and tokens for those who ask, and what strangers are told.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Answers, Layout, Ports, Process, Tree, firetower, wait_for};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const LIMIT: Duration = Duration::from_secs(60);

fn layout() -> Layout {
    Layout { is_secure: true, targets: 10, ..Layout::default() }
}

#[test]
fn a_tree_behind_certificates_and_tokens_adds_up() -> Result<()> {
    Tree::check(layout(), |tree| {
        tree.wait_complete("global-0")?;
        for name in tree.secondaries() {
            tree.wait_sampled(&name, 2)?;
        }
        tree.wait_exact("global-0", tree.grid())?;
        for name in tree.node_names() {
            let answers = tree.ask(&name);
            let remaining = answers.metric("firetower_tls_certificate_remaining_seconds")?.context("no expiry")?;
            ensure!((364.0 * 86_400.0..=365.0 * 86_400.0).contains(&remaining), "{name}: {remaining} s");
        }
        check_roles(tree)?;
        check_commands(tree)
    })
}

fn check_roles(tree: &Tree) -> Result<()> {
    let certs = tree.directory().join("certs");
    for name in ["global-0", "dub-p0", "dub-s0"] {
        let nobody = Answers::of_tls_port(tree.port(name), &certs.join("ca.pem"))?;
        ensure!(nobody.is_ready()? && nobody.get("/-/healthy")?.0 == 200, "{name} must tell anybody that it lives");
        let (status, text) = nobody.get("/metrics")?;
        ensure!(status == 401 && text.contains("\"errorType\":\"unauthorized\""), "{name}: {status} {text}");
        let reader = tree.ask(name);
        let (status, text) = reader.post("/-/reload")?;
        ensure!(status == 403 && text.contains("\"errorType\":\"forbidden\""), "{name}: {status} {text}");
        let operator = nobody.with_token(&certs.join("operate.token"))?;
        ensure!(operator.post("/-/reload")?.0 == 200 && operator.get("/metrics")?.0 == 200, "{name}: not operated");
        for reason in ["no_token", "not_allowed"] {
            let series = format!("firetower_http_refused_total{{reason=\"{reason}\"}}");
            ensure!(reader.metric(&series)? == Some(1.0), "{name}: {reason}");
        }
        let plain = Answers::of_port(tree.port(name));
        let (status, text) = plain.get("/-/ready")?;
        ensure!(status == 400 && text.contains("ask by https"), "{name}: {status} {text}");
    }
    // A token is withdrawn, and another given out, while the monitor runs.
    let old = tree.ask("global-0");
    fs::write(certs.join("read.token"), "another-token-0123456789\n")?;
    wait_for("the old token is nobody's", LIMIT, || Ok((old.get("/api/v1/status")?.0 == 401).then_some(())))?;
    ensure!(tree.ask("global-0").get("/api/v1/status")?.0 == 200, "the new token opens nothing");
    Ok(())
}

fn check_commands(tree: &Tree) -> Result<()> {
    let ask = |arguments: &[&str]| -> Result<Output> {
        Ok(Command::new(firetower()?).args(arguments).arg("--topology").arg(tree.topology()).output()?)
    };
    for arguments in [&["status"][..], &["health"], &["query", "up", "--node", "dub-s0"]] {
        let output = ask(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let refused = ask(&["status", "--ca", "/dev/null"])?;
    ensure!(refused.status.code() == Some(1), "an authority that is none was believed");
    let plain = ask(&["status", "--url", &format!("http://127.0.0.1:{}", tree.port("global-0"))])?;
    let said = String::from_utf8_lossy(&plain.stderr);
    ensure!(said.contains("this port speaks TLS only") && said.contains("--topology FILE"), "{said}");
    Ok(())
}

/// A child that should not be one, what its parent counts, and what is said on both sides.
struct Case {
    name: &'static str,
    topology: String,
    metric: &'static str,
    parent_says: &'static str,
    child_says: &'static str,
}

#[test]
fn strangers_are_refused_counted_and_told_why() -> Result<()> {
    Tree::check(Layout { targets: 5, ..layout() }, |tree| {
        tree.wait_complete("global-0")?;
        tree.kill("dub-s1")?;
        for case in cases(tree)? {
            check_case(tree, &case).with_context(|| case.name.to_owned())?;
        }
        greet_without_certificate(tree)?;
        let metric = "firetower_tls_refused_total{port=\"grpc\",reason=\"no_certificate\"}";
        wait_for("no certificate is counted", LIMIT, || counted(tree, "dub-p0", metric))?;
        ensure!(tree.said("dub-p0")?.contains("it shows no certificate: give it one"), "{}", tree.said("dub-p0")?);
        // Who belongs here was never disturbed.
        tree.restart("dub-s1")?;
        tree.wait_complete("global-0").map(drop)
    })
}

fn cases(tree: &Tree) -> Result<Vec<Case>> {
    let (directory, text) = (tree.directory(), fs::read_to_string(tree.topology())?);
    let (plain, _) = text.split_once("tls:\n").context("no tls in the topology")?;
    make(directory, &["certs", "other", "--topology", "topology.yaml"])?;
    copy_folder(&directory.join("certs"), &directory.join("expired"))?;
    make(directory, &["certs", "expired", "--topology", "topology.yaml", "--renew", "--days", "0"])?;
    let key = |text: &str, key: &str, file: &str| {
        let (start, rest) = text.split_once(&format!("{key}: ")).expect("the key is there");
        let (_, end) = rest.split_once('\n').expect("more follows");
        format!("{start}{key}: {file}\n{end}")
    };
    let own = |certificate: &str, private: &str| key(&key(&text, "cert_file", certificate), "key_file", private);
    let refused = |reason| match reason {
        "unknown_authority" => "firetower_tls_refused_total{port=\"grpc\",reason=\"unknown_authority\"}",
        "expired" => "firetower_tls_refused_total{port=\"grpc\",reason=\"expired\"}",
        "plain_text" => "firetower_tls_refused_total{port=\"grpc\",reason=\"plain_text\"}",
        _ => "firetower_tls_refused_total{port=\"grpc\",reason=\"refused_by_peer\"}",
    };
    Ok(vec![
        Case {
            name: "a certificate of another authority",
            topology: own("other/dub-s1.pem", "other/dub-s1-key.pem"),
            metric: refused("unknown_authority"),
            parent_says: "its certificate is of an authority that the ca_file here does not hold",
            child_says: "its ca_file does not hold the authority of this process's certificate",
        },
        Case {
            name: "a parent of another authority",
            topology: key(&text, "ca_file", "other/ca.pem"),
            metric: refused("refused_by_peer"),
            parent_says: "it refuses this process's certificate: its ca_file does not hold",
            child_says: "its certificate is of an authority that the ca_file here does not hold",
        },
        Case {
            name: "an expired certificate",
            topology: own("expired/dub-s1.pem", "expired/dub-s1-key.pem"),
            metric: refused("expired"),
            parent_says: "its certificate has expired",
            child_says: "this process's certificate has expired",
        },
        Case {
            name: "plain text",
            topology: plain.to_owned(),
            metric: refused("plain_text"),
            parent_says: "it speaks no TLS: give its topology the same tls",
            child_says: "this port takes TLS only",
        },
        Case {
            name: "another's name",
            topology: own("certs/dub-s0.pem", "certs/dub-s0-key.pem"),
            metric: "firetower_relay_refusals_total{direction=\"sent\",reason=\"wrong_identity\"}",
            parent_says: "its certificate does not name the node that it claims to be",
            child_says: "this node's certificate is for dub-s0, localhost and not for dub-s1",
        },
    ])
}

fn check_case(tree: &Tree, case: &Case) -> Result<()> {
    let slug = case.name.replace([' ', '\''], "-");
    let topology = tree.directory().join(format!("{slug}.yaml"));
    fs::write(&topology, &case.topology)?;
    let mut command = Command::new(firetower()?);
    command.args(["secondary", "--node", "dub-s1", "--topology"]).arg(&topology);
    command.arg("--data").arg(tree.directory().join("data").join(&slug));
    let stranger = Process::start(&slug, tree.directory(), &mut command)?;
    wait_for("it is counted", LIMIT, || counted(tree, "dub-p0", case.metric))?;
    wait_for("the parent says why", LIMIT, || Ok(tree.said("dub-p0")?.contains(case.parent_says).then_some(())))?;
    wait_for("the child says why", LIMIT, || Ok(stranger.stderr().contains(case.child_says).then_some(())))
        .with_context(|| stranger.last_lines())?;
    let keys = fs::read_to_string(tree.directory().join("certs/dub-s0-key.pem"))?;
    let secret = keys.lines().nth(1).context("a key")?;
    ensure!(!stranger.stderr().contains(secret) && !tree.said("dub-p0")?.contains(secret), "a key is in a log");
    Ok(())
}

fn counted(tree: &Tree, name: &str, metric: &str) -> Result<Option<()>> {
    Ok(tree.ask(name).metric(metric)?.filter(|count| *count > 0.0).map(drop))
}

/// Shakes hands with the primary as somebody of the right authority would, but for a certificate.
fn greet_without_certificate(tree: &Tree) -> Result<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tree.directory().join("certs/ca.pem"))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("dub-p0")?)?;
    let text = fs::read_to_string(tree.topology())?;
    let address = text.split("node: dub-p0").nth(1).and_then(|rest| rest.split("grpc: ").nth(1)).context("dub-p0")?;
    let address = address.split(' ').next().context("an address")?;
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    let error = stream.read(&mut [0; 64]).err().context("it was let in")?;
    ensure!(error.to_string().contains("CertificateRequired"), "{error}");
    Ok(())
}

#[test]
fn new_certificates_are_taken_without_a_restart() -> Result<()> {
    Tree::check(Layout { secondaries: 1, targets: 5, ..layout() }, |tree| {
        tree.wait_complete("global-0")?;
        let certs = tree.directory().join("certs");
        let good = fs::read(certs.join("dub-s0.pem"))?;
        let broken = "firetower_security_files_broken_total{what=\"certificates\"}";

        // What makes no sense is not taken: the old certificate still opens the way.
        fs::write(certs.join("dub-s0.pem"), "no certificate")?;
        wait_for("it is complained about", LIMIT, || counted(tree, "dub-s0", broken))?;
        ensure!(tree.said("dub-s0")?.contains("going on with those before"), "{}", tree.said("dub-s0")?);
        tree.kill("dub-p0")?;
        tree.restart("dub-p0")?;
        tree.wait_complete("global-0")?;
        fs::write(certs.join("dub-s0.pem"), good)?;

        // All end at once; then nobody gets in until there are new ones, which takes no restart.
        make(tree.directory(), &["certs", "certs", "--topology", "topology.yaml", "--renew", "--days", "0"])?;
        let told = "certificate has expired: others refuse this process";
        wait_for("the end is told", LIMIT, || Ok(tree.said("dub-s0")?.contains(told).then_some(())))?;
        tree.kill("dub-p0")?;
        tree.launch("dub-p0")?;
        let refused = "certificate has expired: put a new one in its place";
        wait_for("the child is shut out", LIMIT, || Ok(tree.said("dub-s0")?.contains(refused).then_some(())))?;
        make(tree.directory(), &["certs", "certs", "--topology", "topology.yaml", "--renew"])?;
        tree.wait_complete("global-0")?;
        let renewed = "firetower_security_files_renewed_total{what=\"certificates\"}";
        ensure!(tree.ask("dub-s0").metric(renewed)? >= Some(2.0), "new files were not counted");

        // A parent with another's certificate is no parent.
        tree.kill("dub-p0")?;
        let own = copy_pair(&certs, "dub-p0", "own")?;
        copy_pair(&certs, "dub-s0", "dub-p0")?;
        tree.launch("dub-p0")?;
        let metric = "firetower_tls_refused_total{port=\"parent\",reason=\"wrong_name\"}";
        wait_for("a wrong name is counted", LIMIT, || counted(tree, "dub-s0", metric))?;
        ensure!(tree.said("dub-s0")?.contains("its certificate is not for dub-p0 but for"), "{}", tree.said("dub-s0")?);
        ensure!(tree.said("dub-p0")?.contains("certificate does not name this node"), "{}", tree.said("dub-p0")?);
        copy_pair(&certs, &own, "dub-p0")?;
        tree.wait_complete("global-0").map(drop)
    })
}

#[test]
fn processes_alone_speak_https_and_take_tokens() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut ports = Ports::claim()?;
    let (agent_port, port) = (ports.take()?, ports.take()?);
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/../topology/three-regions.yaml");
    let servers = ["--server", "agent=127.0.0.1", "--server", "alone=127.0.0.1"];
    make(directory.path(), &[&["certs", "certs", "--topology", topology], &servers[..]].concat())?;
    let protected = |name: &str, command: &mut Command| {
        let file = |ending: &str| format!("certs/{name}{ending}");
        command.current_dir(directory.path());
        command.args(["--tls-cert", &file(".pem"), "--tls-key", &file("-key.pem")]);
        command.args(["--read-token-file", "certs/read.token"]);
    };
    let mut command = Command::new(firetower()?);
    command.args(["agent", "--http", &format!("127.0.0.1:{agent_port}")]);
    protected("agent", &mut command);
    let _agent = Process::start("agent", directory.path(), &mut command)?;
    let jobs = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs:\n  - job_name: agent\n    scheme: https\n    tls_config: {{ ca_file: certs/ca.pem }}\n    \
         authorization: {{ credentials_file: certs/read.token }}\n    \
         static_configs: [ {{ targets: [ '127.0.0.1:{agent_port}' ] }} ]\n"
    );
    fs::write(directory.path().join("prometheus.yml"), jobs)?;
    let mut command = Command::new(firetower()?);
    command.args(["secondary", "--standalone", "--http", &format!("127.0.0.1:{port}"), "--data", "data"]);
    command.args(["--scrape-config", "prometheus.yml", "--operate-token-file", "certs/operate.token"]);
    protected("alone", &mut command);
    let alone = Process::start("alone", directory.path(), &mut command)?;

    let certs = directory.path().join("certs");
    let nobody = Answers::of_tls_port(port, &certs.join("ca.pem"))?;
    let reader = nobody.clone().with_token(&certs.join("read.token"))?;
    wait_for("the agent is scraped by https", LIMIT, || {
        let ups = reader.series("up")?;
        Ok((ups.len() == 1 && ups[0].samples[0].1 == 1.0).then_some(()))
    })
    .with_context(|| alone.last_lines())?;
    ensure!(nobody.get("/api/v1/query?query=up")?.0 == 401 && reader.post("/-/reload")?.0 == 403, "it takes anybody");
    let operator = nobody.with_token(&certs.join("operate.token"))?;
    ensure!(operator.post("/-/reload")?.0 == 200, "it cannot be operated");
    let agent = Answers::of_tls_port(agent_port, &certs.join("ca.pem"))?;
    ensure!(agent.get("/metrics")?.0 == 401 && agent.is_ready()?, "the agent takes anybody");
    let agent = agent.with_token(&certs.join("read.token"))?;
    let refused = agent.metric("firetower_http_refused_total{reason=\"no_token\"}")?;
    ensure!(refused == Some(1.0), "{refused:?}");
    Ok(())
}

#[test]
fn nobody_listens_beyond_loopback_unprotected() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../topology/three-regions.yaml"))?;
    let (start, rest) = text.split_once("tls:\n").context("no tls")?;
    let (tls, rest) = rest.split_once("auth:\n").context("no auth")?;
    let (auth, rest) = rest.split_once("\nglobal:").context("no global")?;
    let check = |keys: String, expected: &str| -> Result<()> {
        fs::write(directory.path().join("t.yaml"), format!("{start}{keys}\nglobal:{rest}"))?;
        let output = Command::new(firetower()?)
            .args(["global", "--topology", "t.yaml", "--node", "global-0", "--data", "data"])
            .current_dir(directory.path())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.contains(expected), "{}: {said}", output.status);
        Ok(())
    };
    check(String::new(), "global-0.fra.example.net:6110: it is not on loopback, and there is neither tls nor auth")?;
    check(format!("tls:\n{tls}"), "there is no auth: anybody could ask")?;
    check(format!("auth:\n{auth}"), "there is no tls: all could be read on the way")?;
    for command in [&["agent"][..], &["secondary", "--standalone", "--data", "data"]] {
        let output = Command::new(firetower()?).args(command).args(["--http", "0.0.0.0:0"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.contains("give --tls-cert, --tls-key"), "{command:?}: {said}");
    }
    Ok(())
}

/// Runs `firetower` in `directory`.
fn make(directory: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new(firetower()?).args(arguments).current_dir(directory).output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let path: PathBuf = entry?.path();
        fs::copy(&path, to.join(path.file_name().context("a name")?))?;
    }
    Ok(())
}

/// Copies certificate and key of one node to another's places; returns the other's name.
fn copy_pair(certs: &Path, from: &str, to: &str) -> Result<String> {
    for ending in ["-key.pem", ".pem"] {
        fs::copy(certs.join(format!("{from}{ending}")), certs.join(format!("{to}{ending}")))?;
    }
    Ok(to.to_owned())
}
