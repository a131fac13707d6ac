use firetower_model::{STALE, Select, Series, TimeRange, Timestamp};
use firetower_store::{DataDirectory, ModelDisk, Options};

use super::*;

const NOW_MS: i64 = 1_700_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: i64 = 86_400_000;

/// Labels and samples of a series to be sent.
type Sent<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

fn open(disk: &ModelDisk) -> (Store, Receiver) {
    let mut options = Options::new(Timestamp::from_millis(NOW_MS), 1);
    options.bucket = Duration::from_secs(7_200);
    let store = Store::open_in(&DataDirectory::Model(disk.clone()), &options).unwrap();
    let retention = watch::Sender::new(Retention { raw: 2 * DAY, ..Retention::default() });
    let limits = ReceiveLimits { window: Some(DAY), ..ReceiveLimits::default() };
    let clock = Clock::starting_at(Timestamp::from_millis(NOW_MS));
    let receiver = Receiver::new(store.clone(), clock, limits, retention.subscribe(), None);
    (store, receiver)
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes a request by hand, uncompressed inside its block of snappy.
fn request(series: &[Sent<'_>], histograms: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for (labels, samples) in series {
        let mut one = Vec::new();
        for (name, value) in *labels {
            let mut label = Vec::new();
            field(1, name.as_bytes(), &mut label);
            field(2, value.as_bytes(), &mut label);
            field(1, &label, &mut one);
        }
        for (at, value) in *samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend(value.to_bits().to_le_bytes());
            sample.push(2 << 3);
            varint((NOW_MS + at) as u64, &mut sample);
            field(2, &sample, &mut one);
        }
        (0..histograms).for_each(|_| field(4, &[], &mut one));
        field(1, &one, &mut message);
    }
    let mut block = Vec::new();
    varint(message.len() as u64, &mut block);
    for piece in message.chunks(60) {
        block.push((piece.len() as u8 - 1) << 2);
        block.extend_from_slice(piece);
    }
    block
}

/// Returns what the store has: `labels: time=value …`, times from now in milliseconds.
fn show(store: &Store) -> Vec<String> {
    let batches = store.select(&[], TimeRange::ALL).unwrap();
    let mut series: Vec<Series> = batches.flat_map(|batch| batch.unwrap()).collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let line = |series: &Series| {
        let samples = series.samples.iter().map(|sample| {
            let value = if firetower_model::is_stale(sample.value) { "stale".into() } else { sample.value.to_string() };
            format!(" {}={value}", sample.at.as_millis() - NOW_MS)
        });
        format!("{}:{}", series.labels, samples.collect::<String>())
    };
    series.iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn samples_in_any_order_are_kept_once_and_survive() {
    let disk = ModelDisk::new();
    let (store, receiver) = open(&disk);
    let a: &[(&str, &str)] = &[("job", "j"), ("__name__", "m"), ("instance", "a")];
    let b: &[(&str, &str)] = &[("__name__", "m")];
    let sent: [Sent<'_>; 2] = [(a, &[(-1_000, 2.0), (-DAY_MS, 1.0), (0, STALE)]), (b, &[(-7_200_000, f64::NAN)])];
    let taken = receiver.take(&request(&sent, 0)).unwrap();
    assert_eq!(taken, Taken { samples: 4, ..Taken::default() });
    let kept = ["m{instance=\"a\",job=\"j\"}: -86400000=1 -1000=2 0=stale", "m: -7200000=NaN"];
    let kept: Vec<String> = kept.map(str::to_owned).into();
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(show(&store)), sorted(kept.clone()));
    receiver.take(&request(&sent, 0)).unwrap();
    assert_eq!(sorted(show(&store)), sorted(kept.clone()), "sent again");
    assert_eq!(disk.unsynced_batches(), 0, "what is answered is synced");
    while let Some(settle) = store.settle_due(Timestamp::MAX, Duration::ZERO, 1_000).unwrap() {
        settle.run().unwrap();
    }
    assert_eq!(sorted(show(&store)), sorted(kept), "settled");
    // What comes for a settled bucket later, and another value for a moment.
    receiver.take(&request(&[(a, &[(-1_000, 3.0), (-500, 4.0)])], 0)).unwrap();
    assert_eq!(show(&store)[1], "m{instance=\"a\",job=\"j\"}: -86400000=1 -1000=3 -500=4 0=stale");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_counted_and_the_rest_is_kept() {
    let (store, receiver) = open(&ModelDisk::new());
    let m: &[(&str, &str)] = &[("__name__", "m")];
    let sent: [Sent<'_>; 3] = [
        (m, &[(-DAY_MS - 1, 1.0), (-DAY_MS, 2.0), (600_000, 3.0), (600_001, 4.0)]),
        (&[("a", "b")], &[(0, 5.0), (1, 6.0)]),
        (&[("__name__", "n"), ("", "c")], &[(0, 7.0)]),
    ];
    let taken = receiver.take(&request(&sent, 2)).unwrap();
    let complaint = "series {__name__=\"m\"}: the sample of 1699913599.999 is older than 86400s";
    let expected = Taken {
        samples: 2,
        refused: vec![("bad_labels", 3), ("too_old", 1), ("too_far_ahead", 1)],
        complaint: Some(complaint.into()),
        ignored: vec![("histograms", 6)],
    };
    assert_eq!(taken, expected);
    assert_eq!(show(&store), ["m: -86400000=2 600000=3"]);
    let taken = receiver.take(&request(&sent[1..], 0)).unwrap();
    assert_eq!(taken.complaint.as_deref(), Some("series {a=\"b\"}: there is no __name__"));
    assert!(matches!(receiver.take(b"nonsense"), Err(NotTaken::Malformed(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_scraped_and_written_too_is_one_series() {
    let (store, receiver) = open(&ModelDisk::new());
    let labels = |pairs: &[(&str, &str)]| firetower_model::Labels::new(pairs.iter().copied());
    let target = store.intern_target(&labels(&[("instance", "a"), ("job", "j")])).unwrap();
    let metric = store.intern_metric(&labels(&[("__name__", "m")]), Kind::Gauge).unwrap();
    let shape = store.intern_shape(&[metric]).unwrap();
    let mut appender = store.appender().unwrap();
    let mut batch = Batch::default();
    let at = Timestamp::from_millis(NOW_MS);
    let row = firetower_model::PageRow { target, at, shape, values: vec![1.0], timed: Vec::new() };
    appender.append(&mut batch, &row).unwrap();
    store.commit(batch).unwrap();
    let written: &[(&str, &str)] = &[("__name__", "m"), ("instance", "a"), ("job", "j")];
    receiver.take(&request(&[(written, &[(-5, 2.0), (0, 3.0)])], 0)).unwrap();
    assert_eq!(show(&store), ["m{instance=\"a\",job=\"j\"}: -5=2 0=1"], "at one moment the target known first counts");
    assert_eq!(appender.last(target).map(|last| last.values.to_vec()), Some(vec![1.0]));
}
