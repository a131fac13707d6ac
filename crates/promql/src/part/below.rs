//! The asking side of a part.

use firetower_model::{Ask, Column, Loose, Piece};

use crate::curve::Curve;
use crate::error::Error;
use crate::evaluate::{Evaluation, SeriesSink, Sink};
use crate::part::PartAnswer;
use crate::plan::Vector;
use crate::steps::Steps;

/// Those below, who hold the series.
pub trait Below {
    /// Asks all of them, and hands what they say to `sink`: groups in the order of their names, all else as it comes.
    /// Returns what they have to say beside.
    ///
    /// # Errors
    /// If the question has no answer, or `sink` fails. Who does not answer is left out, and named elsewhere.
    fn ask(&self, ask: Ask, sink: &mut dyn FnMut(Piece) -> Result<(), Error>) -> Result<PartAnswer, Error>;
}

/// What comes of a part.
pub(crate) enum Coming {
    /// A series.
    Curve(Curve),
    /// What one holder knows of a group: some numbers a step.
    Group(Column),
}

impl Evaluation<'_> {
    /// Hands on the curves of `vector`, of which `text` is what others are asked for.
    pub(crate) fn curves_below(
        &self,
        text: String,
        vector: &Vector,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        self.part_below(text, vector, steps, &mut |coming| match coming {
            Coming::Curve(curve) => sink(curve),
            Coming::Group(_) => Ok(()),
        })
    }

    /// Hands on what others say to `text`; what they have of targets that moved is joined, and `of` evaluated of it.
    pub(crate) fn part_below(
        &self,
        text: String,
        of: &Vector,
        steps: Steps,
        sink: &mut dyn FnMut(Coming) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(below) = self.below else { return Ok(()) };
        let look_back = std::time::Duration::from_millis(self.look_back_ms.unsigned_abs());
        let ask = Ask::Evaluate { text, whole: self.whole.moments(), moments: steps.moments(), look_back };
        let mut loose = Loose::default();
        let said = below.ask(ask, &mut |piece| match piece {
            Piece::Curves(columns) => columns.into_iter().try_for_each(|column| {
                if column.values.len() != steps.count() {
                    return Err(Error::Malformed);
                }
                sink(Coming::Curve(Curve { labels: column.labels, values: column.values }))
            }),
            Piece::Groups(columns) => columns.into_iter().try_for_each(|column| sink(Coming::Group(column))),
            Piece::Loose(series) => {
                self.meter.hold(series.iter().map(|series| series.samples.len()).sum())?;
                loose.add(series);
                Ok(())
            }
            // A later release may say more.
            _ => Ok(()),
        })?;
        self.notes.adopt(said.warnings, said.infos);
        self.meter.adopt(said.usage);
        let joined = loose.joined();
        if joined.is_empty() {
            return Ok(());
        }
        let held = joined.iter().map(|series| series.samples.len()).sum();
        let read = |_: &[_], _, _, sink: SeriesSink<'_>| joined.iter().cloned().try_for_each(sink);
        let here = Evaluation { read: &read, below: None, ..*self };
        here.stream(of, steps, &mut |curve| sink(Coming::Curve(curve)))?;
        self.meter.release(held);
        Ok(())
    }
}
