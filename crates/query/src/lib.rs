//! What queries are answered from: a monitor's own series, or those of the monitors below it.
//!
//! [`Local`] reads what is here. [`Tree`] asks the children: each answers by itself what it can, and what they say is put
//! together; who did not answer is counted and named, never waited for beyond its time. [`answer_part`] is the other side of
//! it. How questions travel is for `relay`; what they mean for `promql`.

mod answer;
mod error;
mod local;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;

use firetower_model::{Answered, Kind, Labels, Listing, Matcher, Select, TimeRange};
use firetower_promql::{Below, Limits};
use firetower_topology::QueryLimits;
use tokio::time::Instant;

pub use answer::{Say, answer_from_below, answer_part, part_range};
pub use error::Error;
pub use local::Local;
pub use tree::{Known, Roll, Tree, TreeReader};

/// Is warned of where something was left out of an answer because it cannot be read.
pub const DAMAGE: &str =
    "part of the answer is missing: a file of the store is damaged, `firetower store check` says where";

/// Tells whether nobody waits for an answer any more.
pub type IsStopped = Arc<dyn Fn() -> bool + Send + Sync>;

/// Bytes that are counted for a value or a sample that is held.
const VALUE_BYTES: u64 = 16;

/// Returns what a query may need by `limits`; what they leave open is as Prometheus has it.
pub fn evaluation_limits(limits: &QueryLimits) -> Limits {
    Limits { samples: limits.memory / VALUE_BYTES, series: limits.series, ..Limits::PROMETHEUS }
}

/// Something that queries are answered from.
pub trait Source: Send + Sync + 'static {
    /// One look at it.
    type Reader: Reader;

    /// Opens it for one query, which is to be answered by `until`.
    fn open(&self, until: Instant, is_stopped: IsStopped) -> Self::Reader;
}

/// A source that was opened for one query.
pub trait Reader: Select {
    /// Returns who can be asked for parts of the query, if the series are not here.
    fn below(&self) -> Option<&dyn Below>;

    /// Returns whose series were read so far, if that may be less than all.
    fn answered(&self) -> Option<Answered>;
}

/// One entry of a list.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// The labels of a series.
    Labels(&'a Labels),
    /// A label's name or value.
    Text(&'a str),
}

/// Calls `visit` with what `what` says of one label set.
pub fn visit_entries(what: &Listing, labels: &Labels, visit: &mut dyn FnMut(Entry<'_>)) {
    match what {
        Listing::Series => visit(Entry::Labels(labels)),
        Listing::Names => {
            labels.iter().filter(|(_, value)| !value.is_empty()).for_each(|(name, _)| visit(Entry::Text(name)))
        }
        Listing::Values(name) => {
            labels.get(name).filter(|value| !value.is_empty()).into_iter().for_each(|value| visit(Entry::Text(value)));
        }
    }
}

/// Something that lists of series are made from. It may block.
pub trait Lister: Send + Sync + 'static {
    /// Calls `visit` with each entry, at least once, in no order; returns whose series were listed, if that may be less than
    /// all.
    ///
    /// # Errors
    /// If they cannot be listed.
    fn list(
        &self,
        what: &Listing,
        selected: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> Result<Option<Answered>, Error>;

    /// Returns the kinds of metrics by name, and whose they are.
    ///
    /// # Errors
    /// If they cannot be listed.
    fn kinds(&self) -> Result<(HashMap<String, Kind>, Option<Answered>), Error>;
}
