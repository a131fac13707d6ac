//! Where samples become values: selectors, and functions of the samples in a range.

use firetower_model::{Labels, Sample, Series, TimeRange, Timestamp, is_stale};

use crate::curve::{ABSENT, Curve, is_absent};
use crate::error::Error;
use crate::evaluate::{Column, Evaluation, SeriesSink, Sink, Wanted};
use crate::plan::{Range, Scalar, Selector};
use crate::steps::Steps;
use crate::window::{Window, WindowFunction};

/// How far apart the steps of a subquery are that does not say so. Prometheus's `global.evaluation_interval`.
const SUBQUERY_STEP_MS: i64 = 60_000;

impl Evaluation<'_> {
    /// Hands on the newest sample of each series at each step.
    pub(crate) fn newest(&self, selector: &Selector, steps: Steps, sink: Sink<'_>) -> Result<(), Error> {
        self.looked_up(selector, steps, |sample| sample.value, sink)
    }

    /// Hands on the time of the newest sample of each series at each step, in seconds.
    pub(crate) fn sample_times(&self, selector: &Selector, steps: Steps, sink: Sink<'_>) -> Result<(), Error> {
        self.looked_up(selector, steps, |sample| sample.at.as_seconds(), sink)
    }

    fn looked_up(
        &self,
        selector: &Selector,
        steps: Steps,
        what: impl Fn(&Sample) -> f64,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let (moments, is_fixed) = self.shifted(selector.shift, steps);
        let wanted = if moments.count() == 1 { Wanted::Newest } else { Wanted::All };
        (self.read)(&selector.matchers, reach(moments, self.look_back_ms), wanted, &mut |series| {
            self.meter.read(series.samples.len())?;
            let mut values = newest_values(&series.samples, moments, self.look_back_ms, &what);
            if is_fixed {
                values = vec![values[0]; steps.count()];
            }
            let curve = Curve { labels: series.labels, values };
            if curve.is_empty() { Ok(()) } else { sink(curve) }
        })
    }

    /// Hands on what `function` says of each series' samples before each step.
    pub(crate) fn windows(
        &self,
        function: &WindowFunction,
        arguments: &[Scalar],
        range: &Range,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let columns = self.scalars(arguments, steps)?;
        if let Some(check) = function.check {
            (0..steps.count()).try_for_each(|step| check(&row(&columns, step), self.notes))?;
        }
        let (moments, is_fixed) = self.shifted(range.shift(), steps);
        let sweep = Sweep { function, columns: &columns, moments, is_fixed, steps, range_ms: range.length_ms() };
        let run = |sink: Sink<'_>| {
            self.samples(range, steps, &mut |series| {
                // A series of many samples and steps takes as long as a whole batch of others.
                self.go_on()?;
                let curve = Curve { values: sweep.values(&series.samples), labels: series.labels };
                if curve.is_empty() {
                    return Ok(());
                }
                self.check_counter(function, &curve.labels);
                sink(curve)
            })
        };
        if function.keeps_name {
            return run(sink);
        }
        self.without_names(range.is_distinct(), run, sink)
    }

    fn check_counter(&self, function: &WindowFunction, labels: &Labels) {
        let name = labels.name();
        let is_counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
        if function.wants_counter && !name.is_empty() && !is_counter {
            self.notes.inform(&format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
            ));
        }
    }

    /// Hands on each series with its samples, without staleness markers, that any of `steps` looks at.
    pub(crate) fn samples(&self, range: &Range, steps: Steps, sink: SeriesSink<'_>) -> Result<(), Error> {
        let (moments, _) = self.shifted(range.shift(), steps);
        match range {
            Range::Selector { selector, range_ms } => {
                (self.read)(&selector.matchers, reach(moments, *range_ms), Wanted::All, &mut |mut series| {
                    self.meter.read(series.samples.len())?;
                    series.samples.retain(|sample| !is_stale(sample.value));
                    if series.samples.is_empty() { Ok(()) } else { sink(series) }
                })
            }
            Range::Subquery { of, range_ms, step_ms, .. } => {
                let step = step_ms.unwrap_or(SUBQUERY_STEP_MS);
                let before = moments.first().saturating_sub(*range_ms);
                let first = before.div_euclid(step).saturating_add(1).saturating_mul(step);
                if first > moments.last() {
                    return Ok(());
                }
                let inner = Steps::between(first, moments.last(), step);
                self.meter.steps(inner.count())?;
                self.stream(of, inner, &mut |curve| {
                    let values = curve.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
                    let samples = values.map(|(step, value)| Sample { at: inner.at(step), value: *value }).collect();
                    sink(Series { labels: curve.labels, samples })
                })
            }
        }
    }
}

impl Range {
    fn shift(&self) -> crate::plan::Shift {
        match self {
            Range::Selector { selector, .. } => selector.shift,
            Range::Subquery { shift, .. } => *shift,
        }
    }

    fn length_ms(&self) -> i64 {
        match self {
            Range::Selector { range_ms, .. } | Range::Subquery { range_ms, .. } => *range_ms,
        }
    }
}

/// Returns the samples that any of `moments` sees that looks back `length_ms`: open at the left, closed at the right.
fn reach(moments: Steps, length_ms: i64) -> TimeRange {
    let start = moments.first().saturating_sub(length_ms).saturating_add(1);
    let end = moments.last().saturating_add(1);
    TimeRange { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) }
}

/// Returns what the newest sample says at each of `moments`.
fn newest_values(samples: &[Sample], moments: Steps, look_back_ms: i64, what: impl Fn(&Sample) -> f64) -> Vec<f64> {
    let mut after = 0;
    let value = |step| {
        let at = moments.millis(step);
        while samples.get(after).is_some_and(|sample| sample.at.as_millis() <= at) {
            after += 1;
        }
        match after.checked_sub(1).map(|newest| &samples[newest]) {
            Some(newest) if newest.at.as_millis() > at.saturating_sub(look_back_ms) && !is_stale(newest.value) => {
                what(newest)
            }
            _ => ABSENT,
        }
    };
    (0..moments.count()).map(value).collect()
}

fn row(columns: &[Column], step: usize) -> Vec<f64> {
    columns.iter().map(|column| column.at(step)).collect()
}

/// One pass over a series' samples with a window that only moves forward.
struct Sweep<'a> {
    function: &'a WindowFunction,
    columns: &'a [Column],
    moments: Steps,
    is_fixed: bool,
    steps: Steps,
    range_ms: i64,
}

impl Sweep<'_> {
    fn values(&self, samples: &[Sample]) -> Vec<f64> {
        let before = self.function.prepare.map(|prepare| prepare(samples)).unwrap_or_default();
        let mut arguments = vec![0.0; self.columns.len()];
        let (mut first, mut after) = (0, 0);
        let mut value = |step: usize| {
            let end = self.moments.millis(if self.is_fixed { 0 } else { step });
            let start = end.saturating_sub(self.range_ms);
            while samples.get(after).is_some_and(|sample| sample.at.as_millis() <= end) {
                after += 1;
            }
            while first < after && samples[first].at.as_millis() <= start {
                first += 1;
            }
            if first == after {
                return ABSENT;
            }
            arguments.iter_mut().zip(self.columns).for_each(|(to, column)| *to = column.at(step));
            (self.function.apply)(&Window {
                samples: &samples[first..after],
                before: before.get(first..after).unwrap_or_default(),
                start_ms: start,
                end_ms: end,
                now_ms: self.steps.millis(step),
                arguments: &arguments,
            })
        };
        let is_same = self.is_fixed
            && !self.function.wants_now
            && self.columns.iter().all(|column| matches!(column, Column::Same(_)));
        if is_same {
            return vec![value(0); self.steps.count()];
        }
        (0..self.steps.count()).map(value).collect()
    }
}
