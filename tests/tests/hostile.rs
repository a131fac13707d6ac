//! Targets, peers and clients that mean harm: each is stopped by a limit and counted, and nobody else notices.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_tests::{Layout, TRAPS, Trap, Tree, check_rows, expected_rows, now_ms, wait_for};

const LIMIT: Duration = Duration::from_secs(120);
/// How much memory a small monitor may ever have taken while it was attacked, in kB.
const MEMORY_KB_MAX: u64 = 512 << 10;

/// Returns the most memory that a process has ever had, in kB.
fn memory_peak_kb(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn check_memory(tree: &Tree) -> Result<()> {
    for name in tree.node_names() {
        let peak = memory_peak_kb(tree.process_id(&name)?)?;
        ensure!(peak < MEMORY_KB_MAX, "{name} took {peak} kB");
    }
    Ok(())
}

#[test]
fn hostile_targets_are_stopped_and_the_others_are_scraped() -> Result<()> {
    let trap = Trap::start()?;
    let job =
        "          - job_name: trap\n            scrape_interval: 10s\n            scrape_timeout: 9s\n            ";
    let layout = Layout {
        secondaries: 1,
        interval_ms: 1_000,
        window_ms: 5_000,
        more: format!("{job}{}\n", trap.static_configs()),
        ..Layout::default()
    };
    Tree::check(layout, |tree| {
        let leaf = tree.ask("dub-s0");
        for (name, outcome) in TRAPS {
            wait_for(&format!("scrapes of {name} that end with {outcome}"), LIMIT, || {
                let ups = leaf.series(&format!("up{{trap=\"{name}\"}}[2m]"))?;
                let counted = leaf.metric(&format!("firetower_scrape_scrapes_total{{outcome=\"{outcome}\"}}"))?;
                let value = if outcome == "ok" { 1.0 } else { 0.0 };
                let is_seen = ups.iter().flat_map(|up| &up.samples).filter(|(_, up)| *up == value).count() >= 2;
                Ok((is_seen && counted >= Some(2.0)).then_some(()))
            })?;
        }
        let ahead = leaf.metric("firetower_scrape_ahead_samples_total")?;
        ensure!(ahead >= Some(4.0), "{ahead:?} samples from the future were left out");
        let from_ms = now_ms();
        tree.wait_sampled("dub-s0", 3)?;
        let grid = tree.grid_since(from_ms);
        wait_for("exact rows of the others", LIMIT, || {
            let raw = tree.raw()?;
            check_rows(&tree.rows("global-0", grid)?, &expected_rows(&raw, grid)).map(Some)
        })?;
        for up in leaf.series("up{job=\"fleet\"}[2m]")? {
            let inside = up.samples.iter().filter(|(at, _)| (grid.start_ms..grid.end_ms).contains(at)).count();
            let slots = (grid.end_ms - grid.start_ms) / 1_000;
            // A busy machine may miss a slot; a target that waits for others would miss most.
            ensure!(inside as i64 * 10 >= slots * 9, "{:?}: {inside} of {slots} slots", up.labels);
        }
        check_memory(tree)
    })
}

/// Returns the `host:port` under `key` of the node in the tree's file.
fn address(tree: &Tree, node: &str, key: &str) -> Result<String> {
    let text = fs::read_to_string(tree.topology())?;
    let of_node = text.split(&format!("node: {node},")).nth(1).context("node")?;
    let value = of_node.split(&format!("{key}: ")).nth(1).context("key")?;
    Ok(value.split([',', ' ']).next().unwrap_or_default().to_owned())
}

#[test]
fn hostile_peers_are_cut_off_and_children_stay() -> Result<()> {
    Tree::check(Layout { secondaries: 1, ..Layout::default() }, |tree| {
        tree.wait_complete("global-0")?;
        let failures = |tree: &Tree, child: &str, parent: &str| {
            tree.ask(child).metric(&format!("firetower_relay_dial_failures_total{{peer=\"{parent}\"}}"))
        };
        let links = [("dub-s0", "dub-p0"), ("dub-p0", "global-0")];
        let before = links.map(|(child, parent)| failures(tree, child, parent).unwrap_or_default());
        for name in ["dub-p0", "global-0"] {
            let grpc = address(tree, name, "grpc")?;
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
            let endless = [&preface[..], &b"\0\0\x08\x06\0\0\0\0\0abcdefgh".repeat(50_000)].concat();
            for hostile in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 70_000], &b"x".repeat(1 << 20), &endless]
            {
                let mut stream = TcpStream::connect(&grpc)?;
                // It may be cut off before all of it is written.
                let _ = stream.write_all(hostile);
            }
            let mut flood = Vec::new();
            for at in 0..900 {
                let mut stream = TcpStream::connect(&grpc).with_context(|| format!("connection {at}"))?;
                if at % 2 == 0 {
                    let _ = stream.write_all(preface);
                }
                flood.push(stream);
            }
            let cut = |reason: &str, count: f64| {
                let metric = format!("firetower_wire_cut_connections_total{{reason=\"{reason}\"}}");
                wait_for(&metric, LIMIT, || Ok(tree.ask(name).metric(&metric)?.filter(|cut| *cut >= count)))
            };
            cut("crowded", 500.0)?;
            cut("malformed", 1.0)?;
            cut("silent", 100.0)?;
            drop(flood);
        }
        let from_ms = tree.wait_complete("global-0")?;
        tree.wait_exact("global-0", tree.grid_since(from_ms))?;
        for ((child, parent), before) in links.into_iter().zip(before) {
            let after = failures(tree, child, parent)?;
            ensure!(after == before, "{child} lost its parent: {before:?}, now {after:?}");
        }
        tree.kill("dub-s0")?;
        tree.restart("dub-s0")?;
        tree.wait_complete("global-0")?;
        check_memory(tree)
    })
}

#[test]
fn hostile_clients_are_cut_off_and_the_others_are_answered() -> Result<()> {
    Tree::check(Layout { secondaries: 1, ..Layout::default() }, |tree| {
        tree.wait_complete("global-0")?;
        for name in tree.node_names() {
            let http = address(tree, &name, "http")?;
            let mut slow = Vec::new();
            for _ in 0..700 {
                let mut stream = TcpStream::connect(&http)?;
                stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")?;
                slow.push(stream);
            }
            let long = "x".repeat(200 << 10);
            let deep = "(".repeat(60_000);
            for (request, answer) in [
                (format!("GET /metrics HTTP/1.1\r\nX: {long}\r\n\r\n"), "431"),
                (format!("GET /api/v1/query?query={long} HTTP/1.1\r\n\r\n"), "431"),
                (
                    format!(
                        "GET /api/v1/query?query={} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                        &deep[..9_000]
                    ),
                    "40",
                ),
                ("nonsense\r\n\r\n".to_owned(), "400"),
            ] {
                let said = ask(&http, &request)?;
                // Whoever is cut off while it writes may not get to read the answer.
                ensure!(said.is_empty() || said.contains(answer), "{name}: {said:?}");
            }
            let cut = |reason: &str, count: f64| {
                let metric = format!("firetower_http_cut_connections_total{{reason=\"{reason}\"}}");
                wait_for(&metric, LIMIT, || Ok(tree.ask(&name).metric(&metric)?.filter(|cut| *cut >= count)))
            };
            cut("crowded", 150.0)?;
            cut("large_head", 2.0)?;
            cut("malformed", 1.0)?;
            cut("slow", 100.0)?;
        }
        tree.wait_complete("global-0")?;
        check_memory(tree)
    })
}

/// Sends a request and returns what comes until the connection ends.
fn ask(address: &str, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let mut writer = stream.try_clone()?;
    let request = request.to_owned();
    let writing = std::thread::spawn(move || drop(writer.write_all(request.as_bytes())));
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    let _ = writing.join();
    Ok(String::from_utf8_lossy(&said).into_owned())
}
