//! The same samples for whoever takes remote_write.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use firetower_benches::sleep;
use firetower_model::PageRow;
use firetower_store::Store;

/// How many scrapes of a target go into one request.
const SCRAPES: usize = 30;

/// Writes rows on to peers.
pub(crate) struct Writer {
    urls: Vec<String>,
    /// The last few rounds of scrapes.
    rounds: Vec<Vec<PageRow>>,
    /// How many rounds are still to come.
    rounds_left: u64,
    samples: u64,
}

impl Writer {
    /// Makes one that will be given so many rounds.
    pub(crate) fn new(urls: Vec<String>, rounds: u64) -> Writer {
        Writer { urls, rounds: Vec::new(), rounds_left: rounds, samples: 0 }
    }

    /// Returns how many samples it was given.
    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Takes a round of scrapes of all targets.
    pub(crate) fn add(&mut self, store: &Store, rows: Vec<PageRow>) -> Result<()> {
        self.samples += rows.iter().map(|row| row.values.len() as u64).sum::<u64>();
        self.rounds.push(rows);
        self.rounds_left -= 1;
        if self.rounds.len() < SCRAPES && self.rounds_left > 0 {
            return Ok(());
        }
        let rounds = std::mem::take(&mut self.rounds);
        let targets = rounds.first().map_or(0, Vec::len);
        let requests: Vec<Vec<u8>> = (0..targets).map(|at| request(store, &rounds, at)).collect::<Result<_>>()?;
        self.post(&requests)
    }

    /// Sends the requests to everybody at once.
    fn post(&self, requests: &[Vec<u8>]) -> Result<()> {
        let post = |url: &str| -> Result<()> {
            let agent = ureq::Agent::new_with_defaults();
            for request in requests {
                // It may take minutes: a signal ends it.
                sleep(Duration::ZERO)?;
                let post = agent.post(url).header("Content-Encoding", "snappy");
                let post = post.header("Content-Type", "application/x-protobuf");
                let post = post.header("X-Prometheus-Remote-Write-Version", "0.1.0");
                post.send(request.as_slice()).with_context(|| format!("write to {url}"))?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let posts: Vec<_> = self.urls.iter().map(|url| scope.spawn(move || post(url))).collect();
            posts.into_iter().try_for_each(|post| post.join().expect("it does not panic"))
        })
    }
}

/// Returns what the target at `at` of each round has, as a `prometheus.WriteRequest` in a snappy block.
///
/// Source: Prometheus `prompb/remote.proto`, `prompb/types.proto`.
fn request(store: &Store, rounds: &[Vec<PageRow>], at: usize) -> Result<Vec<u8>> {
    let rows: Vec<&PageRow> = rounds.iter().map(|rows| &rows[at]).collect();
    let shape = rows[0].shape;
    ensure!(rows.iter().all(|row| row.shape == shape && row.timed.is_empty()), "pages of a target differ");
    let metrics = store.shape_metrics(shape).context("a shape has metrics")?;
    let under = store.target_labels(rows[0].target).context("a target has labels")?;
    let (mut message, mut series) = (Vec::new(), Vec::new());
    for (column, metric) in metrics.iter().enumerate() {
        let (over, _) = store.metric_labels(*metric).context("a metric has labels")?;
        series.clear();
        for (name, value) in &under.overlaid(&over) {
            let mut label = Vec::with_capacity(name.len() + value.len() + 4);
            put_bytes(&mut label, 1, name.as_bytes());
            put_bytes(&mut label, 2, value.as_bytes());
            put_bytes(&mut series, 1, &label);
        }
        for row in &rows {
            let mut sample = vec![1 << 3 | FIXED];
            sample.extend_from_slice(&row.values[column].to_le_bytes());
            sample.push(2 << 3 | VARINT);
            put_varint(&mut sample, row.at.as_millis() as u64);
            put_bytes(&mut series, 2, &sample);
        }
        put_bytes(&mut message, 1, &series);
    }
    snap::raw::Encoder::new().compress_vec(&message).context("compress")
}

const VARINT: u8 = 0;
const FIXED: u8 = 1;
const BYTES: u8 = 2;

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
