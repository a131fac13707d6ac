use std::fs;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firetower_daemon::{Connector, Listener, NameRecord, Names};
use firetower_model::{DnsKind, DnsSd, FileSd, HttpAccess, HttpSd, JobSources, TargetGroup};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Discovery, DiscoverySetup, Found};
use crate::fetch::{Client, Tls};
use crate::metrics::DiscoveryMetrics;

const PATIENCE: Duration = Duration::from_secs(20);

/// Reads one target a line; a text that begins with `!` is malformed.
fn read(source: &str, text: &str) -> Result<Vec<TargetGroup>, String> {
    if text.starts_with('!') {
        return Err(format!("{source} is broken"));
    }
    let targets = text.lines().map(str::to_owned).collect();
    Ok(vec![TargetGroup { source: source.into(), targets, labels: Vec::new() }])
}

struct Bench {
    folder: tempfile::TempDir,
    registry: Registry,
    discovery: Discovery,
}

impl Bench {
    fn new(names: Names) -> Bench {
        let (folder, mut registry) = (tempfile::tempdir().unwrap(), Registry::default());
        let setup = DiscoverySetup {
            client: Client::new(Connector::tcp(), Tls::none()),
            names,
            folder: folder.path().to_owned(),
            read_file: read,
            read_list: read,
            metrics: DiscoveryMetrics::register(&mut registry),
        };
        Bench { folder, registry, discovery: Discovery::new(setup) }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Waits until job `j` has these targets and no others.
    async fn expect(&mut self, expected: &[&str]) {
        let mut found = Vec::new();
        let wait = async {
            while found != expected {
                found = targets(&self.discovery.changed().await);
            }
        };
        let is_in_time = timeout(PATIENCE, wait).await.is_ok();
        assert!(is_in_time, "{found:?}, not {expected:?}");
    }

    fn count(&self, line: &str) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line));
        found.map_or(0, |count| count.trim().parse().unwrap())
    }
}

fn targets(found: &Found) -> Vec<String> {
    let mut targets: Vec<String> =
        found.groups.get("j").into_iter().flatten().flat_map(|group| group.targets.clone()).collect();
    targets.sort();
    targets
}

fn no_names() -> Names {
    Names::new(async |_, _| Err(io::ErrorKind::NotConnected.into()))
}

fn files(patterns: &[&str]) -> JobSources {
    let files = patterns.iter().map(|pattern| pattern.to_string()).collect();
    let files = vec![FileSd { files, refresh_interval: Duration::from_secs(300) }];
    JobSources { job_name: "j".into(), files, ..JobSources::default() }
}

#[tokio::test]
async fn a_file_that_changes_is_read_and_a_broken_one_keeps_what_it_had() {
    let mut bench = Bench::new(no_names());
    bench.write("a.json", "a:1\na:2");
    bench.write("b.json", "!");
    bench.discovery.follow(&[files(&["*.json"])]);
    bench.expect(&["a:1", "a:2"]).await;
    bench.write("b.json", "b:1");
    bench.expect(&["a:1", "a:2", "b:1"]).await;
    bench.write("a.json", "! no longer");
    bench.write("b.json", "b:2");
    bench.expect(&["a:1", "a:2", "b:2"]).await;
    fs::remove_file(bench.folder.path().join("a.json")).unwrap();
    bench.expect(&["b:2"]).await;
    assert!(bench.count("firetower_discovery_failures_total{source=\"file\"}") >= 2);
    assert!(bench.count("firetower_discovery_refreshes_total{source=\"file\"}") >= 5);
}

#[tokio::test]
async fn other_jobs_leave_a_source_alone_and_changes_are_gathered() {
    let mut bench = Bench::new(no_names());
    bench.write("a.json", "a:1");
    bench.write("b.json", "b:1");
    bench.discovery.follow(&[files(&["a.json"])]);
    bench.expect(&["a:1"]).await;
    let number = bench.discovery.sources[0].number;
    bench.discovery.follow(&[files(&["a.json"]), files(&["b.json"])]);
    bench.expect(&["a:1", "b:1"]).await;
    assert_eq!(bench.discovery.sources[0].number, number);
    bench.discovery.follow(&[files(&["b.json"])]);
    assert_eq!(targets(&bench.discovery.changed().await), ["b:1"]);
    bench.discovery.follow(&[]);
    assert_eq!(bench.discovery.changed().await, Found::default());
}

/// Answers each request with `type|body` as it is at the moment, and notes what was asked.
async fn start_server(answer: Arc<Mutex<&'static str>>, seen: Arc<Mutex<Vec<String>>>) -> String {
    let mut listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/list", listener.local_address());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await;
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap();
            seen.lock().unwrap().push(String::from_utf8_lossy(&request[..count]).into_owned());
            let (kind, body) = answer.lock().unwrap().split_once('|').unwrap();
            let (status, length) = (if kind.is_empty() { "500 Oops" } else { "200 OK" }, body.len());
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn a_server_lists_targets_until_it_lists_others() {
    let (answer, seen) = (Arc::new(Mutex::new("application/json; charset=utf-8|a:1")), Arc::default());
    let url = start_server(Arc::clone(&answer), Arc::clone(&seen)).await;
    let mut bench = Bench::new(no_names());
    let refresh_interval = Duration::from_millis(100);
    let servers = vec![HttpSd { url, refresh_interval, http: HttpAccess::default() }];
    bench.discovery.follow(&[JobSources { job_name: "j".into(), servers, ..JobSources::default() }]);
    bench.expect(&["a:1"]).await;
    let request = seen.lock().unwrap()[0].clone();
    for line in ["GET /list HTTP/1.1", "Accept: application/json", "X-Prometheus-Refresh-Interval-Seconds: 0.1"] {
        assert!(request.contains(&format!("{line}\r\n")), "{request}");
    }
    for broken in ["text/plain|x:1", "application/json|!", "|"] {
        *answer.lock().unwrap() = broken;
        let failures = bench.count("firetower_discovery_failures_total{source=\"http\"}");
        while bench.count("firetower_discovery_failures_total{source=\"http\"}") < failures + 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(
        timeout(Duration::from_millis(1_500), bench.discovery.changed()).await.is_err(),
        "the last good list stays"
    );
    *answer.lock().unwrap() = "application/json|a:1\na:2";
    bench.expect(&["a:1", "a:2"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_source_has_is_unknown_until_it_can_say_so() {
    let asked = Mutex::new(0);
    let names = Names::new(move |_, _| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        let answer = if *asked < 3 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Vec::new()) };
        async { answer }
    });
    let mut bench = Bench::new(names);
    bench.write("a.json", "a:1");
    let names =
        vec![DnsSd { names: vec!["n".into()], kind: DnsKind::A, port: 1, refresh_interval: Duration::from_secs(30) }];
    bench.discovery.follow(&[JobSources { names, ..files(&["a.json"]) }]);
    let found = bench.discovery.changed().await;
    assert_eq!((targets(&found), found.unknown.contains("j")), (vec!["a:1".to_owned()], true));
    let found = bench.discovery.changed().await;
    assert_eq!((targets(&found), found.unknown.len()), (vec!["a:1".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up_again_and_kept_while_they_cannot_be() {
    let count = Mutex::new(0);
    let names = Names::new(move |name, kind| {
        assert_eq!(kind, DnsKind::A);
        let mut count = count.lock().unwrap();
        *count += usize::from(name == "n");
        let record = |host: &str| NameRecord { host: host.into(), port: None };
        let answer = match (name.as_str(), *count) {
            ("n", 1) => Ok(vec![record("10.0.0.2"), record("10.0.0.1")]),
            ("n", 2..=3) => Err(io::ErrorKind::TimedOut.into()),
            ("n", 4) => Ok(Vec::new()),
            ("n", _) => Ok(vec![record("10.0.0.3")]),
            _ => Err(io::ErrorKind::TimedOut.into()),
        };
        async { answer }
    });
    let mut bench = Bench::new(names);
    let names = ["n", "m"].map(str::to_owned).to_vec();
    let names = vec![DnsSd { names, kind: DnsKind::A, port: 9100, refresh_interval: Duration::from_secs(30) }];
    bench.discovery.follow(&[JobSources { job_name: "j".into(), names, ..JobSources::default() }]);
    let start = tokio::time::Instant::now();
    for (seconds, expected) in [(0, &["10.0.0.1:9100", "10.0.0.2:9100"][..]), (91, &[]), (121, &["10.0.0.3:9100"])] {
        assert_eq!(targets(&bench.discovery.changed().await), expected);
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
    assert_eq!(bench.count("firetower_discovery_failures_total{source=\"dns\"}"), 2 + 5);
}
