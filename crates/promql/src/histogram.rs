//! Functions of classic histograms: series with `le`.

mod buckets;

use std::collections::HashMap;

use firetower_model::Labels;
use firetower_model::labels::NAME;

use crate::curve::{ABSENT, Curve, is_absent};
use crate::error::Error;
use crate::evaluate::{Column, Evaluation, Sink};
use crate::plan::{Scalar, Vector};
use crate::steps::Steps;
use buckets::Buckets;

/// The label that holds a bucket's upper bound.
const LE: &str = "le";

/// A function of a histogram.
#[derive(Debug)]
pub(crate) enum HistogramFunction {
    Quantile(Scalar),
    Quantiles { label: String, quantiles: Vec<Scalar> },
    Fraction(Scalar, Scalar),
}

/// The buckets of one histogram: upper bound, and how many observations at each step.
struct Histogram {
    labels: Labels,
    buckets: Vec<(f64, Vec<f64>)>,
}

impl Evaluation<'_> {
    /// Hands on what `function` says of the histograms that `of` has the buckets of.
    pub(crate) fn histogram(
        &self,
        function: &HistogramFunction,
        of: &Vector,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let histograms = self.histograms(of, steps)?;
        let run = |add: Sink<'_>| match function {
            HistogramFunction::Quantile(quantile) => {
                let quantiles = self.scalar(quantile, steps)?;
                (0..steps.count()).for_each(|step| self.notes.check_quantile(quantiles.at(step)));
                histograms.iter().try_for_each(|histogram| {
                    let values = self.quantiles_of(histogram, &quantiles, steps);
                    add_if_any(Curve { labels: histogram.nameless(), values }, add)
                })
            }
            HistogramFunction::Quantiles { label, quantiles } => {
                self.many_quantiles(label, quantiles, &histograms, steps, add)
            }
            HistogramFunction::Fraction(lower, upper) => {
                let (lower, upper) = (self.scalar(lower, steps)?, self.scalar(upper, steps)?);
                histograms.iter().try_for_each(|histogram| {
                    let fraction = |step: usize, buckets: &Buckets| buckets.fraction(lower.at(step), upper.at(step));
                    add_if_any(Curve { labels: histogram.nameless(), values: histogram.each(steps, fraction) }, add)
                })
            }
        };
        self.united(run, sink)?;
        self.forget(histograms.iter().map(|histogram| histogram.buckets.len()).sum(), steps);
        Ok(())
    }

    fn histograms(&self, of: &Vector, steps: Steps) -> Result<Vec<Histogram>, Error> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut histograms: Vec<Histogram> = Vec::new();
        self.stream(of, steps, &mut |curve| {
            let text = curve.labels.get(LE).unwrap_or("");
            let Some(bound) = text.parse::<f64>().ok().filter(|bound| !bound.is_nan()) else {
                let name = curve.labels.name();
                self.notes.warn(&format!(
                    "bucket label \"le\" is missing or has a malformed value of {text:?} for metric name {name:?}"
                ));
                return Ok(());
            };
            self.meter.hold(steps.count())?;
            let labels = curve.labels.kept(|name| name != LE);
            let place = *places.entry(labels).or_insert_with_key(|labels| {
                histograms.push(Histogram { labels: labels.clone(), buckets: Vec::new() });
                histograms.len() - 1
            });
            histograms[place].buckets.push((bound, curve.values));
            Ok(())
        })?;
        histograms.iter_mut().for_each(|histogram| histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0)));
        Ok(histograms)
    }

    fn quantiles_of(&self, histogram: &Histogram, quantiles: &Column, steps: Steps) -> Vec<f64> {
        histogram.each(steps, |step, buckets| {
            let (value, is_forced) = buckets.quantile(quantiles.at(step));
            if is_forced {
                self.notes.inform(&format!(
                    "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/\
                     prometheus/latest/querying/functions/#histogram_quantile) for metric name {:?}",
                    histogram.labels.name()
                ));
            }
            value
        })
    }

    fn many_quantiles(
        &self,
        label: &str,
        quantiles: &[Scalar],
        histograms: &[Histogram],
        steps: Steps,
        add: Sink<'_>,
    ) -> Result<(), Error> {
        for column in self.scalars(quantiles, steps)? {
            (0..steps.count()).for_each(|step| self.notes.check_quantile(column.at(step)));
            for histogram in histograms {
                let values = self.quantiles_of(histogram, &column, steps);
                for labelled in split_by_label(&histogram.nameless(), label, &column, &values) {
                    add_if_any(labelled, add)?;
                }
            }
        }
        Ok(())
    }
}

/// Cuts `values` into a curve for each value of `column`, which becomes a label.
fn split_by_label(labels: &Labels, label: &str, column: &Column, values: &[f64]) -> Vec<Curve> {
    let mut curves: Vec<(u64, Curve)> = Vec::new();
    for (step, value) in values.iter().enumerate() {
        let quantile = column.at(step);
        let place = match curves.iter().position(|(bits, _)| *bits == quantile.to_bits()) {
            Some(place) => place,
            None => {
                let labels = labels.overlaid(&Labels::new([(label, crate::notes::display(quantile))]));
                curves.push((quantile.to_bits(), Curve { labels, values: vec![ABSENT; values.len()] }));
                curves.len() - 1
            }
        };
        curves[place].1.values[step] = *value;
    }
    curves.into_iter().map(|(_, curve)| curve).collect()
}

fn add_if_any(curve: Curve, add: Sink<'_>) -> Result<(), Error> {
    if curve.is_empty() { Ok(()) } else { add(curve) }
}

impl Histogram {
    fn nameless(&self) -> Labels {
        self.labels.kept(|name| name != NAME)
    }

    /// Returns what `value` says of the buckets that are there at each step.
    fn each(&self, steps: Steps, value: impl Fn(usize, &Buckets) -> f64) -> Vec<f64> {
        let mut buckets = Buckets::default();
        let at = |step: usize| {
            let there = self.buckets.iter().map(|(bound, counts)| (*bound, counts[step]));
            buckets.fill(there.filter(|(_, count)| !is_absent(*count)));
            if buckets.is_empty() { ABSENT } else { value(step, &buckets) }
        };
        (0..steps.count()).map(at).collect()
    }
}
