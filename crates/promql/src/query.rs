//! One query, from its text to its answer.

use std::error;
use std::time::Duration;

use firetower_model::{Labels, Matcher, Select, Series, TimeRange, Timestamp};

use crate::build::build;
use crate::curve::Curve;
use crate::error::Error;
use crate::evaluate::{Column, Evaluation, SeriesSink, Wanted};
use crate::limits::{Limits, Meter, Usage};
use crate::notes::Notes;
use crate::part::Below;
use crate::plan::{Fixed, Plan, Range, Scalar, Selector, Vector};
use crate::steps::Steps;
use crate::text;

/// A query that reads and whose types fit.
#[derive(Debug)]
pub struct Query {
    pub(crate) plan: Plan,
}

/// When a query is asked, and how far it looks back.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// When it is evaluated.
    pub steps: Steps,
    /// How far a selector looks back for a sample; open at the far end.
    pub look_back: Duration,
}

/// What a query comes to.
#[derive(Debug)]
pub enum Value {
    /// One number a step.
    Scalar(Vec<f64>),
    /// Series with at most one value a step; in order of their labels, or in that which the query asks for.
    Vector(Vec<Curve>),
    /// Series with their samples, in order of their labels.
    Samples(Vec<Series>),
    /// A text.
    Text(String),
}

/// A value, and what there is to say of it.
#[derive(Debug)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Why it may be wrong.
    pub warnings: Vec<String>,
    /// Why it may not be what was meant.
    pub infos: Vec<String>,
    /// What it took.
    pub usage: Usage,
}

/// What a query selects that is no more than a selector.
#[derive(Debug)]
pub struct Selection<'a> {
    /// All of them must let a series through.
    pub matchers: &'a [Matcher],
    /// How far a range selector reaches back; `None` for an instant.
    pub range: Option<Duration>,
    /// Whether it has no `offset` and no `@`.
    pub is_plain: bool,
    selector: &'a Selector,
}

impl Selection<'_> {
    /// Returns which samples an instant query at `at` looks at: a range open at its left edge and closed at its right one.
    pub fn samples_range(&self, at: Timestamp, look_back: Duration) -> TimeRange {
        let right = match self.selector.shift.fixed {
            // An instant query starts and ends at its own time.
            None | Some(Fixed::Start | Fixed::End) => at.as_millis(),
            Some(Fixed::At(fixed)) => fixed,
        };
        let right = right.saturating_sub(self.selector.shift.offset_ms).saturating_add(1);
        let end = Timestamp::from_millis(right);
        TimeRange { start: end - self.range.unwrap_or(look_back), end }
    }
}

impl Query {
    /// Reads `text`, with the nesting that [`Limits::PROMETHEUS`] allows.
    ///
    /// # Errors
    /// [`Error::Syntax`] if it does not read or its types do not fit; [`Error::Argument`] if an argument can never be used;
    /// [`Error::Unsupported`] if it asks for more than this release does.
    pub fn parse(text: &str) -> Result<Query, Error> {
        Ok(Query { plan: build(&text::parse(text)?, Limits::PROMETHEUS.depth)? })
    }

    /// Returns `text` as it is written best.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn format(text: &str) -> Result<String, Error> {
        Query::parse(text)?;
        let written = text::parse(text)?.prettify();
        Ok(written
            .replace(&format!("{}!=\"\",", text::PLACEHOLDER), "")
            .replace(&format!("{}!=\"\"", text::PLACEHOLDER), ""))
    }

    /// Returns what it selects, if it is a selector and nothing more.
    pub fn as_selection(&self) -> Option<Selection<'_>> {
        let (selector, range) = match &self.plan {
            Plan::Vector(Vector::Newest(selector)) => (selector, None),
            Plan::Range(Range::Selector { selector, range_ms }) => {
                (selector, Some(Duration::from_millis(range_ms.unsigned_abs())))
            }
            _ => return None,
        };
        let is_plain = range.is_none() && selector.shift == crate::plan::Shift::default();
        Some(Selection { matchers: &selector.matchers, range, is_plain, selector })
    }

    /// Returns what the one selector of a part must let through; nothing if this is no part.
    pub fn part_matchers(&self) -> Vec<Matcher> {
        let selector = match &self.plan {
            Plan::Vector(vector) if vector.part().is_some() => vector.first_selector(),
            Plan::Vector(Vector::Aggregate { operation, grouping, of }) if operation.part(grouping, of).is_some() => {
                of.first_selector()
            }
            _ => None,
        };
        selector.map(|selector| selector.matchers.to_vec()).unwrap_or_default()
    }

    /// Tells whether its value is one number or one vector a step, as a range query needs.
    ///
    /// # Errors
    /// [`Error::Syntax`] if it is not.
    pub fn check_range(&self) -> Result<(), Error> {
        let what = match self.plan {
            Plan::Scalar(_) | Plan::Vector(_) => return Ok(()),
            Plan::Range(_) => "range vector",
            Plan::Text(_) => "string",
        };
        Err(Error::syntax(format!(
            "invalid expression type \"{what}\" for range query, must be Scalar or instant Vector"
        )))
    }

    /// Answers `question` from `select`; asks before each batch of series whether `is_stopped`.
    ///
    /// # Errors
    /// Where the series do not fit, something is above its limit, or they could not be read; [`Error::Stopped`] if it was.
    pub fn evaluate<S: Select>(
        &self,
        select: &S,
        question: &Question,
        limits: &Limits,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Answer, Error> {
        self.answer(select, None, question, limits, is_stopped)
    }

    /// Answers `question` as [`Query::evaluate`], where the series are with those `below`: they are asked for parts of the
    /// query, and for series through `select` where that is not enough.
    ///
    /// # Errors
    /// As [`Query::evaluate`].
    pub fn evaluate_below<S: Select>(
        &self,
        select: &S,
        below: &dyn Below,
        question: &Question,
        limits: &Limits,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Answer, Error> {
        self.answer(select, Some(below), question, limits, is_stopped)
    }

    fn answer<S: Select>(
        &self,
        select: &S,
        below: Option<&dyn Below>,
        question: &Question,
        limits: &Limits,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Answer, Error> {
        let read = reader(select, is_stopped);
        let (meter, notes) = (Meter::new(*limits), Notes::default());
        let evaluation = Evaluation {
            read: &read,
            below,
            whole: question.steps,
            look_back_ms: i64::try_from(question.look_back.as_millis()).unwrap_or(i64::MAX),
            meter: &meter,
            notes: &notes,
            is_stopped,
        };
        meter.points(question.steps.count())?;
        let value = self.value(&evaluation, question.steps)?;
        let usage = meter.usage();
        let (warnings, infos) = notes.take();
        Ok(Answer { value, warnings, infos, usage })
    }

    fn value(&self, evaluation: &Evaluation<'_>, steps: Steps) -> Result<Value, Error> {
        Ok(match &self.plan {
            Plan::Text(text) => Value::Text(text.clone()),
            Plan::Scalar(scalar) => Value::Scalar(numbers(evaluation, scalar, steps)?),
            Plan::Vector(vector) => {
                let mut curves = evaluation.collect(vector, steps)?;
                if !(steps.count() == 1 && steps.step_ms() == 0 && vector.has_order()) {
                    curves.sort_by(|a, b| a.labels.cmp(&b.labels));
                }
                Value::Vector(curves)
            }
            Plan::Range(range) => {
                let mut found: Vec<Series> = Vec::new();
                evaluation.samples(range, steps, &mut |series| {
                    evaluation.meter.hold(series.samples.len())?;
                    found.push(series);
                    Ok(())
                })?;
                found.retain(|series| !series.samples.is_empty());
                found.sort_by(|a, b| a.labels.cmp(&b.labels));
                Value::Samples(found)
            }
        })
    }
}

/// Returns what reads series from `select`, and gives up when it is stopped.
pub(crate) fn reader<'a, S: Select>(
    select: &'a S,
    is_stopped: &'a dyn Fn() -> bool,
) -> impl Fn(&[Matcher], TimeRange, Wanted, SeriesSink<'_>) -> Result<(), Error> + 'a {
    move |matchers, range, wanted, sink| match wanted {
        Wanted::All => hand_on(select.select(matchers, range), is_stopped, sink),
        Wanted::Newest => hand_on(select.select_newest(matchers, range), is_stopped, sink),
    }
}

/// Hands on all series, and asks before each batch whether to stop.
fn hand_on<E: error::Error + Send + Sync + 'static>(
    batches: Result<impl Iterator<Item = Result<Vec<Series>, E>>, E>,
    is_stopped: &dyn Fn() -> bool,
    sink: SeriesSink<'_>,
) -> Result<(), Error> {
    let failed = |source: E| Error::Read { source: Box::new(source) };
    for batch in batches.map_err(failed)? {
        if is_stopped() {
            return Err(Error::Stopped);
        }
        batch.map_err(failed)?.into_iter().try_for_each(&mut *sink)?;
    }
    Ok(())
}

fn numbers(evaluation: &Evaluation<'_>, scalar: &Scalar, steps: Steps) -> Result<Vec<f64>, Error> {
    Ok(match evaluation.scalar(scalar, steps)? {
        Column::Same(value) => vec![value; steps.count()],
        Column::Each(values) => values,
    })
}

impl Answer {
    /// Returns the value of a range query as series: a scalar becomes one without labels.
    pub fn into_curves(self) -> Vec<Curve> {
        match self.value {
            Value::Scalar(values) => vec![Curve { labels: Labels::empty(), values }],
            Value::Vector(curves) => curves,
            Value::Samples(_) | Value::Text(_) => Vec::new(),
        }
    }
}
