//! Targets whose containers come and go, served by the test itself.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;

use crate::wait::now_ms;

/// Containers of each target.
const CONTAINERS: usize = 4;
/// How long a pod lives once they churn, in milliseconds.
const LIFE_MS: i64 = 3_000;

/// Some targets like cAdvisor's; each listens for as long as the process lives.
///
/// At first all show the same few pods; once [`Pods::churn`] is called, each shows its own, which come and go. What
/// each alone has as `zone` is one value, and so many values together as there are targets.
#[derive(Debug)]
pub struct Pods {
    addresses: Vec<String>,
    is_churning: Arc<AtomicBool>,
}

impl Pods {
    /// Starts `count` targets.
    ///
    /// # Errors
    /// If there is no port for one.
    pub fn start(count: usize) -> Result<Pods> {
        let is_churning = Arc::new(AtomicBool::new(false));
        let mut addresses = Vec::new();
        for target in 0..count {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            addresses.push(listener.local_addr()?.to_string());
            let is_churning = Arc::clone(&is_churning);
            thread::spawn(move || {
                for connection in listener.incoming().flatten() {
                    let is_churning = Arc::clone(&is_churning);
                    // A scraper that is killed ends its connection in the middle.
                    thread::spawn(move || drop(answer(connection, target, &is_churning)));
                }
            });
        }
        Ok(Pods { addresses, is_churning })
    }

    /// Returns where they listen.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Lets pods come and go from now on.
    pub fn churn(&self) {
        self.is_churning.store(true, Ordering::Relaxed);
    }
}

fn answer(connection: TcpStream, target: usize, is_churning: &AtomicBool) -> Result<()> {
    let mut writer = connection.try_clone()?;
    let mut line = String::new();
    let mut reader = BufReader::new(connection);
    while reader.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            let page = page(target, is_churning.load(Ordering::Relaxed), now_ms());
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", page.len());
            writer.write_all(head.as_bytes())?;
            writer.write_all(page.as_bytes())?;
        }
        line.clear();
    }
    Ok(())
}

/// Writes a page; all values are whole, so that sums are exact in whatever order.
fn page(target: usize, is_churning: bool, now_ms: i64) -> String {
    let mut page = String::new();
    for (name, kind) in [("container_cpu_usage_seconds_total", "counter"), ("container_memory_rss", "gauge")] {
        page += &format!("# TYPE {name} {kind}\n");
        for at in 0..CONTAINERS {
            let life = now_ms.div_euclid(LIFE_MS) + at as i64;
            let pod = if is_churning { format!("{target}-{at}-{life}") } else { at.to_string() };
            let place = format!("namespace=\"ns{}\",container=\"c{}\",zone=\"z{target}\"", at % 3, at % 2);
            let value = now_ms.rem_euclid(1_000_000) / 100 + (target * CONTAINERS + at) as i64;
            page += &format!("{name}{{id=\"/kubepods/{pod}\",pod=\"pod-{pod}\",{place}}} {value}\n");
        }
    }
    page
}
