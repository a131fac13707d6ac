//! Pages of known targets, read at the cost of comparing them with what they looked like last.
//!
//! A [`PageShape`] holds the lines of a page, up to their values, in their order. A page's line is recognised by
//! comparing its bytes with the line that is expected next: nothing is hashed, nothing allocated. Only a line that is
//! not where it was is looked up, and only one that no target of its kind ever had is taken apart. A line is held once
//! however many shapes have it, and targets whose pages look alike share one shape.

mod adopt;
mod kin;
mod label_limit;
mod line;
mod pass;
mod reader;
mod reshape;
mod shape;

use std::sync::Arc;

use firetower_model::{Kind, Labels, MetricId, STALE, Sample, ShapeId, Timestamp};

pub use kin::{Held, PageShapes};
pub use label_limit::LabelLimit;
pub use reader::{PageCounts, PageReader, ReadError, ReadOptions};
pub use shape::PageShape;

use self::kin::Kin;
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
///
/// A page's new lines are all relabelled before the first is given an id, so that a page that is refused costs no id.
pub trait Resolve {
    /// Returns the labels of the metric of a line not seen before; `None` if the line is to be dropped.
    ///
    /// Asked again for a line only when it has been away. Lines with one metric become one column.
    ///
    /// # Errors
    /// If the series has more or longer labels than allowed.
    fn relabel(&mut self, line: &Line<'_>) -> Result<Option<Labels>, LabelLimit>;

    /// Returns the id of the metric with these labels; `None` if it can be given none, and its line is left out.
    fn metric(&mut self, labels: &Labels, kind: Kind) -> Option<MetricId>;

    /// Returns the shape with the [`SYNTHETIC`] metrics and then these, each once, and all its metrics; `None` if it
    /// can be given no id.
    fn shape(&mut self, metrics: &[MetricId]) -> Option<(ShapeId, Arc<[MetricId]>)>;

    /// Returns what targets have in common that resolve each line to the same metric; `None` if no other does.
    fn sharing_key(&self) -> Option<u64>;
}

/// What is remembered of a target between two of its pages.
#[derive(Debug, Default)]
pub struct TargetPage {
    kin: Option<Arc<Kin>>,
    shape: Option<Arc<PageShape>>,
    /// Columns that the last page had, a bit each.
    present: Vec<u64>,
    /// Columns whose last sample carried its own time and that end with a marker, in their order.
    timed: Vec<u32>,
}

impl TargetPage {
    /// Returns the shape of the last page that could be read; `None` before the first.
    pub fn shape(&self) -> Option<&PageShape> {
        self.shape.as_deref()
    }

    /// Returns a marker at `at` for each series that [`ReadOptions::timed_end_at`] would end if it were missing now,
    /// with its place in a row of the shape: what a target owes that has no page any more.
    pub fn end_timed(&mut self, at: Timestamp) -> Vec<(u32, Sample)> {
        let ended = self.timed.drain(..);
        ended.map(|column| (column + LEADING as u32, Sample { at, value: STALE })).collect()
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
