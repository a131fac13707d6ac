//! One target suddenly exposes a hundred times its series.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_benches::Process;
use firetower_tests::{Layout, Tree, now_ms, wait_for};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
/// What every page has.
const SERIES: usize = 1_000;
/// What the page of the one target has after a while.
const EXPLODED: usize = 100 * SERIES;
/// How much memory may grow by: a tenth, ...
const GROWTH_SHARE: u64 = 10;
/// ... what it takes to read one such page (10 MB), twice for what an allocator keeps, and the store's write buffers,
/// which fill meanwhile in so small a process.
const GROWTH_BYTES: u64 = 32 << 20;
const INTERVAL_MS: i64 = 1_000;

#[test]
fn an_exploding_target_meets_its_limit_and_is_named() -> Result<()> {
    let series = Arc::new(AtomicUsize::new(SERIES));
    let address = serve(Arc::clone(&series))?;
    let layout = Layout {
        secondaries: 1,
        series: SERIES,
        job: vec!["sample_limit: 2000".into(), format!("static_configs: [ {{ targets: [ '{address}' ] }} ]")],
        ..Layout::default()
    };
    Tree::check(layout, |tree| {
        let secondary = tree.ask("dub-s0");
        wait_for("all targets are up", LIMIT, || {
            let ups = secondary.series("up")?;
            Ok((ups.len() == 21 && ups.iter().all(|up| up.samples[0].1 == 1.0)).then_some(()))
        })?;
        tree.wait_sampled("dub-s0", 5)?;
        let process = Process { id: tree.process_id("dub-s0")? };
        let (before, metrics_before) = (process.read()?, secondary.metric("firetower_store_metrics")?);

        let exploded_ms = now_ms();
        series.store(EXPLODED, Ordering::Relaxed);
        let named_ms = wait_for("the offender is named at the top", LIMIT, || {
            let status = tree.ask("global-0").json("/api/v1/status")?;
            let is_named = |node: &Value| {
                let reason = node["reason"].as_str().unwrap_or("");
                node["node_key"] == address.as_str() && reason.contains("sample_limit of 2000 samples is exceeded")
            };
            let unhealthy = status["data"]["unhealthy"].as_array().context("unhealthy")?;
            Ok(unhealthy.iter().any(is_named).then(now_ms))
        })?;
        // Two intervals, and what a busy machine takes to hand a report up.
        ensure!(named_ms - exploded_ms < 2 * INTERVAL_MS + 5_000, "named after {} ms", named_ms - exploded_ms);
        tree.wait_sampled("dub-s0", 5)?;
        let after = process.read()?;
        let allowed = before.resident_bytes + before.resident_bytes / GROWTH_SHARE + GROWTH_BYTES;
        ensure!(after.resident_bytes <= allowed, "from {before:?} to {after:?}");
        ensure!(secondary.metric("firetower_store_metrics")? == metrics_before, "no metric was given an id");
        let failed = secondary.metric("firetower_scrape_scrapes_total{outcome=\"sample_limit\"}")?;
        ensure!(failed.is_some_and(|failed| failed >= 5.0), "{failed:?} scrapes met their limit");

        let ups = secondary.series(&format!("up{{instance!=\"{address}\"}}[1m]"))?;
        for up in &ups {
            let since: Vec<f64> = up.samples.iter().filter(|(at, _)| *at > exploded_ms).map(|(_, up)| *up).collect();
            ensure!(since.len() >= 8 && since.iter().all(|up| *up == 1.0), "{:?}: {since:?}", up.labels);
        }
        ensure!(ups.len() == 20, "{} other targets", ups.len());
        let offender = secondary.series(&format!("{{instance=\"{address}\",__name__=~\"exploding.*\"}}"))?;
        ensure!(offender.is_empty(), "{} series of the offender go on", offender.len());
        Ok(())
    })
}

/// Serves a page with as many series as `series` says, one connection after the other.
fn serve(series: Arc<AtomicUsize>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever asks may go away at any time.
            let _ = answer(stream, series.load(Ordering::Relaxed));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream, series: usize) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let page: String = (0..series).map(|at| format!("exploding{{request=\"{at}\"}} 1\n")).collect();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(page.as_bytes())?;
    Ok(())
}
