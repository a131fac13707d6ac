//! The answering side of a part.

use std::cell::RefCell;
use std::time::Duration;

use firetower_model::{Column, Moments, Piece, Select, in_lots};

use crate::aggregate::{End, Members, Operation};
use crate::curve::Curve;
use crate::error::Error;
use crate::evaluate::Evaluation;
use crate::limits::{Limits, Meter, Usage};
use crate::notes::Notes;
use crate::part::{Below, Coming};
use crate::plan::{Plan, Vector};
use crate::query::{Query, reader};
use crate::steps::Steps;

/// How many numbers go into one piece.
const PIECE_NUMBERS: usize = 8 << 10;

/// When a part is asked for.
#[derive(Clone, Copy, Debug)]
pub struct PartQuestion {
    /// The moments of the whole query.
    pub whole: Moments,
    /// The moments at which the part is evaluated.
    pub moments: Moments,
    /// How far a selector looks back for a sample.
    pub look_back: Duration,
}

/// What there is to say of a part beside its pieces.
#[derive(Clone, Debug, Default)]
pub struct PartAnswer {
    /// Why it may be wrong.
    pub warnings: Vec<String>,
    /// Why it may not be what was meant.
    pub infos: Vec<String>,
    /// What it took.
    pub usage: Usage,
}

/// Takes one piece after the other.
pub(crate) type Say<'a> = &'a mut dyn FnMut(Piece) -> Result<(), Error>;

impl Query {
    /// Answers the part that this is, from `stayed` and, as samples, from `moved`, or from those below; hands the pieces to
    /// `say`.
    ///
    /// # Errors
    /// As [`Query::evaluate`], and if it is not such a part, or `say` fails.
    pub fn answer_part<S: Select>(
        &self,
        (stayed, moved): (&S, Option<&S>),
        below: Option<&dyn Below>,
        question: PartQuestion,
        limits: &Limits,
        is_stopped: &dyn Fn() -> bool,
        say: Say<'_>,
    ) -> Result<PartAnswer, Error> {
        let (meter, notes) = (Meter::new(*limits), Notes::default());
        let loose = RefCell::new(Vec::new());
        let stayed = reader(stayed, is_stopped);
        let moved = moved.map(|moved| reader(moved, is_stopped));
        let read = |matchers: &[_], range, wanted, sink: crate::evaluate::SeriesSink<'_>| {
            stayed(matchers, range, wanted, sink)?;
            match &moved {
                None => Ok(()),
                Some(moved) => moved(matchers, range, wanted, &mut |series| {
                    meter.hold(series.samples.len())?;
                    loose.borrow_mut().push(series);
                    Ok(())
                }),
            }
        };
        let evaluation = Evaluation {
            read: &read,
            below,
            whole: Steps::of(question.whole),
            look_back_ms: i64::try_from(question.look_back.as_millis()).unwrap_or(i64::MAX),
            meter: &meter,
            notes: &notes,
            is_stopped,
        };
        let steps = Steps::of(question.moments);
        meter.points(steps.count())?;
        let mut pieces = Pieces { say, columns: Vec::new(), numbers: 0, are_groups: false };
        self.say_part(&evaluation, steps, &mut pieces)?;
        pieces.flush()?;
        in_lots(loose.into_inner()).into_iter().try_for_each(|lot| (pieces.say)(Piece::Loose(lot)))?;
        let usage = meter.usage();
        let (warnings, infos) = notes.take();
        Ok(PartAnswer { warnings, infos, usage })
    }

    fn say_part(&self, evaluation: &Evaluation<'_>, steps: Steps, pieces: &mut Pieces<'_>) -> Result<(), Error> {
        let Plan::Vector(vector) = &self.plan else { return Err(Error::NotPart) };
        if vector.part().is_some() {
            return evaluation.stream(vector, steps, &mut |curve| pieces.add(curve));
        }
        let Vector::Aggregate { operation, grouping, of } = vector else { return Err(Error::NotPart) };
        if operation.part(grouping, of).is_none() {
            return Err(Error::NotPart);
        }
        let members = Members { operation, grouping, of, steps };
        match operation {
            Operation::Best { .. } | Operation::Some(_) => {
                evaluation.aggregate(operation, grouping, of, steps, &mut |curve| pieces.add(curve))
            }
            // All values are needed, of their labels only those of their group.
            Operation::Quantile(_) => evaluation.members(&members, &mut |coming| match coming {
                Coming::Curve(curve) => {
                    pieces.add(Curve { labels: curve.labels.kept(|name| grouping.keeps(name)), ..curve })
                }
                Coming::Group(_) => Err(Error::Malformed),
            }),
            _ => {
                pieces.are_groups = true;
                evaluation.aggregate_to(&members, End::Numbers(&mut |numbers| pieces.add_column(numbers)))
            }
        }
    }
}

/// Gathers columns into pieces.
struct Pieces<'a> {
    say: Say<'a>,
    columns: Vec<Column>,
    numbers: usize,
    are_groups: bool,
}

impl Pieces<'_> {
    fn add(&mut self, curve: Curve) -> Result<(), Error> {
        self.add_column(Column { labels: curve.labels, values: curve.values })
    }

    fn add_column(&mut self, column: Column) -> Result<(), Error> {
        // Labels take about as much as eight numbers.
        self.numbers += column.values.len() + 8;
        self.columns.push(column);
        if self.numbers < PIECE_NUMBERS { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.numbers = 0;
        let columns = std::mem::take(&mut self.columns);
        if columns.is_empty() {
            return Ok(());
        }
        (self.say)(if self.are_groups { Piece::Groups(columns) } else { Piece::Curves(columns) })
    }
}
