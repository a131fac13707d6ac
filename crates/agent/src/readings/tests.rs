//! The pages of the host that runs the tests.

use std::collections::HashSet;
use std::time::Duration;

use firetower_daemon::{Clock, Connector, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::{Options, Readings, run};

/// Checks that `page` is Prometheus text in which families are whole and series are met once.
fn check_page(page: &str) {
    let (mut families, mut series) = (HashSet::new(), HashSet::new());
    let mut family = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(families.insert(name), "family {name} begins twice");
            assert!(!help.is_empty(), "{line}");
            family = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert_eq!(name, family, "{line}");
            assert!(["counter", "gauge", "untyped"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
        } else {
            let (id, value) = line.rsplit_once(' ').expect("a series and a value");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            let (name, labels) = id.split_once('{').map_or((id, None), |(name, labels)| (name, Some(labels)));
            assert_eq!(name, family, "{line}");
            assert!(labels.is_none_or(|labels| labels.ends_with("\"}")), "{line}");
            assert!(series.insert(id), "{line} is met twice");
        }
    }
}

#[tokio::test]
async fn the_page_parses_line_by_line_and_has_what_every_host_has() {
    let readings = Readings::new(Duration::from_secs(60));
    readings.page().await;
    let page = readings.page().await;
    check_page(&page);
    let expected = [
        "node_cpu_seconds_total{cpu=\"",
        "node_memory_MemTotal_bytes ",
        "node_load1 ",
        "node_boot_time_seconds ",
        "node_time_seconds ",
        "node_uname_info{",
        "node_scrape_collector_success{collector=\"cpu\"} 1\n",
        "node_scrape_collector_success{collector=\"filesystem\"} 1\n",
        "firetower_agent_pages_total 2\n",
        "firetower_agent_collector_failures_total{collector=\"cpu\"} 0\n",
    ];
    for start in expected {
        assert!(page.contains(&format!("\n{start}")), "no line starts with {start:?}\n{page}");
    }
}

#[tokio::test]
async fn filesystems_that_do_not_answer_are_left_out() {
    let readings = Readings::new(Duration::from_millis(50));
    let _hung = readings.0.filesystems.clone().acquire_owned().await.unwrap();
    let page = readings.page().await;
    check_page(&page);
    assert!(!page.contains("node_filesystem_"), "{page}");
    assert!(page.contains("node_scrape_collector_success{collector=\"filesystem\"} 0\n"), "{page}");
    assert!(page.contains("firetower_agent_collector_failures_total{collector=\"filesystem\"} 1\n"), "{page}");
    assert!(page.contains("\nnode_load1 "), "{page}");
}

#[tokio::test]
async fn cpu_usage_is_known_after_two_readings() {
    let readings = Readings::new(Duration::from_secs(60));
    assert_eq!(readings.status().await.unwrap().cpu_usage, None);
    let cancel = CancellationToken::new();
    let watching = readings.watch_cpu(Clock::system(), Duration::from_millis(40), cancel.clone());
    let known = async {
        loop {
            if let Some(percent) = readings.status().await.unwrap().cpu_usage {
                cancel.cancel();
                return percent;
            }
            tokio::task::yield_now().await;
        }
    };
    let ((), percent) = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(watching, known) })
        .await
        .expect("two readings are taken within a minute");
    assert!((0.0..=100.0).contains(&percent), "{percent}");
}

async fn fetch(address: &str, path: &str) -> String {
    let mut stream = Connector::tcp().connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn serves_its_pages_until_it_is_cancelled() {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().to_owned();
    let cancel = CancellationToken::new();
    let agent = run(listener, Clock::system(), cancel.clone(), Options::default());
    let client = async {
        let cases = [
            ("/metrics", "200 OK", "content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            ("/metrics", "200 OK", "\nnode_load1 "),
            ("/status", "200 OK", "\"memory_usage\":"),
            ("/status", "200 OK", "content-type: application/json\r\n"),
            ("/-/healthy", "200 OK", "healthy\n"),
            ("/-/ready", "200 OK", "ready\n"),
            ("/nothing", "404 Not Found", ""),
        ];
        for (path, code, part) in cases {
            let answer = fetch(&address, path).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}\r\n")), "{path}: {answer}");
            assert!(answer.contains(part), "{path} without {part:?}: {answer}");
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(agent, client);
    ended.unwrap();
}
