//! Memory and disk of a secondary while targets are replaced.

use anyhow::Result;
use clap::Args;
use firetower_benches::{Churn, Percentiles, disk_bytes, now_ms, sleep_until};
use serde_json::{Value, json};

use crate::Common;
use crate::run::{Directory, Fleet, SECONDARY, Tree};
use crate::table::{mib, print_table};

/// What `compare churn` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// PERCENT of the targets are replaced each SECONDS.
    #[arg(long, default_value = "10/60")]
    churn: Churn,
    /// How many replacements to watch, after the first, which is the measure for the others.
    #[arg(long, default_value_t = 12)]
    steps: u64,
}

/// What was seen between two replacements.
struct Step {
    resident_bytes: f64,
    disk_bytes: u64,
    /// Targets, metrics and shapes that the store knows by name.
    known: [f64; 3],
    samples: u64,
}

/// Watches from replacement to replacement.
pub(crate) fn measure(options: &Options, common: &Common) -> Result<Value> {
    let directory = Directory::make(common, "churn")?;
    let every = options.churn.every.as_secs();
    let churn = format!("{}/{every}", options.churn.percent);
    let fleet = Fleet::start(common, directory.path(), &["--churn", &churn])?;
    let mut tree = Tree::start(common, directory.path())?;
    let begun_ms = now_ms();
    let mut steps = Vec::new();
    for step in 0..=options.steps {
        let from_ms = begun_ms + (step * every * 1_000) as i64;
        let mut resident = Vec::new();
        for second in 1..=every {
            sleep_until(from_ms + (second * 1_000) as i64)?;
            tree.secondary.check()?;
            resident.push(tree.secondary.process().read()?.resident_bytes as f64);
        }
        // The last half: what came new has settled by then.
        let late = resident.split_off(resident.len() / 2);
        let known = ["targets", "metrics", "shapes"].map(|what| tree.metric(&format!("firetower_store_{what}")));
        let [targets, metrics, shapes] = known;
        steps.push(Step {
            resident_bytes: Percentiles::new(late).mean(),
            disk_bytes: disk_bytes(&directory.path().join(SECONDARY)),
            known: [targets?, metrics?, shapes?],
            samples: fleet.samples()?,
        });
        print(&steps);
    }
    tree.stop()?;
    fleet.running.stop()?;
    let first = steps.first().map_or(f64::NAN, |step| step.resident_bytes);
    let json = |step: &Step| {
        json!({
            "resident_mean_bytes": step.resident_bytes,
            "resident_of_the_first": step.resident_bytes / first,
            "disk_bytes": step.disk_bytes,
            "targets_known": step.known[0],
            "metrics_known": step.known[1],
            "shapes_known": step.known[2],
            "samples_served": step.samples,
        })
    };
    Ok(json!({ "churn": churn, "steps": steps.iter().map(json).collect::<Value>() }))
}

fn print(steps: &[Step]) {
    let head = ["step", "RSS MiB", "of the first", "disk MiB", "targets known", "metrics", "shapes", "M samples"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (at, step) in steps.iter().enumerate() {
        rows.push(vec![
            at.to_string(),
            mib(step.resident_bytes),
            format!("{:.3}", step.resident_bytes / steps[0].resident_bytes),
            mib(step.disk_bytes as f64),
            format!("{}", step.known[0]),
            format!("{}", step.known[1]),
            format!("{}", step.known[2]),
            format!("{:.2}", step.samples as f64 / 1e6),
        ]);
    }
    print_table(&rows);
}
