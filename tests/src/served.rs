//! Compares what the fleet says it served with what the leaves say they hold.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};
use firetower_benches::{Page, Response};

use crate::answers::RawSeries;

/// Checks the raw samples in `[start_ms, end_ms)`, a time without crashes, against the fleet's own log: every page
/// served is stored once, nothing else is, and every value is the one on the page, bit for bit.
///
/// # Errors
/// With the first page or value that differs.
pub fn check_served(
    page: &Page,
    log: &[Response],
    series: &[RawSeries],
    start_ms: i64,
    end_ms: i64,
    interval_ms: i64,
) -> Result<()> {
    let stored = stored_scrapes(page, series, start_ms, end_ms)?;
    let served: HashMap<(usize, u64), i64> =
        log.iter().filter(|response| response.samples > 0).map(|r| ((r.target, r.scrape), r.requested_ms)).collect();
    for ((target, at), scrape) in &stored {
        let requested = served
            .get(&(*target, *scrape))
            .with_context(|| format!("target {target} at {at}: scrape {scrape} is stored, but was not served"))?;
        ensure!(
            (requested - at).abs() < interval_ms,
            "target {target}, scrape {scrape}: stored at {at}, served at {requested}"
        );
    }
    let stored_of: HashMap<(usize, u64), i64> =
        stored.iter().map(|(&(target, at), &scrape)| ((target, scrape), at)).collect();
    ensure!(stored_of.len() == stored.len(), "a page is stored twice");
    for ((target, scrape), requested) in &served {
        let is_well_inside = (start_ms + interval_ms..end_ms - interval_ms).contains(requested);
        ensure!(
            !is_well_inside || stored_of.contains_key(&(*target, *scrape)),
            "target {target}: scrape {scrape} was served at {requested}, but is not stored"
        );
    }
    check_values(page, &stored, series, start_ms, end_ms)
}

/// Returns, by target and time, which scrape was stored.
fn stored_scrapes(
    page: &Page,
    series: &[RawSeries],
    start_ms: i64,
    end_ms: i64,
) -> Result<BTreeMap<(usize, i64), u64>> {
    let name = &page.lines()[page.scrapes_line()].name;
    let mut stored = BTreeMap::new();
    for one in series.iter().filter(|one| one.label("__name__") == name) {
        let target = target_of(one)?;
        for (at, value) in one.samples.iter().filter(|(at, _)| (start_ms..end_ms).contains(at)) {
            stored.insert((target, *at), *value as u64);
        }
    }
    ensure!(!stored.is_empty(), "no {name} from {start_ms} to {end_ms}");
    Ok(stored)
}

fn check_values(
    page: &Page,
    stored: &BTreeMap<(usize, i64), u64>,
    series: &[RawSeries],
    start_ms: i64,
    end_ms: i64,
) -> Result<()> {
    let line_of: HashMap<(&str, BTreeMap<String, String>), usize> = page
        .lines()
        .iter()
        .enumerate()
        .map(|(at, line)| ((line.name.as_str(), parse_labels(&line.labels)), at))
        .collect();
    let mut checked = 0;
    for one in series {
        let target = target_of(one)?;
        let mut labels = one.labels.clone();
        labels.retain(|name, _| !["__name__", "job", "instance", "region", "datacenter"].contains(&name.as_str()));
        if let Some(nodename) = labels.get_mut("nodename") {
            ensure!(*nodename == Page::node_name(target), "{:?}", one.labels);
            *nodename = "{node}".into();
        }
        let Some(line) = line_of.get(&(one.label("__name__"), labels)) else { continue };
        for (at, value) in one.samples.iter().filter(|(at, _)| (start_ms..end_ms).contains(at)) {
            let scrape =
                stored.get(&(target, *at)).with_context(|| format!("{:?} at {at}: no such scrape", one.labels))?;
            let served = page.value(target, *line, *scrape);
            ensure!(value.to_bits() == served.to_bits(), "{:?} at {at}: {value} stored, {served} served", one.labels);
            checked += 1;
        }
    }
    let expected = stored.len() * page.lines().len();
    ensure!(checked == expected, "{checked} samples are stored, {expected} were served");
    Ok(())
}

fn target_of(series: &RawSeries) -> Result<usize> {
    let instance = series.label("instance");
    let number = instance.strip_prefix("host-").and_then(|rest| rest.split(':').next());
    number.and_then(|number| number.parse().ok()).with_context(|| format!("instance {instance:?} is not of the fleet"))
}

/// Reads `{a="b",c="d"}` without escapes.
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    let inner = if text.ends_with("\"}") { inner } else { text };
    let pairs = inner.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one target of a fleet says in scrapes 5, 6 and 7, as a leaf would hold it.
    fn stored(page: &Page) -> Vec<RawSeries> {
        let series = |(at, line): (usize, &firetower_benches::Line)| {
            let mut labels = parse_labels(&line.labels.replace("{node}", &Page::node_name(2)));
            let own = [("__name__", line.name.as_str()), ("job", "fleet"), ("instance", "host-00002:9100")];
            labels.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
            let sample = |scrape: u64| (scrape as i64 * 1_000, page.value(2, at, scrape));
            RawSeries { labels, samples: (5..8).map(sample).collect() }
        };
        page.lines().iter().enumerate().map(series).collect()
    }

    #[test]
    fn whatever_is_not_as_served_is_found() {
        let page = Page::new(1, 50);
        let response =
            |scrape: u64| Response { target: 2, scrape, requested_ms: scrape as i64 * 1_000 + 3, samples: 50 };
        let log: Vec<Response> = (4..8).map(response).collect();
        let check = |change: &dyn Fn(&mut Vec<RawSeries>), complaint: &str| {
            let mut series = stored(&page);
            change(&mut series);
            let said = check_served(&page, &log, &series, 4_500, 8_000, 500).err();
            let said = said.map_or(String::new(), |error| format!("{error:#}"));
            assert!(said.contains(complaint) && said.is_empty() == complaint.is_empty(), "{said:?}, not {complaint:?}");
        };
        let scrapes = page.scrapes_line();
        check(&|_| {}, "");
        check(&|series| series[9].samples[1].1 += 1.0, "served");
        check(&|series| _ = series[9].samples.remove(1), "149 samples are stored, 150 were served");
        check(&|series| _ = series.remove(9), "147 samples are stored, 150 were served");
        check(&|series| series[scrapes].samples[2].1 = 9.0, "scrape 9 is stored, but was not served");
        check(&|series| series[scrapes].samples[2].1 = 6.0, "stored at 7000, served at 6003");
        check(
            &|series| series.iter_mut().for_each(|one| _ = one.samples.remove(1)),
            "scrape 6 was served at 6003, but is not stored",
        );
    }

    #[test]
    fn labels_of_a_page_line_read_back() {
        let parsed = parse_labels("{machine=\"x86_64\",nodename=\"{node}\"}");
        assert_eq!(parsed["machine"], "x86_64");
        assert_eq!(parsed["nodename"], "{node}");
        assert!(parse_labels("").is_empty());
    }
}
