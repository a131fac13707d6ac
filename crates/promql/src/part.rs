//! Parts of a query that each holder of series can answer by itself.
//!
//! A vector is local where each of its series follows from one series that is read: whoever has that one has all that is
//! needed. An aggregation of a local vector is split: each holder says what it knows of each group, and that merges.

mod answer;
mod below;
mod written;

use crate::aggregate::{Grouping, Operation};
use crate::plan::{Range, Scalar, Vector};
use crate::text;

pub use answer::{PartAnswer, PartQuestion};
pub use below::Below;
pub(crate) use below::Coming;

/// How long the text of a part may be; what is longer is evaluated above.
const TEXT_BYTES_MAX: usize = 4 << 10;

impl Scalar {
    /// Tells whether its value needs no series.
    fn is_settled(&self) -> bool {
        match self {
            Scalar::Number(_) | Scalar::Time | Scalar::Start | Scalar::End | Scalar::Step | Scalar::Length => true,
            Scalar::Only(_) => false,
            Scalar::Negative(of) => of.is_settled(),
            Scalar::Binary { left, right, .. } => left.is_settled() && right.is_settled(),
        }
    }
}

impl Vector {
    /// Tells whether each of its series follows from one that is read, whose labels tell it from all others.
    fn is_local(&self) -> bool {
        match self {
            Vector::Newest(_) => true,
            Vector::SampleTimes(selector) => selector.is_one_name(),
            Vector::EvaluationTimes(of) => of.is_local() && of.differs_without_names(),
            Vector::Windows { function, arguments, range } => {
                let is_known = match range {
                    Range::Selector { .. } => true,
                    Range::Subquery { of, .. } => of.is_local(),
                };
                is_known && are_settled(arguments) && (function.keeps_name || range.is_distinct())
            }
            Vector::Map { arguments, of, .. } => of.is_local() && are_settled(arguments) && of.differs_without_names(),
            Vector::WithScalar { operator, is_bool, of, scalar, .. } => {
                let is_distinct = !operator.drops_name(*is_bool) || of.differs_without_names();
                of.is_local() && scalar.is_settled() && is_distinct
            }
            Vector::Aggregate { operation: Operation::Share(ratio), of, .. } => of.is_local() && ratio.is_settled(),
            Vector::Of(_)
            | Vector::Match { .. }
            | Vector::Set { .. }
            | Vector::Aggregate { .. }
            | Vector::Absent { .. }
            | Vector::Histogram { .. }
            | Vector::Relabel { .. }
            | Vector::Sort { .. }
            | Vector::Info { .. } => false,
        }
    }

    /// Returns the text by which others can be asked for it; `None` if only whoever has all series can evaluate it.
    pub(crate) fn part(&self) -> Option<String> {
        self.is_local().then(|| readable(written::vector(self), self)).flatten()
    }
}

fn are_settled(scalars: &[Scalar]) -> bool {
    scalars.iter().all(Scalar::is_settled)
}

impl Operation {
    /// Returns the text by which others can be asked what they know of its groups; `None` if only whoever has all series
    /// can say.
    pub(crate) fn part(&self, grouping: &Grouping, of: &Vector) -> Option<String> {
        let is_settled = match self {
            Operation::Quantile(scalar) | Operation::Best { count: scalar, .. } | Operation::Some(scalar) => {
                scalar.is_settled()
            }
            Operation::Share(_) => false,
            _ => true,
        };
        let text = (is_settled && of.is_local()).then(|| written::aggregate(self, grouping, of))?;
        let is_readable = text.len() <= TEXT_BYTES_MAX && text::parse(&text).is_ok();
        is_readable.then_some(text)
    }
}

/// Returns `text` if it reads as `vector` again. Labels may have any names, and a reader may know fewer.
fn readable(text: String, vector: &Vector) -> Option<String> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let parsed = text::parse(&text).ok()?;
    let plan = crate::build::build(&parsed, crate::Limits::PROMETHEUS.depth).ok()?;
    matches!(&plan, crate::plan::Plan::Vector(read) if format!("{read:?}") == format!("{vector:?}")).then_some(text)
}

#[cfg(test)]
mod tests;
