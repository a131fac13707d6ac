//! What a peer holds, counted through range selectors.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::run::get_json;

/// Returns how many samples of the lines called `names` a peer holds, counted through range selectors.
pub(crate) fn stored_samples(url: &str, names: &[String], age: Duration) -> Result<u64> {
    let mut stored = 0;
    for name in names {
        let query = format!("{name}%7Bjob%3D%22fleet%22%7D%5B{}s%5D", age.as_secs());
        let url = format!("{url}/api/v1/query?query={query}");
        let mut body = ureq::get(&url).call().with_context(|| format!("get {url}"))?.into_body().into_reader();
        stored += count_samples(&mut body).with_context(|| format!("read {url}"))?;
    }
    Ok(stored)
}

/// Counts the samples of a matrix without keeping it: each ends in `"]`, and nothing else does.
fn count_samples(matrix: &mut impl Read) -> Result<u64> {
    let mut chunk = vec![0u8; 1 << 16];
    let (mut count, mut before) = (0, 0u8);
    loop {
        let read = matrix.read(&mut chunk)?;
        if read == 0 {
            return Ok(count);
        }
        for byte in &chunk[..read] {
            count += u64::from(before == b'"' && *byte == b']');
            before = *byte;
        }
    }
}

/// Returns which scrapes of which targets a secondary holds in the `age` before `at_ms`, as the pages themselves say.
pub(crate) fn stored_scrapes(url: &str, targets: usize, at_ms: i64, age: Duration) -> Result<BTreeSet<(usize, u64)>> {
    let mut scrapes = BTreeSet::new();
    for hundred in 0..targets.div_ceil(100) {
        // One hundred at a time: answers have a limit.
        let selector = format!("fleet_scrapes_total{{instance=~\"host-{hundred:03}..:9100\"}}[{}s]", age.as_secs());
        let selector: String = selector.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = get_json(&format!("{url}/api/v1/query?query={selector}&time={}", at_ms as f64 / 1e3))?;
        for series in answer["data"]["result"].as_array().into_iter().flatten() {
            let instance = series["metric"]["instance"].as_str().unwrap_or_default();
            let target =
                instance.get(5..10).and_then(|number| number.parse().ok()).context("an instance of the fleet")?;
            let values = series["values"].as_array().into_iter().flatten();
            let numbers = values.filter_map(|value| value[1].as_str()?.parse::<f64>().ok());
            scrapes.extend(numbers.map(|number| (target, number as u64)));
        }
    }
    Ok(scrapes)
}
