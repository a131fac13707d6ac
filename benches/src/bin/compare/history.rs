//! Hours of data that a secondary finds when it starts, made at once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use firetower_benches::{Feed, Page, Pages, now_ms, sleep};
use firetower_model::{Labels, Timestamp};
use firetower_store::{Batch, Options, Store};

use crate::Common;
use crate::run::{LATE_SECONDS, target_labels};

/// Fills the secondary's directory `data` with what it would have of the `seconds` before now, if any; returns how often
/// each target was scraped.
pub(crate) fn make_history(common: &Common, data: &Path, seconds: u64) -> Result<u64> {
    if seconds == 0 {
        return Ok(0);
    }
    let is_plain = !common.cadvisor && common.recorded.is_none() && common.block.is_none();
    ensure!(is_plain, "history is of nodes, in blocks of the usual length");
    let page = Page::new(1, common.series).with_decimals();
    let pages = Pages::Node(if common.unlike { page.unlike() } else { page });
    let now = Timestamp::from_millis(now_ms());
    let options = Options::new(now, 1);
    let store = Store::open(data, &options)?;
    let targets: Vec<Labels> = (0..common.targets).map(target_labels).collect();
    let (mut feed, mut appender) = (Feed::new(&store, &targets)?, store.appender()?);
    let interval = Duration::from_secs(common.interval_seconds);
    let scrapes = seconds / common.interval_seconds;
    for scrape in 0..scrapes {
        // It may take minutes: a signal ends it.
        sleep(Duration::ZERO)?;
        let from = now - interval * (scrapes - scrape) as u32;
        let mut batch = Batch::default();
        for row in feed.rows(&pages, scrape, from, interval)? {
            appender.append(&mut batch, &row)?;
        }
        store.commit(batch)?;
    }
    while let Some(settle) = store.settle_due(now, Duration::from_secs(LATE_SECONDS), options.memory.settle_bytes)? {
        settle.run()?;
    }
    store.sync()?;
    Ok(scrapes)
}
