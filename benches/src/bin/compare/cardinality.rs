//! One target that suddenly exposes a hundred times its series, and what that costs the others.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use firetower_benches::{Page, Percentiles, now_ms, read_log, schedule_of, sleep};
use serde_json::{Value, json};

use crate::Common;
use crate::run::{Directory, Fleet, Tree, get_text};
use crate::table::{mib, print_row};

/// What `compare cardinality` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which target explodes.
    #[arg(long, default_value_t = 17)]
    target: usize,
    /// How long the fleet is well before; the last half of it is the measure for what follows.
    #[arg(long, default_value_t = 60)]
    before_seconds: u64,
    /// How long to watch afterwards.
    #[arg(long, default_value_t = 60)]
    after_seconds: u64,
}

/// What the status says of whoever met its limit.
const REASON: &str = "samples is exceeded";

/// Watches before and after.
pub(crate) fn measure(options: &Options, common: &Common) -> Result<Value> {
    ensure!(options.target < common.targets, "--target must be below --targets");
    let directory = Directory::make(common, "cardinality")?;
    let explode = format!("{}@{}", options.target, options.before_seconds);
    let begun_ms = now_ms();
    let fleet = Fleet::start(common, directory.path(), &["--explode", &explode])?;
    let mut tree = Tree::start(common, directory.path())?;
    let exploded_ms = begun_ms + (options.before_seconds * 1_000) as i64;
    let end_ms = exploded_ms + (options.after_seconds * 1_000) as i64;
    let instance = format!("{}:9100", Page::node_name(options.target));
    let (mut before, mut after, mut named_ms) = (Vec::new(), Vec::new(), None);
    while now_ms() < end_ms {
        sleep(Duration::from_secs(1))?;
        tree.secondary.check()?;
        let resident = tree.secondary.process().read()?.resident_bytes as f64;
        if now_ms() >= exploded_ms {
            after.push(resident);
            let status = get_text(&format!("{}/api/v1/status", tree.global_url))?;
            let is_named = status.contains(REASON) && status.contains(&instance);
            named_ms = named_ms.or_else(|| is_named.then(now_ms));
        } else if now_ms() >= begun_ms + (options.before_seconds * 500) as i64 {
            before.push(resident);
        }
    }
    tree.stop()?;
    let log_path = fleet.log.clone();
    fleet.running.stop()?;
    let log = read_log(&log_path)?;
    let (offenders, others): (Vec<_>, Vec<_>) = log.into_iter().partition(|one| one.target == options.target);
    let largest = offenders.iter().map(|one| one.samples).max().unwrap_or(0);
    let interval = Duration::from_secs(common.interval_seconds);
    let schedule = schedule_of(&others, common.targets, interval, exploded_ms, end_ms);
    // The offender itself is not in that log: all of its slots count as missed there.
    let own = (end_ms - exploded_ms) / interval.as_millis() as i64;
    let missed = schedule.missed.saturating_sub(own as u64);
    let (before, after) = (Percentiles::new(before).mean(), Percentiles::new(after));
    let named = named_ms.map(|at| (at - exploded_ms) as f64 / 1e3);
    let cells = [
        ("offender's samples", largest.to_string()),
        ("others' scrapes", (schedule.expected - own as u64).to_string()),
        ("missed", missed.to_string()),
        ("late p99 s", format!("{:.3}", schedule.lateness.at(0.99))),
        ("RSS before MiB", mib(before)),
        ("mean after", mib(after.mean())),
        ("highest after", mib(after.at(1.0))),
        ("of before", format!("{:.3}", after.at(1.0) / before)),
        ("in the status after s", named.map_or("never".to_owned(), |named| format!("{named:.1}"))),
    ];
    print_row(&cells);
    Ok(json!({
        "offender_samples": largest,
        "others_missed": missed,
        "others_lateness_p99_seconds": schedule.lateness.at(0.99),
        "resident_mean_bytes_before": before,
        "resident_mean_bytes_after": after.mean(),
        "resident_highest_bytes_after": after.at(1.0),
        "in_the_status_after_seconds": named,
    }))
}
