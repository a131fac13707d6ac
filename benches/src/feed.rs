//! A fleet's pages as the rows of a store, without sockets and clocks.

use std::time::Duration;

use anyhow::{Context, Result};
use firetower_model::{Labels, PageRow, TargetId, Timestamp};
use firetower_scrape::{PageReader, PageShapes, ReadOptions, SYNTHETIC, TargetPage};
use firetower_store::Store;

use crate::ids::Ids;
use crate::pages::Pages;

/// Makes rows of pages, as a secondary does.
pub struct Feed {
    ids: Ids,
    reader: PageReader,
    shapes: PageShapes,
    targets: Vec<(TargetId, TargetPage)>,
    page: Vec<u8>,
}

impl Feed {
    /// Makes one of targets with these labels, which differ in values only.
    ///
    /// # Errors
    /// If there are none, or the store cannot take names.
    pub fn new(store: &Store, targets: &[Labels]) -> Result<Feed> {
        let intern = |labels: &Labels| Ok((store.intern_target(labels)?, TargetPage::default()));
        Ok(Feed {
            ids: Ids::new(store.clone(), targets.first().context("no target to feed")?.clone())?,
            reader: PageReader::default(),
            shapes: PageShapes::default(),
            targets: targets.iter().map(intern).collect::<Result<_>>()?,
            page: Vec::new(),
        })
    }

    /// Returns the row of each target's `scrape`th page; their times are spread evenly over `interval`, which begins
    /// at `from`.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn rows(&mut self, pages: &Pages, scrape: u64, from: Timestamp, interval: Duration) -> Result<Vec<PageRow>> {
        let count = self.targets.len();
        let mut rows = Vec::with_capacity(count);
        for (at, (target, known)) in self.targets.iter_mut().enumerate() {
            self.page.clear();
            pages.render(at, scrape, 1, &mut self.page);
            let (mut values, mut timed) = (vec![1.0; SYNTHETIC.len()], Vec::new());
            let read = self.reader.read(
                known,
                &self.shapes,
                &self.page,
                ReadOptions::default(),
                &mut self.ids,
                &mut values,
                &mut timed,
            );
            let (shape, _) = read.with_context(|| format!("read page {scrape} of target {at}"))?;
            rows.push(PageRow {
                target: *target,
                at: from + interval * at as u32 / count as u32,
                shape,
                values,
                timed,
            });
        }
        Ok(rows)
    }
}
