//! Answering those above.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

use firetower_model::{Ask, AskError, Ending, Inquiry, Matcher, Piece, Select, Series, TimeRange, Timestamp, in_lots};
use firetower_promql::{Below, Error, Limits, PartQuestion, Query};
use firetower_topology::QueryLimits;
use tokio::time::Instant;

use crate::{IsStopped, Reader, Source, Tree, evaluation_limits};

/// Says something to whoever asked.
pub type Say<'a> = &'a mut dyn FnMut(Piece) -> Result<(), AskError>;

/// Answers [`Ask::Evaluate`] or [`Ask::Samples`] from `stayed`, from what `moved` has of targets that moved, and, if the series
/// are not here, from those `below`.
///
/// # Errors
/// If there is no answer, or nobody waits for it.
pub fn answer_part<S: Select>(
    ask: &Ask,
    (stayed, moved): (&S, Option<&S>),
    below: Option<&dyn Below>,
    (limits, is_stopped): (&QueryLimits, &dyn Fn() -> bool),
    say: Say<'_>,
) -> Result<Ending, AskError> {
    match ask {
        Ask::Evaluate { text, whole, moments, look_back } => {
            let query = Query::parse(text).map_err(refused)?;
            let question = PartQuestion { whole: *whole, moments: *moments, look_back: *look_back };
            let mut unsaid = None;
            let mut say = |piece| {
                say(piece).map_err(|error| {
                    unsaid = Some(error);
                    Error::Stopped
                })
            };
            let limits = evaluation_limits(limits);
            let said = query.answer_part((stayed, moved), below, question, &limits, is_stopped, &mut say);
            let said = said.map_err(|error| unsaid.unwrap_or_else(|| refused(error)))?;
            let (warnings, infos) = (said.warnings, said.infos);
            Ok(Ending { warnings, infos, series: said.usage.series, samples: said.usage.samples, ..Ending::default() })
        }
        Ask::Samples { matchers, range } => {
            let mut ending = Ending::default();
            let mut hand_on = |from: &S, piece: fn(Vec<Series>) -> Piece| {
                for batch in from.select(matchers, *range).map_err(unavailable)? {
                    if is_stopped() {
                        return Err(AskError::Gone);
                    }
                    let batch = batch.map_err(unavailable)?;
                    ending.series += batch.len() as u64;
                    ending.samples += batch.iter().map(|series| series.samples.len() as u64).sum::<u64>();
                    in_lots(batch).into_iter().try_for_each(|lot| say(piece(lot)))?;
                }
                Ok(())
            };
            hand_on(stayed, Piece::Samples)?;
            if let Some(moved) = moved {
                hand_on(moved, Piece::Loose)?;
            }
            Ok(ending)
        }
        Ask::Labels { .. } | Ask::Kinds => Err(AskError::Execution { reason: "not a question about samples".into() }),
    }
}

/// Returns the time that the answer to `ask` looks at.
///
/// # Errors
/// If it asks for what is no part of a query.
pub fn part_range(ask: &Ask) -> Result<TimeRange, AskError> {
    match ask {
        Ask::Evaluate { text, whole, moments, look_back } => {
            let seen = Seen(Cell::new(None));
            let question = PartQuestion { whole: *whole, moments: *moments, look_back: *look_back };
            let query = Query::parse(text).map_err(refused)?;
            query
                .answer_part((&seen, None), None, question, &Limits::PROMETHEUS, &|| false, &mut |_| Ok(()))
                .map_err(refused)?;
            Ok(seen.0.get().unwrap_or(TimeRange { start: Timestamp::MIN, end: Timestamp::MIN }))
        }
        Ask::Samples { range, .. } | Ask::Labels { range, .. } => Ok(*range),
        Ask::Kinds => Ok(TimeRange::ALL),
    }
}

/// Has no series, and notes which time was looked at.
struct Seen(Cell<Option<TimeRange>>);

impl Select for Seen {
    type Error = Infallible;

    fn select(
        &self,
        _: &[Matcher],
        range: TimeRange,
    ) -> Result<impl Iterator<Item = Result<Vec<Series>, Infallible>>, Infallible> {
        let seen = self.0.get().unwrap_or(range);
        self.0.set(Some(TimeRange { start: seen.start.min(range.start), end: seen.end.max(range.end) }));
        Ok(std::iter::empty())
    }
}

fn refused(error: Error) -> AskError {
    match error {
        Error::Stopped => AskError::Gone,
        Error::Read { source } => AskError::Unavailable { reason: chain(&*source) },
        error => AskError::Execution { reason: error.to_string() },
    }
}

fn unavailable(error: impl std::error::Error) -> AskError {
    AskError::Unavailable { reason: chain(&error) }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Answers `inquiry` from the monitors below.
///
/// # Errors
/// If there is no answer, or nobody waits for it.
pub fn answer_from_below(
    tree: &Tree,
    inquiry: &Inquiry,
    limits: &QueryLimits,
    is_stopped: IsStopped,
    say: Say<'_>,
) -> Result<Ending, AskError> {
    // What moved is joined here.
    say(Piece::Moved(Vec::new()))?;
    let reader = tree.open(Instant::now() + inquiry.within, Arc::clone(&is_stopped));
    let mut ending = match &inquiry.ask {
        ask @ (Ask::Evaluate { .. } | Ask::Samples { .. }) => {
            answer_part(ask, (&reader, None), reader.below(), (limits, &*is_stopped), say)?
        }
        ask @ (Ask::Labels { .. } | Ask::Kinds) => {
            reader.pass_on(ask.clone(), say)?;
            Ending::default()
        }
    };
    ending.answered = reader.answered().unwrap_or_default();
    Ok(ending)
}
