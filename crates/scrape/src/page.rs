//! Pages of known targets, read at the cost of comparing them with what they looked like last.
//!
//! A [`PageShape`] holds the lines of a page, up to their values, in their order. A page's line is recognised by
//! comparing its bytes with the line that is expected next: nothing is hashed, nothing allocated. Only a line that is
//! not where it was is looked up, and only one never seen is taken apart. Targets whose pages look alike share one
//! shape.

mod reader;
mod reshape;
mod shape;
mod shapes;

use std::sync::Arc;

use firetower_model::{MetricId, ShapeId};

pub use reader::{PageCounts, PageReader, ReadError, ReadOptions};
pub use shape::PageShape;
pub use shapes::PageShapes;

use crate::exposition::Line;

/// The series that every scrape gives beside its page, in the order of the columns that stand before the page's.
pub const SYNTHETIC: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// How many columns stand before the page's.
pub const LEADING: usize = SYNTHETIC.len();

/// Gives lines and shapes their ids: what a role does for one target.
pub trait Resolve {
    /// Returns the metric of a line not seen before; `None` if the line is to be dropped.
    ///
    /// Asked again for a line only when it has been away. Lines with one metric become one column.
    fn resolve(&mut self, line: &Line<'_>) -> Option<MetricId>;

    /// Returns the shape with the [`SYNTHETIC`] metrics and then these, each once.
    fn shape(&mut self, metrics: &[MetricId]) -> ShapeId;

    /// Returns what targets have in common that resolve each line to the same metric; `None` if no other does.
    fn sharing_key(&self) -> Option<u64>;
}

/// What is remembered of a target between two of its pages.
#[derive(Debug, Default)]
pub struct TargetPage {
    shape: Option<Arc<PageShape>>,
    /// Columns that the last page had, a bit each.
    present: Vec<u64>,
}

impl TargetPage {
    /// Returns the shape of the last page that could be read; `None` before the first.
    pub fn shape(&self) -> Option<&PageShape> {
        self.shape.as_deref()
    }
}

/// Tells whether the bit of `column` is set; false past the end.
fn has_bit(bits: &[u64], column: usize) -> bool {
    bits.get(column / 64).is_some_and(|word| word >> (column % 64) & 1 == 1)
}

fn set_bit(bits: &mut [u64], column: usize) {
    bits[column / 64] |= 1 << (column % 64);
}

#[cfg(test)]
mod tests;
