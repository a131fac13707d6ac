//! One scrape as the scraper hands it on: values in the order of a shape.

use crate::ids::{ShapeId, TargetId};
use crate::sample::Sample;
use crate::time::Timestamp;

/// One scrape of one target: a value for each metric of a shape.
///
/// A metric of the shape that this page lacks stands at the staleness marker: it ends there if it was there before, and
/// is simply absent if it was not.
#[derive(Clone, Debug)]
pub struct PageRow {
    /// Who was scraped.
    pub target: TargetId,
    /// When: the slot's time, or the scrape's own if it missed its tolerance.
    pub at: Timestamp,
    /// What `values` stand for, in order.
    pub shape: ShapeId,
    /// One value per metric of the shape.
    pub values: Vec<f64>,
    /// Samples whose line carried a time of its own: (column, sample). Their columns stand at the staleness marker in
    /// `values`, and no marker is meant.
    pub timed: Vec<(u32, Sample)>,
}
