//! What a query's text becomes: checked, with everything looked up that can be.

use std::sync::Arc;

use firetower_model::labels::NAME;
use firetower_model::{Labels, Matcher};

use crate::aggregate::{Grouping, Operation};
use crate::function::Function;
use crate::histogram::HistogramFunction;
use crate::info::Enrichment;
use crate::matching::Matching;
use crate::operator::{Operator, SetOperator};
use crate::relabel::Relabelling;
use crate::sort::Order;
use crate::window::WindowFunction;

/// An expression of any type.
#[derive(Debug)]
pub(crate) enum Plan {
    Scalar(Scalar),
    Vector(Vector),
    Range(Range),
    Text(String),
}

/// A moment named by `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixed {
    Start,
    End,
    At(i64),
}

/// `@` and `offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    pub fixed: Option<Fixed>,
    pub offset_ms: i64,
}

/// Which series, and when.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub matchers: Arc<[Matcher]>,
    pub shift: Shift,
}

impl Selector {
    /// Tells whether all series that it selects have one name, so that they differ without it too.
    pub(crate) fn is_one_name(&self) -> bool {
        self.matchers.iter().any(|matcher| matcher.name() == NAME && matcher.equal_value().is_some())
    }
}

/// Series with all samples of a range.
#[derive(Debug)]
pub(crate) enum Range {
    Selector { selector: Selector, range_ms: i64 },
    Subquery { of: Box<Vector>, range_ms: i64, step_ms: Option<i64>, shift: Shift },
}

/// One number a step.
#[derive(Debug)]
pub(crate) enum Scalar {
    Number(f64),
    /// `time()`
    Time,
    /// `start()`, `end()`, `step()` and `range()`: of the whole query, in seconds.
    Start,
    End,
    Step,
    Length,
    /// `scalar(v)`
    Only(Box<Vector>),
    Negative(Box<Scalar>),
    Binary {
        operator: Operator,
        left: Box<Scalar>,
        right: Box<Scalar>,
    },
}

/// At most one value a step and series.
#[derive(Debug)]
pub(crate) enum Vector {
    /// The newest sample of each series.
    Newest(Selector),
    /// `timestamp(selector)`
    SampleTimes(Selector),
    /// `timestamp` of anything else
    EvaluationTimes(Box<Vector>),
    /// `vector(s)`
    Of(Scalar),
    /// A function of each series' samples in a range.
    Windows { function: &'static WindowFunction, arguments: Vec<Scalar>, range: Range },
    /// A function of each value.
    Map { function: &'static Function, arguments: Vec<Scalar>, of: Box<Vector> },
    /// An operator between each value and a scalar.
    WithScalar { operator: Operator, is_bool: bool, of: Box<Vector>, scalar: Scalar, is_scalar_left: bool },
    /// An operator between the values of two vectors.
    Match { operator: Operator, is_bool: bool, matching: Matching, left: Box<Vector>, right: Box<Vector> },
    /// `and`, `or`, `unless`
    Set { operator: SetOperator, matching: Matching, left: Box<Vector>, right: Box<Vector> },
    /// An aggregation.
    Aggregate { operation: Operation, grouping: Grouping, of: Box<Vector> },
    /// `absent`, `absent_over_time`
    Absent { labels: Labels, of: Box<Vector> },
    /// A function of classic histograms.
    Histogram { function: HistogramFunction, of: Box<Vector> },
    /// `label_replace`, `label_join`
    Relabel { relabelling: Relabelling, of: Box<Vector> },
    /// `sort` and its siblings
    Sort { order: Order, of: Box<Vector> },
    /// `info`
    Info { enrichment: Enrichment, of: Box<Vector> },
}

impl Vector {
    /// Tells whether its series differ even without their names.
    pub(crate) fn differs_without_names(&self) -> bool {
        match self {
            Vector::Newest(selector) => selector.is_one_name(),
            Vector::Windows { function, range, .. } => !function.keeps_name || range.is_distinct(),
            Vector::WithScalar { operator, is_bool, of, .. } => {
                operator.drops_name(*is_bool) || of.differs_without_names()
            }
            Vector::Aggregate { operation, grouping, of } => {
                if operation.keeps_series() {
                    of.differs_without_names()
                } else {
                    !grouping.keeps(NAME)
                }
            }
            Vector::Sort { of, .. } => of.differs_without_names(),
            Vector::SampleTimes(_)
            | Vector::EvaluationTimes(_)
            | Vector::Of(_)
            | Vector::Map { .. }
            | Vector::Absent { .. }
            | Vector::Histogram { .. } => true,
            Vector::Match { .. } | Vector::Set { .. } | Vector::Relabel { .. } | Vector::Info { .. } => false,
        }
    }

    /// Returns the first selector in it, left to right.
    pub(crate) fn first_selector(&self) -> Option<&Selector> {
        match self {
            Vector::Newest(selector) | Vector::SampleTimes(selector) => Some(selector),
            Vector::Windows { range, .. } => match range {
                Range::Selector { selector, .. } => Some(selector),
                Range::Subquery { of, .. } => of.first_selector(),
            },
            Vector::Of(_) => None,
            Vector::Match { left, right, .. } | Vector::Set { left, right, .. } => {
                left.first_selector().or_else(|| right.first_selector())
            }
            Vector::EvaluationTimes(of)
            | Vector::Map { of, .. }
            | Vector::WithScalar { of, .. }
            | Vector::Aggregate { of, .. }
            | Vector::Absent { of, .. }
            | Vector::Histogram { of, .. }
            | Vector::Relabel { of, .. }
            | Vector::Sort { of, .. }
            | Vector::Info { of, .. } => of.first_selector(),
        }
    }

    /// Tells whether its own order is that of the answer to an instant query.
    pub(crate) fn has_order(&self) -> bool {
        match self {
            Vector::Sort { .. } => true,
            Vector::Aggregate { operation, .. } => operation.has_order(),
            _ => false,
        }
    }
}

impl Range {
    /// Tells whether its series differ even without their names.
    pub(crate) fn is_distinct(&self) -> bool {
        match self {
            Range::Selector { selector, .. } => selector.is_one_name(),
            Range::Subquery { of, .. } => of.differs_without_names(),
        }
    }
}
