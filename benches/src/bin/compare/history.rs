//! Hours of data that a secondary finds when it starts, made at once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use firetower_benches::{Feed, Page, Pages, now_ms, sleep};
use firetower_model::{Labels, PageRow, Timestamp};
use firetower_store::{Batch, Options, Store};

use crate::Common;
use crate::run::{LATE_SECONDS, target_labels};

/// What a secondary has scraped before some moment.
pub(crate) struct History<'a> {
    pub(crate) pages: &'a Pages,
    pub(crate) targets: usize,
    pub(crate) interval: Duration,
    pub(crate) scrapes: u64,
    pub(crate) end: Timestamp,
}

impl History<'_> {
    /// Fills the secondary's directory `data` with it, and hands on each round of scrapes.
    pub(crate) fn write(&self, data: &Path, mut hand_on: impl FnMut(&Store, Vec<PageRow>) -> Result<()>) -> Result<()> {
        let now = Timestamp::from_millis(now_ms());
        let options = Options::new(now, 1);
        let store = Store::open(data, &options)?;
        let targets: Vec<Labels> = (0..self.targets).map(target_labels).collect();
        let (mut feed, mut appender) = (Feed::new(&store, &targets)?, store.appender()?);
        for scrape in 0..self.scrapes {
            // It may take minutes: a signal ends it.
            sleep(Duration::ZERO)?;
            let from = self.end - self.interval * (self.scrapes - scrape) as u32;
            let mut batch = Batch::default();
            let rows = feed.rows(self.pages, scrape, from, self.interval)?;
            for row in &rows {
                appender.append(&mut batch, row)?;
            }
            store.commit(batch)?;
            hand_on(&store, rows)?;
        }
        let late = Duration::from_secs(LATE_SECONDS);
        while let Some(settle) = store.settle_due(now, late, options.memory.settle_bytes)? {
            settle.run()?;
        }
        Ok(store.sync()?)
    }
}

/// Fills the secondary's directory `data` with what it would have of the `seconds` before now, if any; returns how often
/// each target was scraped.
pub(crate) fn make_history(common: &Common, data: &Path, seconds: u64) -> Result<u64> {
    if seconds == 0 {
        return Ok(0);
    }
    let is_plain = !common.cadvisor && common.recorded.is_none() && common.block.is_none();
    ensure!(is_plain, "history is of nodes, in blocks of the usual length");
    let page = Page::new(1, common.series).with_decimals();
    let history = History {
        pages: &Pages::Node(if common.unlike { page.unlike() } else { page }),
        targets: common.targets,
        interval: Duration::from_secs(common.interval_seconds),
        scrapes: seconds / common.interval_seconds,
        end: Timestamp::from_millis(now_ms()),
    };
    history.write(data, |_, _| Ok(()))?;
    Ok(history.scrapes)
}
