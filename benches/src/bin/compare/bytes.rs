//! Bytes a window from secondary to primary: they must not follow the number of servers.

use anyhow::Result;
use clap::Args;
use firetower_benches::{now_ms, sleep_until};
use serde_json::{Value, json};

use crate::Common;
use crate::run::{Directory, Fleet, Tree};
use crate::table::print_table;

/// What `compare bytes` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many windows to measure.
    #[arg(long, default_value_t = 8)]
    windows: i64,
    /// How many windows pass before: the first carry the dictionary.
    #[arg(long, default_value_t = 3)]
    warmup_windows: i64,
    /// The sizes of the fleets; the first is compared with the others.
    #[arg(long, value_delimiter = ',', default_value = "5000,500")]
    sizes: Vec<usize>,
}

/// What went from secondary to primary, or how much of it a window.
struct Sent {
    payload_bytes: f64,
    socket_bytes: f64,
    frames: f64,
}

/// Measures a tree per fleet size.
pub(crate) fn measure(options: &Options, common: &Common) -> Result<Value> {
    let head =
        ["targets", "frame bytes/window", "of the first", "socket bytes/window", "of the first", "frames/window"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut figures = Vec::new();
    let mut first: Option<(f64, f64)> = None;
    for &targets in &options.sizes {
        let sent = one(options, &Common { targets, ..common.clone() })?;
        let (payload, socket) = *first.get_or_insert((sent.payload_bytes, sent.socket_bytes));
        let (payload, socket) = (sent.payload_bytes / payload, sent.socket_bytes / socket);
        rows.push(vec![
            targets.to_string(),
            format!("{:.0}", sent.payload_bytes),
            format!("{payload:.3}"),
            format!("{:.0}", sent.socket_bytes),
            format!("{socket:.3}"),
            format!("{:.2}", sent.frames),
        ]);
        figures.push(json!({
            "targets": targets,
            "frame_bytes_per_window": sent.payload_bytes,
            "frame_bytes_of_the_first": payload,
            "socket_bytes_per_window": sent.socket_bytes,
            "socket_bytes_of_the_first": socket,
            "frames_per_window": sent.frames,
        }));
    }
    print_table(&rows);
    Ok(figures.into())
}

/// Reads the counters in the middle between two closes, so that whole windows lie between the readings.
fn one(options: &Options, common: &Common) -> Result<Sent> {
    let directory = Directory::make(common, &format!("bytes-{}", common.targets))?;
    let fleet = Fleet::start(common, directory.path(), &[])?;
    let tree = Tree::start(common, directory.path())?;
    let window_ms = (common.window_seconds * 1_000) as i64;
    let from_ms = (now_ms().div_euclid(window_ms) + 1 + options.warmup_windows) * window_ms + window_ms * 2 / 3;
    sleep_until(from_ms)?;
    let before = read(&tree)?;
    sleep_until(from_ms + options.windows * window_ms)?;
    let after = read(&tree)?;
    tree.stop()?;
    fleet.running.stop()?;
    let windows = options.windows as f64;
    Ok(Sent {
        payload_bytes: (after.payload_bytes - before.payload_bytes) / windows,
        socket_bytes: (after.socket_bytes - before.socket_bytes) / windows,
        frames: (after.frames - before.frames) / windows,
    })
}

fn read(tree: &Tree) -> Result<Sent> {
    Ok(Sent {
        payload_bytes: tree.metric("firetower_relay_sent_bytes_total")?,
        socket_bytes: tree.socket_bytes()? as f64,
        frames: tree.metric("firetower_relay_sent_frames_total")?,
    })
}
