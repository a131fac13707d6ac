//! Pieces of answers as bytes: protobuf inside zstd.

use firetower_model::{Answered, Column, Ending, Kind, Labels, Missing, Piece, Sample, Series, Timestamp};
use prost::Message;

use crate::codec::{inflate, labels, screen::Screened};
use crate::error::Error;
use crate::limits::{
    LABELS_BYTES_MAX, MOVED_MAX, NAME_BYTES_MAX, NOTES_MAX, PIECE_BYTES_MAX, PIECE_ENTRIES_MAX, STATUS_NODES_MAX,
    TEXT_BYTES_MAX, TEXTS_MAX, cut_text, text_within, within,
};
use crate::proto;

/// Of zstd: an answer is waited for.
const COMPRESSION_LEVEL: i32 = 1;

/// Returns a piece of an answer as it travels. Doubles keep their bits, NaN included.
///
/// # Errors
/// If a receiver would refuse it: over one of [`crate::limits`], or samples whose times do not rise.
pub fn encode(piece: &Piece) -> Result<Vec<u8>, Error> {
    let mut message = proto::AnswerPiece::default();
    match piece {
        Piece::Curves(columns) => message.curves = entries("curves", columns, column_to_proto)?,
        Piece::Groups(columns) => message.groups = entries("groups", columns, column_to_proto)?,
        Piece::Samples(series) => message.samples = entries("series", series, series_to_proto)?,
        Piece::Loose(series) => message.loose = entries("loose series", series, series_to_proto)?,
        Piece::LabelSets(sets) => {
            let set = |set: &Labels| Ok(proto::LabelSet { labels: labels::to_flat(set)? });
            message.label_sets = entries("label sets", sets, set)?;
        }
        Piece::Texts(texts) => {
            within("texts", texts.len(), TEXTS_MAX)?;
            message.texts = texts.clone();
        }
        Piece::Kinds(kinds) => {
            let kind = |(name, kind): &(String, Kind)| {
                let name = text_within("metric", name.clone(), LABELS_BYTES_MAX)?;
                Ok(proto::MetricKind { name, kind: *kind as u32 })
            };
            message.kinds = entries("metrics", kinds, kind)?;
        }
        Piece::Moved(moved) => {
            within("moved targets", moved.len(), MOVED_MAX)?;
            message.moved = Some(proto::MovedTargets { targets: moved.clone() });
        }
    }
    compress(&message)
}

/// Returns the end of an answer as it travels. Sentences for people are cut to [`TEXT_BYTES_MAX`], and there are no more
/// of a kind than [`NOTES_MAX`], and no more nodes that are missing than [`STATUS_NODES_MAX`].
///
/// # Errors
/// If a node's name is over its limit.
pub fn encode_ending(ending: &Ending) -> Result<Vec<u8>, Error> {
    let missing = |missing: &Missing| {
        let node = text_within("node", missing.node.clone(), NAME_BYTES_MAX)?;
        Ok(proto::Missing { node, targets: missing.targets, reason: cut_text(&missing.reason) })
    };
    let notes = |notes: &[String]| notes.iter().take(NOTES_MAX).map(|note| cut_text(note)).collect();
    let Answered { expected, answered, missing: absent } = &ending.answered;
    let read = proto::Ending {
        expected: *expected,
        answered: *answered,
        missing: absent.iter().take(STATUS_NODES_MAX).map(missing).collect::<Result<_, Error>>()?,
        warnings: notes(&ending.warnings),
        infos: notes(&ending.infos),
        series: ending.series,
        samples: ending.samples,
    };
    compress(&proto::AnswerPiece { ending: Some(read), ..proto::AnswerPiece::default() })
}

/// Reads back what [`encode`] or [`encode_ending`] returned, of this release or a neighbouring one.
///
/// Content of kinds that this release does not know is skipped.
///
/// # Errors
/// If the bytes are nothing of the kind, or over one of [`crate::limits`]. Memory stays within a small multiple of
/// [`PIECE_BYTES_MAX`], whatever the bytes.
pub fn decode(compressed: &[u8]) -> Result<(Vec<Piece>, Option<Ending>), Error> {
    let message = inflate("piece of an answer", compressed)?;
    proto::AnswerPiece::screen(&message)?;
    let read = proto::AnswerPiece::decode(message.as_slice())
        .map_err(|source| Error::Malformed { what: "piece of an answer", source })?;
    let moved = read.moved.map(|moved| moved.targets);
    within("moved targets", moved.as_ref().map_or(0, Vec::len), MOVED_MAX)?;
    let set = |set: proto::LabelSet| labels::from_flat(&set.labels);
    let pieces = [
        Piece::Curves(read_all(read.curves, column_from_proto)?),
        Piece::Groups(read_all(read.groups, column_from_proto)?),
        Piece::Samples(read_all(read.samples, series_from_proto)?),
        Piece::Loose(read_all(read.loose, series_from_proto)?),
        Piece::LabelSets(read_all(read.label_sets, set)?),
        Piece::Texts(read.texts),
        Piece::Kinds(read_all(read.kinds, kind_from_proto)?),
    ];
    // That no target has moved is news too.
    let pieces = moved.map(Piece::Moved).into_iter().chain(pieces.into_iter().filter(|piece| !is_empty(piece)));
    Ok((pieces.collect(), read.ending.map(ending_from_proto).transpose()?))
}

fn is_empty(piece: &Piece) -> bool {
    match piece {
        Piece::Curves(columns) | Piece::Groups(columns) => columns.is_empty(),
        Piece::Samples(series) | Piece::Loose(series) => series.is_empty(),
        Piece::LabelSets(sets) => sets.is_empty(),
        Piece::Texts(texts) => texts.is_empty(),
        Piece::Kinds(kinds) => kinds.is_empty(),
        Piece::Moved(moved) => moved.is_empty(),
    }
}

fn compress(message: &proto::AnswerPiece) -> Result<Vec<u8>, Error> {
    let what = "piece of an answer";
    within(what, message.encoded_len(), PIECE_BYTES_MAX)?;
    zstd::bulk::compress(&message.encode_to_vec(), COMPRESSION_LEVEL).map_err(|source| Error::Compress { what, source })
}

fn entries<T, P>(what: &'static str, all: &[T], to_proto: impl Fn(&T) -> Result<P, Error>) -> Result<Vec<P>, Error> {
    within(what, all.len(), PIECE_ENTRIES_MAX)?;
    all.iter().map(to_proto).collect()
}

fn read_all<P, T>(read: Vec<P>, from_proto: impl Fn(P) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    read.into_iter().map(from_proto).collect()
}

fn column_to_proto(column: &Column) -> Result<proto::Column, Error> {
    Ok(proto::Column { labels: labels::to_flat(&column.labels)?, values: column.values.clone() })
}

fn column_from_proto(read: proto::Column) -> Result<Column, Error> {
    Ok(Column { labels: labels::from_flat(&read.labels)?, values: read.values })
}

const NOT_RISING: Error = Error::Invalid { what: "times of samples", rule: "must rise" };

fn series_to_proto(series: &Series) -> Result<proto::SampledSeries, Error> {
    let mut previous = None;
    let delta = |sample: &Sample| {
        let at = sample.at.as_millis();
        match previous.replace(at) {
            None => Ok(at),
            Some(previous) => at.checked_sub(previous).filter(|delta| *delta > 0).ok_or(NOT_RISING),
        }
    };
    Ok(proto::SampledSeries {
        labels: labels::to_flat(&series.labels)?,
        time_deltas_ms: series.samples.iter().map(delta).collect::<Result<_, _>>()?,
        values: series.samples.iter().map(|sample| sample.value).collect(),
    })
}

fn series_from_proto(read: proto::SampledSeries) -> Result<Series, Error> {
    if read.time_deltas_ms.len() != read.values.len() {
        return Err(Error::Invalid { what: "samples", rule: "must have as many times as values" });
    }
    let mut previous: Option<i64> = None;
    let sample = |(delta, value): (i64, f64)| {
        let at = match previous {
            None => delta,
            Some(_) if delta <= 0 => return Err(NOT_RISING),
            Some(previous) => previous.checked_add(delta).ok_or(NOT_RISING)?,
        };
        previous = Some(at);
        Ok(Sample { at: Timestamp::from_millis(at), value })
    };
    let samples = read.time_deltas_ms.into_iter().zip(read.values).map(sample).collect::<Result<_, _>>()?;
    Ok(Series { labels: labels::from_flat(&read.labels)?, samples })
}

/// A kind that this release does not know is [`Kind::Unknown`].
fn kind_from_proto(read: proto::MetricKind) -> Result<(String, Kind), Error> {
    let kind = u8::try_from(read.kind).ok().and_then(Kind::from_byte).unwrap_or_default();
    Ok((text_within("metric", read.name, LABELS_BYTES_MAX)?, kind))
}

fn ending_from_proto(read: proto::Ending) -> Result<Ending, Error> {
    let missing = |read: proto::Missing| {
        let node = text_within("node", read.node, NAME_BYTES_MAX)?;
        Ok(Missing { node, targets: read.targets, reason: text_within("reason", read.reason, TEXT_BYTES_MAX)? })
    };
    let notes = |notes: Vec<String>| read_all(notes, |note| text_within("note", note, TEXT_BYTES_MAX));
    let missing = read_all(read.missing, missing)?;
    Ok(Ending {
        answered: Answered { expected: read.expected, answered: read.answered, missing },
        warnings: notes(read.warnings)?,
        infos: notes(read.infos)?,
        series: read.series,
        samples: read.samples,
    })
}

#[cfg(test)]
mod tests;
