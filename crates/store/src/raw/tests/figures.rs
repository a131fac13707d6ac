use super::*;
use std::time::Instant;

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn value(target: u64, at: u64, scrape: u64) -> f64 {
    let own = mix(target << 32 | at);
    let magnitude = 10u64.pow(3 + (mix(at) % 9) as u32);
    let n = match at % 100 {
        0..48 => {
            if own % 2 == 0 {
                0
            } else {
                own % magnitude
            }
        }
        48..81 => {
            let step = 1 + own % (magnitude / 1000 + 9);
            own % magnitude + step * scrape + mix(own ^ scrape) % step
        }
        _ => magnitude / 2 + mix(own ^ scrape) % (magnitude / 10),
    };
    if at % 8 == 3 && at % 100 >= 48 { n as f64 / 100.0 } else { n as f64 }
}

fn family_bytes(store: &Store, name: &'static str) -> (usize, usize) {
    store
        .db
        .iterator_cf(store.family(name), rocksdb::IteratorMode::Start)
        .map(|e| e.unwrap())
        .fold((0, 0), |s, (k, v)| (s.0 + 1, s.1 + k.len() + v.len()))
}

#[test]
fn figures() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(ms(0), 1);
    options.bucket = Duration::from_secs(7200);
    let store = Store::open(dir.path(), &options).unwrap();
    let (targets, columns, scrapes) = (64u64, 1000u64, 480u64);
    let start = Instant::now();
    let metrics: Vec<MetricId> = (0..columns)
        .map(|n| {
            store
                .intern_metric(
                    &Labels::new([
                        (NAME, format!("node_family_{}_total", n / 8)),
                        ("cpu", n.to_string()),
                        ("mode", "system".into()),
                    ]),
                    Kind::Counter,
                )
                .unwrap()
        })
        .collect();
    println!("intern a metric: {:?}", start.elapsed() / columns as u32);
    let shape = store.intern_shape(&metrics).unwrap();
    let ids: Vec<TargetId> = (0..targets).map(|n| target(&store, &n.to_string())).collect();
    let mut appender = store.appender().unwrap();
    let (mut append, mut commit) = (Duration::ZERO, Duration::ZERO);
    for scrape in 0..scrapes {
        let rows: Vec<PageRow> = ids
            .iter()
            .enumerate()
            .map(|(t, id)| {
                let values: Vec<f64> = (0..columns).map(|c| value(t as u64, c, scrape)).collect();
                row(*id, (scrape * 15_000) as i64 + t as i64 * 100, shape, &values)
            })
            .collect();
        let mut batch = Batch::default();
        let start = Instant::now();
        for row in &rows {
            appender.append(&mut batch, row).unwrap();
        }
        append += start.elapsed();
        let start = Instant::now();
        store.commit(batch).unwrap();
        commit += start.elapsed();
    }
    let total = targets * columns * scrapes;
    let ns = |d: Duration| d.as_nanos() as f64 / total as f64;
    let rows = family_bytes(&store, "raw_rows");
    println!(
        "append {:.1} ns, commit {:.1} ns a sample; rows {} of {:.3} B a sample",
        ns(append),
        ns(commit),
        rows.0,
        rows.1 as f64 / total as f64
    );
    let start = Instant::now();
    let found = select(&store, &[Matcher::equal(NAME, "node_family_50_total")], TimeRange::ALL);
    println!("select of {} series from rows: {:?}", found.len(), start.elapsed());
    let start = Instant::now();
    let restored = store.appender().unwrap();
    println!("restore of {} targets: {:?}", restored.targets.len(), start.elapsed());
    let mut settle = store.settle_due(Timestamp::MAX, Duration::ZERO, 32 << 20).unwrap().unwrap();
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    let mut steps = 0;
    loop {
        let step = Instant::now();
        let more = settle.step().unwrap();
        longest = longest.max(step.elapsed());
        steps += 1;
        if !more {
            break;
        }
    }
    println!("settle {:.1} ns a sample, {steps} steps, longest {longest:?}", ns(start.elapsed()));
    drop(settle);
    let blocks = family_bytes(&store, "raw_blocks");
    println!("blocks {} of {:.3} B a sample", blocks.0, blocks.1 as f64 / total as f64);
    let start = Instant::now();
    let again = select(&store, &[Matcher::equal(NAME, "node_family_50_total")], TimeRange::ALL);
    println!("select from blocks: {:?}", start.elapsed());
    assert_eq!(found, again);
    let mut by = [(0usize, 0usize, 0u64); 3];
    let mut codecs = std::collections::BTreeMap::<(usize, u8), (usize, usize)>::new();
    for c in 0..columns {
        let class = match c % 100 {
            0..48 => 0,
            48..81 => 1,
            _ => 2,
        };
        for t in 0..8 {
            let values: Vec<f64> = (0..scrapes).map(|s| value(t, c, s)).collect();
            let mut out = Vec::new();
            crate::raw::column::ColumnWriter::default().put(&mut out, &values, &mut crate::raw::column::Trial::default());
            by[class].0 += out.len();
            by[class].1 += values.len();
            let e = codecs.entry((class, out[0])).or_default();
            e.0 += 1;
            e.1 += out.len();
        }
    }
    println!("{:?}", by.map(|b| b.0 as f64 / b.1 as f64));
    for (k, v) in codecs {
        println!("class {} codec {}: {} columns, {:.2} B a value", k.0, k.1, v.0, v.1 as f64 / v.0 as f64 / 480.0);
    }
}
