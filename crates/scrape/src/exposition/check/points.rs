//! How the samples of one OpenMetrics family stand together.

use std::collections::HashSet;

use super::histogram::Histogram;
use super::line::SampleLine;
use crate::exposition::family::FamilyType;

/// Labels in the order of their names, empty ones left out.
pub(super) type Labels = Vec<(String, String)>;

/// What must be whole before the next point begins.
#[derive(Debug)]
enum Point {
    Counter { line: usize, has_total: bool },
    Histogram(Histogram),
    Other,
}

impl Point {
    fn new(kind: FamilyType, line: usize) -> Point {
        match kind {
            FamilyType::Counter => Point::Counter { line, has_total: false },
            FamilyType::Histogram | FamilyType::GaugeHistogram => Point::Histogram(Histogram::new(line)),
            _ => Point::Other,
        }
    }

    fn take(&mut self, suffix: &str, sample: &SampleLine<'_>) -> Result<(), &'static str> {
        match self {
            Point::Counter { has_total, .. } => *has_total |= suffix == "_total",
            Point::Histogram(histogram) => return histogram.take(suffix, sample),
            Point::Other => {}
        }
        Ok(())
    }

    fn check(&self, kind: FamilyType) -> Result<(), (usize, &'static str)> {
        match self {
            Point::Counter { line, has_total: false } => Err((*line, "a counter must have a total")),
            Point::Histogram(histogram) => histogram
                .check_buckets()
                .and_then(|()| histogram.check_sum(kind == FamilyType::GaugeHistogram))
                .map_err(|text| (histogram.line, text)),
            _ => Ok(()),
        }
    }
}

/// The metrics of a family and their points, as far as they have come.
#[derive(Debug, Default)]
pub(super) struct Points {
    /// Labels of the metric at hand, the time of its point, and what is in that.
    metric: Option<(Labels, Option<f64>, Point)>,
    /// Metrics that have been.
    ended: HashSet<Labels>,
    /// Series of the point at hand: suffix and labels.
    series: HashSet<(String, Labels)>,
}

impl Points {
    /// Takes the sample of `line`, called the family's name and `suffix`.
    ///
    /// # Errors
    /// What is wrong where, with this sample or with the point that it ends.
    pub(super) fn take(
        &mut self,
        (name, kind): (&str, FamilyType),
        suffix: &str,
        line: usize,
        sample: &SampleLine<'_>,
    ) -> Result<(), (usize, &'static str)> {
        let here = |text| (line, text);
        let labels = labels_of(sample);
        let metric = metric_of(labels.clone(), name, kind, suffix);
        let mut ended = Ok(());
        match &self.metric {
            Some((current, time, _)) if *current == metric => {
                check_times(*time, sample.timestamp, kind).map_err(here)?;
                if *time != sample.timestamp {
                    ended = self.end_point(kind);
                }
            }
            _ => {
                ended = self.end(kind);
                if self.ended.contains(&metric) {
                    return Err(here("samples of one metric must stand together"));
                }
            }
        }
        let (_, _, point) = self.metric.get_or_insert_with(|| (metric, sample.timestamp, Point::new(kind, line)));
        let taken = point.take(suffix, sample).map_err(here);
        if !self.series.insert((suffix.to_owned(), labels)) {
            return Err(here("this series is there already"));
        }
        ended.and(taken)
    }

    /// Ends the metric at hand.
    ///
    /// # Errors
    /// What its last point lacks.
    pub(super) fn end(&mut self, kind: FamilyType) -> Result<(), (usize, &'static str)> {
        let labels = self.metric.as_ref().map(|(labels, ..)| labels.clone());
        self.ended.extend(labels);
        self.end_point(kind)
    }

    fn end_point(&mut self, kind: FamilyType) -> Result<(), (usize, &'static str)> {
        self.series.clear();
        self.metric.take().map_or(Ok(()), |(_, _, point)| point.check(kind))
    }
}

/// Returns what names a series: an empty label is as none.
pub(super) fn labels_of(sample: &SampleLine<'_>) -> Labels {
    let pairs = sample.labels.iter().filter(|(_, value)| !value.is_empty());
    let mut labels: Labels = pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    labels.sort();
    labels
}

/// Returns the labels of the metric that a series belongs to.
fn metric_of(mut labels: Labels, family: &str, kind: FamilyType, suffix: &str) -> Labels {
    let own = match kind {
        // All infos of a family are one group: each is a metric of its own, told apart by nothing but its labels.
        FamilyType::Info => return Labels::new(),
        FamilyType::Histogram | FamilyType::GaugeHistogram if suffix == "_bucket" => "le",
        FamilyType::Summary if suffix.is_empty() => "quantile",
        FamilyType::StateSet => family,
        _ => return labels,
    };
    labels.retain(|(name, _)| name != own);
    labels
}

fn check_times(before: Option<f64>, now: Option<f64>, kind: FamilyType) -> Result<(), &'static str> {
    match (before, now) {
        (Some(before), Some(now)) if now < before && kind != FamilyType::Info => {
            Err("timestamps of one metric must not go backwards")
        }
        (Some(_), None) | (None, Some(_)) => Err("all samples of a metric must have a timestamp, or none"),
        _ => Ok(()),
    }
}
