//! A secondary killed as `kill -9` does, and started again over its data while the fleet goes on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use firetower_benches::{now_ms, read_log, sleep, wait_for};
use serde_json::{Value, json};

use crate::Common;
use crate::history::make_history;
use crate::run::{Directory, Fleet, SECONDARY, Tree, stored_samples, stored_scrapes};
use crate::table::{mib, print_row};
use crate::watch::watch;

/// How long it may take until a secondary is ready again.
const READY: Duration = Duration::from_secs(300);

/// What `compare restart` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long to gather data before the kill.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How much data there is already when the secondary starts for the first time; made at once, up to that moment.
    #[arg(long, default_value_t = 0)]
    history_seconds: u64,
    /// How long after it to watch memory.
    #[arg(long, default_value_t = 60)]
    after_seconds: u64,
    /// What is durable: scrapes that were served so long before the kill.
    #[arg(long, default_value_t = 1.5)]
    durable_seconds: f64,
}

/// Kills, starts again, and holds what is stored against the log.
pub(crate) fn measure(options: &Options, common: &Common) -> Result<Value> {
    ensure!(common.recorded.is_none(), "recorded pages do not say which scrape they answer");
    let directory = Directory::make(common, "restart")?;
    let scrapes = make_history(common, &directory.path().join(SECONDARY), options.history_seconds)?;
    let fleet = Fleet::start(common, directory.path(), &["--first-scrape", &scrapes.to_string()])?;
    let mut tree = Tree::start(common, directory.path())?;
    let process = tree.secondary.process();
    let begun = Instant::now();
    watch((0, options.seconds), &fleet, process, &mut || tree.secondary.check())?;
    let known = tree.metric("firetower_store_targets")?;
    ensure!(known <= common.targets as f64, "history is of other targets: the store knows {known}");
    // The cache fills when somebody asks, so the same is asked before and after.
    let (names, age) = (["fleet_scrapes_total".to_owned()], begun.elapsed() + Duration::from_secs(60));
    stored_samples(&tree.secondary_url, &names, age)?;
    let before = process.read()?;
    let killed_ms = now_ms();
    let started = tree.restart_secondary(common, directory.path())?;
    wait_for("the secondary is ready", READY, || {
        tree.secondary.check()?;
        Ok(ureq::get(format!("{}/-/ready", tree.secondary_url)).call().is_ok().then_some(()))
    })?;
    let ready = started.elapsed().as_secs_f64();
    wait_for("the first answer", READY, || Ok((stored_samples(&tree.secondary_url, &names, age)? > 0).then_some(())))?;
    let answered = started.elapsed().as_secs_f64();
    sleep(Duration::from_secs(options.after_seconds))?;
    let after = tree.secondary.process().read()?;

    let durable_ms = killed_ms - (options.durable_seconds * 1e3) as i64;
    let stored = stored_scrapes(&tree.secondary_url, common.targets, killed_ms, age)?;
    let log = read_log(&fleet.log)?;
    let durable = log.iter().filter(|response| response.requested_ms <= durable_ms);
    let (mut expected, mut lost) = (0, 0);
    for response in durable {
        expected += 1;
        lost += u64::from(!stored.contains(&(response.target, response.scrape)));
    }
    tree.stop()?;
    fleet.running.stop()?;
    let cells = [
        ("series", (common.targets * common.series).to_string()),
        ("seconds of data", (options.history_seconds + options.seconds).to_string()),
        ("ready after s", format!("{ready:.2}")),
        ("first answer after s", format!("{answered:.2}")),
        ("RSS before MiB", mib(before.resident_bytes as f64)),
        ("RSS after MiB", mib(after.resident_bytes as f64)),
        ("peak after MiB", mib(after.peak_bytes as f64)),
        ("durable scrapes", expected.to_string()),
        ("lost of them", lost.to_string()),
    ];
    print_row(&cells);
    Ok(json!({
        "targets": common.targets,
        "series": common.series,
        "history_seconds": options.history_seconds,
        "ready_seconds": ready,
        "first_answer_seconds": answered,
        "resident_bytes_before": before.resident_bytes,
        "resident_bytes_after": after.resident_bytes,
        "resident_peak_bytes_after": after.peak_bytes,
        "durable_scrapes": expected,
        "lost_scrapes": lost,
    }))
}
