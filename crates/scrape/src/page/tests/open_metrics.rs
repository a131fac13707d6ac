//! Pages in OpenMetrics: the fast path reads them as the plain one does, and refuses what that refuses.

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{BTreeMap, Bench, Ids, PageReader, PageShapes, ReadOptions, TargetPage, read};
use crate::exposition::{Format, parse};

/// A line of some page, nearly always well-formed: which of a few series, with or without a time and an exemplar.
fn line() -> impl Strategy<Value = String> {
    let series = prop_oneof![
        (0u8..12).prop_map(|n| format!("a{n}_total ")),
        (0u8..12).prop_map(|n| format!("a_bucket{{le=\"{n}\"}} ")),
        (0u8..4).prop_map(|n| format!("{{\"a.{n}\",\"b c\"=\"d\"}} ")),
        (0u8..4).prop_map(|n| format!("same{n} ")),
        (0u8..4).prop_map(|n| format!("drop{n} ")),
    ];
    let value = prop_oneof![
        any::<u32>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| format!("{value:?}")),
        Just("1".to_owned()),
        Just("+Inf".to_owned()),
    ];
    let time = prop_oneof![
        6 => Just(String::new()),
        1 => (0u16..).prop_map(|at| format!(" {at}")),
        1 => (-1e3f64..1e3).prop_map(|at| format!(" {at:.4}")),
    ];
    let exemplar = prop_oneof![
        6 => Just(String::new()),
        1 => (0u8..9).prop_map(|id| format!(" # {{id=\"{id} # {{}}\"}} 0.{id}")),
        1 => (0u8..9).prop_map(|at| format!(" # {{}} 1e{at} {at}.5")),
    ];
    let end = prop_oneof![40 => Just("\n"), 1 => Just(" \n"), 1 => Just("\n\n"), 1 => Just(" # \n")];
    let sample = (series, value, time, exemplar, end)
        .prop_map(|(series, value, time, exemplar, end)| format!("{series}{value}{time}{exemplar}{end}"));
    prop_oneof![
        12 => sample,
        1 => (0u8..3).prop_map(|n| format!("# HELP a{n} help\n")),
        1 => (0u8..3).prop_map(|n| format!("# TYPE a{n} counter\n")),
        1 => (0u8..3).prop_map(|n| format!("# UNIT a{n}_s s\n")),
    ]
}

/// Pages of which each is the one before with a few lines exchanged, left out or put in.
fn pages() -> impl Strategy<Value = Vec<String>> {
    let changes = proptest::collection::vec((0usize..40, 0u8..3, line()), 0..5);
    let end = prop_oneof![20 => Just("# EOF\n"), 4 => Just("# EOF"), 1 => Just(""), 1 => Just("# EOF\n\n")];
    let rounds = proptest::collection::vec((changes, end), 1..6);
    (proptest::collection::vec(line(), 0..20), rounds).prop_map(|(mut lines, rounds)| {
        let mut pages = Vec::new();
        for (changes, end) in rounds {
            for (at, change, line) in changes {
                let at = if lines.is_empty() { 0 } else { at % lines.len() };
                match change {
                    0 if !lines.is_empty() => lines[at] = line,
                    1 if !lines.is_empty() => drop(lines.remove(at)),
                    _ => lines.insert(at, line),
                }
            }
            pages.push(lines.concat() + end);
        }
        pages
    })
}

proptest! {
    #[test]
    fn a_known_page_reads_as_an_unknown_one(pages in pages(), honor_timestamps in any::<bool>()) {
        let mut bench = Bench::default();
        let options = ReadOptions { format: Format::OpenMetrics, honor_timestamps, ..ReadOptions::default() };
        for page in pages {
            let Bench { reader, shapes, target, ids } = &mut bench;
            let fast = read(reader, shapes, target, ids, &page, options);
            let (fresh_shapes, mut fresh) = (PageShapes::default(), TargetPage::default());
            let plain = read(&mut PageReader::default(), &fresh_shapes, &mut fresh, ids, &page, options);
            let parsed = parse(page.as_bytes(), Format::OpenMetrics);
            match (fast, plain, parsed) {
                (Ok(fast), Ok(plain), Ok(parsed)) => {
                    assert_eq!((&fast.values, &fast.timed), (&plain.values, &plain.timed), "{page:?}");
                    assert_eq!(parsed.len(), fast.counts.scraped, "{page:?}");
                    assert_eq!(fast.counts.kept, plain.counts.kept, "{page:?}");
                }
                (Err(fast), Err(plain), Err(parsed)) => {
                    assert_eq!((&fast, fast.to_string()), (&plain, parsed.to_string()), "{page:?}");
                }
                (fast, plain, parsed) => panic!("{page:?}: {fast:?} {plain:?} {parsed:?}"),
            }
        }
    }
}

#[test]
fn exemplars_and_times_do_not_make_a_line_unknown() {
    let mut bench = Bench { ids: Ids::default(), ..Bench::default() };
    let options = ReadOptions { format: Format::OpenMetrics, honor_timestamps: true, ..ReadOptions::default() };
    let mut read = |page: &str| {
        let Bench { reader, shapes, target, ids } = &mut bench;
        let outcome = read(reader, shapes, target, ids, page, options).expect(page);
        let values: BTreeMap<u32, f64> =
            outcome.values.iter().map(|(metric, bits)| (metric.0, f64::from_bits(*bits))).collect();
        (values.into_iter().collect::<Vec<_>>(), outcome.timed.len(), ids.resolved)
    };
    let first = read("# TYPE a counter\na_total 1 # {x=\"y\"} 1\na_created 5\nb 3\n# EOF\n");
    assert_eq!(first, (vec![(0, 1.0), (1, 5.0), (2, 3.0)], 0, 3));
    let second = read("# TYPE a counter\na_total 2\na_created 5\nb 4 1.5 # {} 2\n# EOF");
    assert_eq!(second, (vec![(0, 2.0), (1, 5.0)], 1, 3));
}
