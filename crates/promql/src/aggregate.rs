//! Aggregations: series come one after the other, and only groups stay.

mod best;
mod fold;
mod values;

use std::collections::HashMap;

use firetower_model::Labels;
use firetower_model::labels::NAME;

use crate::curve::{Curve, is_absent};
use crate::error::Error;
use crate::evaluate::{Evaluation, Sink};
use crate::kahan::{Mean, Sum};
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

    /// Tells whether an instant's result is in order.
    pub(crate) fn has_order(&self) -> bool {
        matches!(self, Operation::Best { .. })
    }
}

/// `by` or `without`.
#[derive(Debug)]
pub(crate) struct Grouping {
    pub is_by: bool,
    pub names: Vec<String>,
}

impl Grouping {
    /// Tells whether a group has the label `name` of its series.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        let is_named = self.names.iter().any(|at| at == name);
        if self.is_by { is_named } else { !is_named && name != NAME }
    }
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
        match operation {
            Operation::Sum => self.fold::<Sum>(grouping, of, steps, sink),
            Operation::Average => self.fold::<Mean>(grouping, of, steps, sink),
            Operation::Least => self.fold::<fold::Least>(grouping, of, steps, sink),
            Operation::Greatest => self.fold::<fold::Greatest>(grouping, of, steps, sink),
            Operation::Count => self.fold::<fold::Count>(grouping, of, steps, sink),
            Operation::Group => self.fold::<fold::One>(grouping, of, steps, sink),
            Operation::Variance => self.fold::<fold::Variance>(grouping, of, steps, sink),
            Operation::Deviation => self.fold::<fold::Deviation>(grouping, of, steps, sink),
            Operation::Quantile(quantile) => self.quantiles(quantile, grouping, of, steps, sink),
            Operation::CountValues(label) => self.count_values(label, grouping, of, steps, sink),
            Operation::Best { count, is_top: true } => self.best(count, |value, _| value, grouping, of, steps, sink),
            Operation::Best { count, is_top: false } => self.best(count, |value, _| -value, grouping, of, steps, sink),
            Operation::Some(count) => self.best(count, |_, labels| share(labels), grouping, of, steps, sink),
            Operation::Share(ratio) => self.share(ratio, of, steps, sink),
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
