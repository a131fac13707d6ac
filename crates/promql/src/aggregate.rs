//! Aggregations: series come one after the other, and only groups stay.

mod best;
mod fold;
mod values;

use std::collections::HashMap;

use firetower_model::labels::NAME;
use firetower_model::{Column as Numbers, Labels};

use crate::curve::{Curve, is_absent};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::kahan::{Mean, Sum};
use crate::part::Coming;
use crate::plan::{Scalar, Vector};
use crate::steps::Steps;

/// What is said of a group.
#[derive(Debug)]
pub(crate) enum Operation {
    Sum,
    Average,
    Least,
    Greatest,
    Count,
    Group,
    Variance,
    Deviation,
    Quantile(Scalar),
    CountValues(String),
    /// `topk`, `bottomk`
    Best {
        count: Scalar,
        is_top: bool,
    },
    /// `limitk`
    Some(Scalar),
    /// `limit_ratio`
    Share(Scalar),
}

impl Operation {
    /// Tells whether it chooses among the series, rather than making new ones.
    pub(crate) fn keeps_series(&self) -> bool {
        matches!(self, Operation::Best { .. } | Operation::Some(_) | Operation::Share(_))
    }

    /// Returns how it is written.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Operation::Sum => "sum",
            Operation::Average => "avg",
            Operation::Least => "min",
            Operation::Greatest => "max",
            Operation::Count => "count",
            Operation::Group => "group",
            Operation::Variance => "stdvar",
            Operation::Deviation => "stddev",
            Operation::Quantile(_) => "quantile",
            Operation::CountValues(_) => "count_values",
            Operation::Best { is_top: true, .. } => "topk",
            Operation::Best { is_top: false, .. } => "bottomk",
            Operation::Some(_) => "limitk",
            Operation::Share(_) => "limit_ratio",
        }
    }

    /// Tells whether an instant's result is in order.
    pub(crate) fn has_order(&self) -> bool {
        matches!(self, Operation::Best { .. })
    }
}

/// Where what was aggregated goes.
pub(crate) enum End<'a> {
    /// The value of each group.
    Values(Sink<'a>),
    /// What is known of each group, as numbers that others can go on with.
    Numbers(&'a mut dyn FnMut(Numbers) -> Result<(), Error>),
}

/// `by` or `without`.
#[derive(Debug)]
pub(crate) struct Grouping {
    pub is_by: bool,
    pub names: Vec<String>,
}

impl Grouping {
    /// All series are one group.
    pub(crate) fn none() -> Grouping {
        Grouping { is_by: true, names: Vec::new() }
    }

    /// Tells whether a group has the label `name` of its series.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        let is_named = self.names.iter().any(|at| at == name);
        if self.is_by { is_named } else { !is_named && name != NAME }
    }
}

/// What is aggregated, and how.
pub(crate) struct Members<'a> {
    pub operation: &'a Operation,
    pub grouping: &'a Grouping,
    pub of: &'a Vector,
    pub steps: Steps,
}

/// What is kept of each group.
struct Groups<T> {
    places: HashMap<Box<[u8]>, usize>,
    list: Vec<(Labels, T)>,
    key: Vec<u8>,
}

impl<T> Groups<T> {
    fn new() -> Groups<T> {
        Groups { places: HashMap::new(), list: Vec::new(), key: Vec::new() }
    }

    /// Returns the group that a series with `labels` is in; a new one is made.
    fn of(
        &mut self,
        labels: &Labels,
        keep: impl Fn(&str) -> bool,
        make: impl FnOnce() -> Result<T, Error>,
    ) -> Result<&mut T, Error> {
        self.key.clear();
        labels.pack_kept(&mut self.key, &keep);
        let place = match self.places.get(self.key.as_slice()) {
            Some(place) => *place,
            None => {
                self.places.insert(self.key.as_slice().into(), self.list.len());
                self.list.push((labels.kept(&keep), make()?));
                self.list.len() - 1
            }
        };
        Ok(&mut self.list[place].1)
    }
}

impl Evaluation<'_> {
    /// Hands on what `operation` says of the groups of `of`.
    pub(crate) fn aggregate(
        &self,
        operation: &Operation,
        grouping: &Grouping,
        of: &Vector,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        self.aggregate_to(&Members { operation, grouping, of, steps }, End::Values(sink))
    }

    /// Ends with what `members` come to, or with what is known of them.
    pub(crate) fn aggregate_to(&self, members: &Members<'_>, end: End<'_>) -> Result<(), Error> {
        match (members.operation, end) {
            (Operation::Sum, end) => self.fold::<Sum>(members, end),
            (Operation::Average, end) => self.fold::<Mean>(members, end),
            (Operation::Least, end) => self.fold::<fold::Least>(members, end),
            (Operation::Greatest, end) => self.fold::<fold::Greatest>(members, end),
            (Operation::Count, end) => self.fold::<fold::Count>(members, end),
            (Operation::Group, end) => self.fold::<fold::One>(members, end),
            (Operation::Variance, end) => self.fold::<fold::Variance>(members, end),
            (Operation::Deviation, end) => self.fold::<fold::Deviation>(members, end),
            (Operation::CountValues(label), end) => self.count_values(label, members, end),
            (_, End::Numbers(_)) => Err(Error::NotPart),
            (Operation::Quantile(quantile), End::Values(sink)) => self.quantiles(quantile, members, sink),
            (Operation::Best { count, is_top: true }, End::Values(sink)) => {
                self.best(count, |value, _| value, members, sink)
            }
            (Operation::Best { count, is_top: false }, End::Values(sink)) => {
                self.best(count, |value, _| -value, members, sink)
            }
            (Operation::Some(count), End::Values(sink)) => self.best(count, |_, labels| share(labels), members, sink),
            (Operation::Share(ratio), End::Values(sink)) => self.share(ratio, members.of, members.steps, sink),
        }
    }

    /// Hands on the series that are aggregated; of those that lie below, what is known of their groups.
    pub(crate) fn members(
        &self,
        Members { operation, grouping, of, steps }: &Members<'_>,
        sink: &mut dyn FnMut(Coming) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self.below.and_then(|_| operation.part(grouping, of)) {
            Some(text) => self.part_below(text, of, *steps, sink),
            None => self.stream(of, *steps, &mut |curve| sink(Coming::Curve(curve))),
        }
    }

    /// Hands on the series whose labels fall into a share, the same ones at each time.
    fn share(&self, ratio: &Scalar, of: &Vector, steps: Steps, sink: Sink<'_>) -> Result<(), Error> {
        let column = self.scalar(ratio, steps)?;
        let ratios = (0..steps.count()).map(|step| self.check_ratio(column.at(step)));
        let ratios: Vec<f64> = ratios.collect::<Result<_, _>>()?;
        self.stream(of, steps, &mut |mut curve: Curve| {
            let place = share(&curve.labels);
            for (value, ratio) in curve.values.iter_mut().zip(&ratios) {
                let is_in = if *ratio >= 0.0 { place < *ratio } else { place >= 1.0 + *ratio };
                *value = if is_in { *value } else { crate::ABSENT };
            }
            if curve.is_empty() { Ok(()) } else { sink(curve) }
        })
    }

    fn check_ratio(&self, ratio: f64) -> Result<f64, Error> {
        if ratio.is_nan() {
            return Err(Error::argument("Ratio value is NaN"));
        }
        let capped = ratio.clamp(-1.0, 1.0);
        if capped != ratio {
            self.notes.warn(&format!("ratio value should be between -1 and 1, got {ratio}, capping to {capped}"));
        }
        Ok(capped)
    }
}

/// Returns where in `[0, 1)` a label set falls: evenly, and always the same.
fn share(labels: &Labels) -> f64 {
    // FNV-1a, then the finisher of MurmurHash3, so that the high bits are mixed too.
    let hash = labels
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// Returns the steps that have a value, and the value.
fn each_present(values: &[f64]) -> impl Iterator<Item = (usize, f64)> {
    values.iter().copied().enumerate().filter(|(_, value)| !is_absent(*value))
}
