//! How long after its end a window's rows are visible at the global aggregator.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use firetower_benches::{Percentiles, now_ms, sleep, sleep_until};
use serde_json::{Value, json};

use crate::Common;
use crate::run::{Directory, Fleet, Tree, get_json};
use crate::table::print_table;

/// A window that takes longer is counted with this delay.
const DELAY_MAX_MS: i64 = 10_000;
const POLL_EVERY: Duration = Duration::from_millis(25);

/// What `compare freshness` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many windows to measure.
    #[arg(long, default_value_t = 20)]
    windows: i64,
    /// How many windows pass before.
    #[arg(long, default_value_t = 3)]
    warmup_windows: i64,
}

/// Delays of one window, in seconds after its end.
struct Delay {
    visible: f64,
    whole: f64,
}

/// Polls the global aggregator from each window's end on.
pub(crate) fn measure(options: &Options, common: &Common) -> Result<Value> {
    let directory = Directory::make(common, "freshness")?;
    let fleet = Fleet::start(common, directory.path(), &[])?;
    let tree = Tree::start(common, directory.path())?;
    let window_ms = (common.window_seconds * 1_000) as i64;
    let first_ms = (now_ms().div_euclid(window_ms) + 1 + options.warmup_windows) * window_ms;
    let mut delays = Vec::new();
    for window in 0..options.windows {
        delays.push(watch(&tree.global_url, first_ms + window * window_ms, window_ms)?);
    }
    tree.stop()?;
    fleet.running.stop()?;
    let visible = Percentiles::new(delays.iter().map(|delay| delay.visible).collect());
    let whole = Percentiles::new(delays.iter().map(|delay| delay.whole).collect());
    let mut rows =
        vec![["rows of a window, after its end", "p50 s", "p99 s", "worst s", "windows"].map(str::to_owned).to_vec()];
    for (what, delays) in [("visible", &visible), ("visible with every slot", &whole)] {
        let shares = [0.5, 0.99, 1.0].map(|share| format!("{:.3}", delays.at(share)));
        rows.push([&[what.to_owned()][..], &shares, &[delays.count().to_string()]].concat());
    }
    print_table(&rows);
    let figure = |delays: &Percentiles| json!({"p50": delays.at(0.5), "p99": delays.at(0.99), "worst": delays.at(1.0)});
    Ok(
        json!({"windows": options.windows, "targets": common.targets, "visible_seconds": figure(&visible), "whole_seconds": figure(&whole)}),
    )
}

fn watch(global_url: &str, start_ms: i64, window_ms: i64) -> Result<Delay> {
    let end_ms = start_ms + window_ms;
    let (start, end) = (start_ms as f64 / 1e3, end_ms as f64 / 1e3);
    let url = format!("{global_url}/api/v1/rows?name=up&job=fleet&datacenter=dub&start={start}&end={end}");
    sleep_until(end_ms)?;
    let mut visible = None;
    loop {
        let answer = get_json(&url)?;
        let after_ms = now_ms() - end_ms;
        let after = after_ms as f64 / 1e3;
        if has_rows(&answer, start) {
            visible.get_or_insert(after);
            if is_whole(&answer, start) {
                return Ok(Delay { visible: visible.unwrap_or(after), whole: after });
            }
        }
        if after_ms > DELAY_MAX_MS.min(window_ms * 2 / 3) {
            return Ok(Delay { visible: visible.unwrap_or(after), whole: after });
        }
        sleep(POLL_EVERY)?;
    }
}

fn has_rows(answer: &Value, start: f64) -> bool {
    let rows = answer["data"]["rows"].as_array().into_iter().flatten();
    let mut points = rows.flat_map(|row| row["points"].as_array().into_iter().flatten());
    points.any(|point| point["start"].as_f64() == Some(start))
}

fn is_whole(answer: &Value, start: f64) -> bool {
    let mut coverage = answer["data"]["coverage"].as_array().into_iter().flatten();
    coverage.any(|one| {
        one["start"].as_f64() == Some(start) && one["expected"].as_u64() > Some(0) && one["lost"].as_u64() == Some(0)
    })
}
