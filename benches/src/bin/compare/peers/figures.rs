//! What turns of peers came to, as tables.

use firetower_benches::Percentiles;
use serde_json::{Value, json};

use crate::table::{mib, print_table};

/// What one turn of one peer came to.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) peer: String,
    pub(super) cpu_seconds: f64,
    pub(super) per_million: f64,
    /// Processor time per million samples since the process began.
    pub(super) whole: f64,
    pub(super) samples: u64,
    pub(super) mean_bytes: f64,
    pub(super) peak_bytes: u64,
    pub(super) missed: u64,
    pub(super) expected: u64,
    pub(super) lateness_p99: f64,
    pub(super) served: u64,
    pub(super) stored: Option<u64>,
    /// What the data directory takes at the end, logs and all.
    pub(super) disk_bytes: u64,
    pub(super) others_cpu_seconds: f64,
}

impl Figures {
    fn disk_per_sample(&self) -> f64 {
        self.disk_bytes as f64 / self.served as f64
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "peer": self.peer,
            "cpu_seconds": self.cpu_seconds,
            "samples": self.samples,
            "cpu_seconds_per_million": self.per_million,
            "cpu_seconds_per_million_from_start": self.whole,
            "resident_mean_bytes": self.mean_bytes,
            "resident_peak_bytes": self.peak_bytes,
            "scrapes_expected": self.expected,
            "scrapes_missed": self.missed,
            "lateness_p99_seconds": self.lateness_p99,
            "served_samples": self.served,
            "stored_samples": self.stored,
            "disk_bytes": self.disk_bytes,
            "disk_bytes_per_sample": self.disk_per_sample(),
            "primary_and_global_cpu_seconds": self.others_cpu_seconds,
        })
    }
}

/// Prints a row for each turn so far.
pub(super) fn print(turns: &[Figures]) {
    let head = [
        "peer",
        "CPU-s/M",
        "from start",
        "CPU-s",
        "M samples",
        "RSS mean MiB",
        "peak MiB",
        "missed",
        "of",
        "late p99 s",
        "served",
        "stored",
        "disk B/sample",
        "others' CPU-s",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for one in turns {
        rows.push(vec![
            one.peer.clone(),
            format!("{:.3}", one.per_million),
            format!("{:.3}", one.whole),
            format!("{:.1}", one.cpu_seconds),
            format!("{:.2}", one.samples as f64 / 1e6),
            mib(one.mean_bytes),
            mib(one.peak_bytes as f64),
            one.missed.to_string(),
            one.expected.to_string(),
            format!("{:.3}", one.lateness_p99),
            one.served.to_string(),
            one.stored.map_or("-".into(), |stored| stored.to_string()),
            format!("{:.2}", one.disk_per_sample()),
            format!("{:.1}", one.others_cpu_seconds),
        ]);
    }
    print_table(&rows);
}

/// Prints the median turn of each of `peers`, beside how many times the last peer's it is.
pub(super) fn medians(peers: &[String], turns: &[Figures]) -> Value {
    let figures: [fn(&Figures) -> f64; 4] =
        [|one| one.per_million, |one| one.mean_bytes, |one| one.peak_bytes as f64, Figures::disk_per_sample];
    let median = |peer: &str, figure: fn(&Figures) -> f64| {
        Percentiles::new(turns.iter().filter(|one| one.peer == peer).map(figure).collect()).at(0.5)
    };
    let last = peers.last().map_or("", String::as_str);
    let against = format!("times {last}'s");
    let head =
        ["median of", "CPU-s/M", &against, "RSS mean MiB", &against, "peak MiB", &against, "disk B/sample", &against];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut json = serde_json::Map::new();
    for peer in peers {
        let medians = figures.map(|figure| median(peer, figure));
        let ratios: Vec<f64> = figures.iter().zip(medians).map(|(figure, of)| of / median(last, *figure)).collect();
        let [per_million, mean, peak, disk] = medians;
        let shown = [format!("{per_million:.3}"), mib(mean), mib(peak), format!("{disk:.2}")];
        let cells = shown.into_iter().zip(&ratios).flat_map(|(figure, ratio)| [figure, format!("{ratio:.2}")]);
        rows.push([peer.clone()].into_iter().chain(cells).collect());
        let of_peer = json!({
            "cpu_seconds_per_million": per_million,
            "resident_mean_bytes": mean,
            "resident_peak_bytes": peak,
            "disk_bytes_per_sample": disk,
            "times_the_last": ratios,
        });
        json.insert(peer.clone(), of_peer);
    }
    print_table(&rows);
    json.into()
}
