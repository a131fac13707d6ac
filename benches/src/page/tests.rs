use std::collections::BTreeSet;

use super::*;

/// Values of the sample lines of `text`, in order.
fn values(text: &str) -> Vec<f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

fn rendered(page: &Page, target: usize, scrape: u64) -> String {
    let mut text = Vec::new();
    let samples = page.render(target, scrape, &mut text);
    let text = String::from_utf8(text).unwrap();
    assert_eq!(samples as usize, values(&text).len());
    text
}

#[test]
fn a_page_reads_back_as_its_values() {
    let uniform = Page::new(4, 200).with_decimals().with_values(Values::Uniform);
    for page in [Page::new(1, 200), Page::new(2, 50).with_resets(3), Page::new(3, 1000).with_decimals(), uniform] {
        for (target, scrape) in [(0, 0), (17, 1), (4999, 12_345)] {
            let expected: Vec<f64> = (0..page.lines().len()).map(|at| page.value(target, at, scrape)).collect();
            assert_eq!(values(&rendered(&page, target, scrape)), expected);
        }
    }
}

#[test]
fn every_series_is_there_once() {
    for series in [2, 50, 200, 1000, 3000] {
        let page = Page::new(1, series);
        assert_eq!(page.lines().len(), series);
        let names: BTreeSet<_> = page.lines().iter().map(|line| (&line.name, &line.labels)).collect();
        assert_eq!(names.len(), series, "of {series}");
    }
}

#[test]
fn behaviours_have_their_shares_and_bytes() {
    let page = Page::new(1, 1000);
    let share = |behaviour| page.lines().iter().filter(|line| line.behaviour == behaviour).count();
    assert_eq!([Behaviour::Constant, Behaviour::Growing, Behaviour::Moving].map(share), [480, 330, 190]);
    for series in [200, 500, 1000] {
        let bytes = rendered(&Page::new(1, series).with_decimals(), 0, 5).len() / series;
        assert!((106..=118).contains(&bytes), "{bytes} bytes of page a sample of {series}");
    }
}

#[test]
fn lines_do_as_they_say() {
    let page = Page::new(9, 200);
    for (at, line) in page.lines().iter().enumerate() {
        let values: Vec<f64> = (0..300).map(|scrape| page.value(3, at, scrape)).collect();
        let changes = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
        match line.behaviour {
            Behaviour::Constant => assert_eq!(changes, 0),
            Behaviour::Growing => assert!(values.is_sorted() && changes > 0, "{line:?}: {values:?}"),
            Behaviour::Moving => assert!(changes > 30 && !values.is_sorted(), "{line:?}: {values:?}"),
        }
    }
}

#[test]
fn counters_start_again_from_zero() {
    let page = Page::new(9, 50).with_resets(1_000);
    for at in (0..50).filter(|at| page.lines()[*at].is_cumulative() && *at != page.scrapes_line()) {
        assert!(page.value(0, at, 1_000) < page.value(0, at, 999));
        assert!(page.value(0, at, 2_000) < page.value(0, at, 1_999));
    }
}

#[test]
fn unlike_pages_share_little() {
    let page = Page::new(1, 1000).unlike();
    let heads = |target: usize, scrape: u64| -> Vec<String> {
        let text = rendered(&page, target, scrape);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let (one, later, other) = (heads(1, 0), heads(1, 40), heads(2, 0));
    let naming = one.iter().filter(|head| head.contains("host-00001")).count();
    assert!((250..350).contains(&naming), "{naming} lines name the target");
    let set = |heads: &[String]| heads.iter().cloned().collect::<BTreeSet<_>>();
    let fickle = set(&one).symmetric_difference(&set(&later)).count();
    assert!((2..20).contains(&fickle), "{fickle} lines came or went");
    let moved = one.iter().zip(&later).filter(|(a, b)| a != b).count();
    assert!(moved > 300, "{moved} lines moved");
    assert_ne!(one[0].split('{').next(), other[0].split('{').next());
    assert_eq!(set(&one).len(), one.len());
}

#[test]
fn an_exploded_page_has_copies_of_each_line() {
    let page = Page::new(1, 50);
    let mut text = Vec::new();
    assert_eq!(page.render_exploded(3, 7, 100, &mut text), 5_000);
    let text = String::from_utf8(text).unwrap();
    let heads: BTreeSet<&str> =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(heads.len(), 5_000);
    assert!(
        heads.contains("node_uname_info{machine=\"x86_64\",nodename=\"host-00003\",sysname=\"Linux\",copy=\"99\"}")
    );
}

#[test]
fn lifelike_values_have_little_in_them() {
    let lifelike: f64 = (0..100).map(|target| Page::new(1, 1000).entropy_bits(target)).sum::<f64>() / 100.0;
    let uniform = Page::new(1, 1000).with_values(Values::Uniform).entropy_bits(0);
    assert!((3.0..5.0).contains(&lifelike) && uniform > 6.0, "{lifelike} bits a sample, {uniform} uniform");
}
