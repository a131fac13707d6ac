//! From a plan to values: each series goes through as a whole, all its steps at once.

use firetower_model::{Labels, Matcher, Series, TimeRange};

use crate::curve::{ABSENT, Curve, Union, is_absent, nameless};
use crate::error::Error;
use crate::function::Function;
use crate::limits::Meter;
use crate::notes::Notes;
use crate::operator::Operator;
use crate::part::Below;
use crate::plan::{Fixed, Scalar, Shift, Vector};
use crate::steps::Steps;

/// Takes one curve after the other.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Curve) -> Result<(), Error>;

/// Takes one series after the other.
pub(crate) type SeriesSink<'a> = &'a mut dyn FnMut(Series) -> Result<(), Error>;

/// Reads the series that all matchers let through, and hands them on.
pub(crate) type Read<'a> = &'a dyn Fn(&[Matcher], TimeRange, Wanted, SeriesSink<'_>) -> Result<(), Error>;

/// Which of the samples in a range have to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    /// The newest of each series.
    Newest,
}

/// One query being answered.
#[derive(Clone, Copy)]
pub(crate) struct Evaluation<'a> {
    pub read: Read<'a>,
    /// Who is asked for parts, where the series are not here.
    pub below: Option<&'a dyn Below>,
    /// The steps of the whole query, which `start()` and `end()` speak of, also inside a subquery.
    pub whole: Steps,
    pub look_back_ms: i64,
    pub meter: &'a Meter,
    pub notes: &'a Notes,
    /// Tells whether nobody waits for the answer any more.
    pub is_stopped: &'a dyn Fn() -> bool,
}

/// A scalar at all steps.
#[derive(Debug)]
pub(crate) enum Column {
    Same(f64),
    Each(Vec<f64>),
}

impl Column {
    #[inline]
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            Column::Same(value) => *value,
            Column::Each(values) => values[step],
        }
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Column {
        match self {
            Column::Same(value) => Column::Same(f(value)),
            Column::Each(values) => Column::Each(values.into_iter().map(f).collect()),
        }
    }
}

impl Evaluation<'_> {
    /// Hands every curve of `vector` to `sink`, in no order, each label set once.
    pub(crate) fn stream(&self, vector: &Vector, steps: Steps, sink: Sink<'_>) -> Result<(), Error> {
        if let Some(text) = self.below.and_then(|_| vector.part()) {
            return self.curves_below(text, vector, steps, sink);
        }
        match vector {
            Vector::Newest(selector) => self.newest(selector, steps, sink),
            Vector::SampleTimes(selector) => {
                self.without_names(selector.is_one_name(), |sink| self.sample_times(selector, steps, sink), sink)
            }
            Vector::EvaluationTimes(of) => self.evaluation_times(of, steps, sink),
            Vector::Of(scalar) => {
                let column = self.scalar(scalar, steps)?;
                let values = (0..steps.count()).map(|step| column.at(step)).collect();
                sink(Curve { labels: Labels::empty(), values })
            }
            Vector::Windows { function, arguments, range } => self.windows(function, arguments, range, steps, sink),
            Vector::Map { function, arguments, of } => self.map(function, arguments, of, steps, sink),
            Vector::WithScalar { operator, is_bool, of, scalar, is_scalar_left } => {
                self.with_scalar((*operator, *is_bool), of, scalar, *is_scalar_left, steps, sink)
            }
            Vector::Match { operator, is_bool, matching, left, right } => {
                self.matched((*operator, *is_bool), matching, (left, right), steps, sink)
            }
            Vector::Set { operator, matching, left, right } => {
                self.combined(*operator, matching, (left, right), steps, sink)
            }
            Vector::Aggregate { operation, grouping, of } => self.aggregate(operation, grouping, of, steps, sink),
            Vector::Absent { labels, of } => self.absent(labels, of, steps, sink),
            Vector::Histogram { function, of } => self.histogram(function, of, steps, sink),
            Vector::Relabel { relabelling, of } => self.relabel(relabelling, of, steps, sink),
            Vector::Sort { order, of } => self.sort(order, of, steps, sink),
            Vector::Info { enrichment, of } => self.info(enrichment, of, steps, sink),
        }
    }

    /// Returns every curve of `vector`; they count as held until [`Evaluation::forget`].
    pub(crate) fn collect(&self, vector: &Vector, steps: Steps) -> Result<Vec<Curve>, Error> {
        let mut curves = Vec::new();
        self.stream(vector, steps, &mut |curve| {
            self.meter.hold(steps.count())?;
            curves.push(curve);
            Ok(())
        })?;
        Ok(curves)
    }

    /// Says that `count` collected curves are no longer needed.
    pub(crate) fn forget(&self, count: usize, steps: Steps) {
        self.meter.release(count * steps.count());
    }

    /// Fails if nobody waits for the answer any more.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if (self.is_stopped)() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Returns the moments that a selector looks at, and whether that is one moment for all `steps`.
    pub(crate) fn shifted(&self, shift: Shift, steps: Steps) -> (Steps, bool) {
        let fixed = match shift.fixed {
            None => return (steps.earlier(shift.offset_ms), false),
            Some(Fixed::Start) => self.whole.first(),
            Some(Fixed::End) => self.whole.last(),
            Some(Fixed::At(at)) => at,
        };
        (Steps::between(fixed, fixed, 1).earlier(shift.offset_ms), true)
    }

    /// Hands on what `run` hands over, without names; series that become the same are put together.
    pub(crate) fn without_names(
        &self,
        is_distinct: bool,
        run: impl FnOnce(Sink<'_>) -> Result<(), Error>,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        if is_distinct {
            return run(&mut |curve| sink(Curve { labels: nameless(&curve.labels), ..curve }));
        }
        self.united(|add| run(&mut |curve| add(Curve { labels: nameless(&curve.labels), ..curve })), sink)
    }

    /// Hands on what `run` hands over, series with the same labels put together.
    pub(crate) fn united(&self, run: impl FnOnce(Sink<'_>) -> Result<(), Error>, sink: Sink<'_>) -> Result<(), Error> {
        let mut union = Union::default();
        let mut held = 0;
        run(&mut |curve| {
            held += curve.values.len();
            self.meter.hold(curve.values.len())?;
            union.add(curve)
        })?;
        self.meter.release(held);
        union.finish().into_iter().try_for_each(sink)
    }

    fn map(
        &self,
        function: &Function,
        arguments: &[Scalar],
        of: &Vector,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let columns = self.scalars(arguments, steps)?;
        let mut row = vec![0.0; columns.len()];
        let run = |sink: Sink<'_>| {
            self.stream(of, steps, &mut |mut curve| {
                for (step, value) in curve.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
                    row.iter_mut().zip(&columns).for_each(|(to, column)| *to = column.at(step));
                    *value = (function.apply)(*value, &row);
                }
                if curve.is_empty() { Ok(()) } else { sink(curve) }
            })
        };
        self.without_names(of.differs_without_names(), run, sink)
    }

    fn with_scalar(
        &self,
        (operator, is_bool): (Operator, bool),
        of: &Vector,
        scalar: &Scalar,
        is_scalar_left: bool,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let column = self.scalar(scalar, steps)?;
        let run = |sink: Sink<'_>| {
            self.stream(of, steps, &mut |mut curve| {
                for (step, value) in curve.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
                    let other = column.at(step);
                    let (left, right) = if is_scalar_left { (other, *value) } else { (*value, other) };
                    *value = operator.apply_or_filter(left, right, is_bool, *value);
                }
                if curve.is_empty() { Ok(()) } else { sink(curve) }
            })
        };
        if !operator.drops_name(is_bool) {
            return run(sink);
        }
        self.without_names(of.differs_without_names(), run, sink)
    }

    fn evaluation_times(&self, of: &Vector, steps: Steps, sink: Sink<'_>) -> Result<(), Error> {
        let run = |sink: Sink<'_>| {
            self.stream(of, steps, &mut |mut curve| {
                for (step, value) in curve.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
                    *value = steps.millis(step) as f64 / 1e3;
                }
                sink(curve)
            })
        };
        self.without_names(of.differs_without_names(), run, sink)
    }

    /// Returns `scalars` at all steps.
    pub(crate) fn scalars(&self, scalars: &[Scalar], steps: Steps) -> Result<Vec<Column>, Error> {
        scalars.iter().map(|scalar| self.scalar(scalar, steps)).collect()
    }

    /// Returns `scalar` at all steps.
    pub(crate) fn scalar(&self, scalar: &Scalar, steps: Steps) -> Result<Column, Error> {
        let seconds = |millis: i64| Column::Same(millis as f64 / 1e3);
        Ok(match scalar {
            Scalar::Number(value) => Column::Same(*value),
            Scalar::Time => Column::Each((0..steps.count()).map(|step| steps.millis(step) as f64 / 1e3).collect()),
            Scalar::Start => seconds(self.whole.first()),
            Scalar::End => seconds(self.whole.last()),
            Scalar::Step => seconds(self.whole.step_ms()),
            Scalar::Length => seconds(self.whole.last() - self.whole.first()),
            Scalar::Only(vector) => Column::Each(self.only(vector, steps)?),
            Scalar::Negative(of) => self.scalar(of, steps)?.map(|value| -value),
            Scalar::Binary { operator, left, right } => match (self.scalar(left, steps)?, self.scalar(right, steps)?) {
                (left, Column::Same(right)) => left.map(|left| operator.apply(left, right)),
                (Column::Same(left), right) => right.map(|right| operator.apply(left, right)),
                (Column::Each(left), Column::Each(right)) => {
                    Column::Each(left.into_iter().zip(right).map(|(left, right)| operator.apply(left, right)).collect())
                }
            },
        })
    }

    /// Returns the value of the only series of each step; NaN where there is none, or are several.
    fn only(&self, vector: &Vector, steps: Steps) -> Result<Vec<f64>, Error> {
        let mut only = vec![ABSENT; steps.count()];
        self.stream(vector, steps, &mut |curve| {
            for (kept, value) in only.iter_mut().zip(curve.values).filter(|(_, value)| !is_absent(*value)) {
                *kept = if is_absent(*kept) { value } else { f64::NAN };
            }
            Ok(())
        })?;
        only.iter_mut().filter(|value| is_absent(**value)).for_each(|value| *value = f64::NAN);
        Ok(only)
    }
}
