//! The messages of `Answer`, and to and from protobuf.

use firetower_model::AskError;
use prost::bytes::Bytes;

use crate::error::Error;
use crate::limits::{CHUNK_BYTES_MAX, cut_text, within};
use crate::message::control::{refusal_from_proto, refusal_to_proto};
use crate::message::frames::{opening_from_proto, opening_to_proto};
use crate::message::{Message, Opening, Refusal};
use crate::proto;
use crate::proto::answer_error::Kind;
use crate::proto::{answer_down, answer_up};

/// What a child says on `Answer`; [`AnswerUp::Opening`] first.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerUp {
    /// Whose answers these are.
    Opening(Opening),
    /// The next bytes of an answer; without any, that the child is at work on it.
    Chunk {
        /// Which answer.
        id: u64,
        /// At most [`CHUNK_BYTES_MAX`] of what [`crate::encode_piece`] or [`crate::encode_ending`] returned.
        content: Bytes,
        /// Whether the answer ends with this piece.
        is_last: bool,
        /// Whether a piece ends here.
        ends_piece: bool,
    },
    /// That there is no more of an answer.
    Failed {
        /// Which answer.
        id: u64,
        /// Why.
        error: AskError,
    },
}

/// What a parent says on `Answer`.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerDown {
    /// It has no use for the rest of an answer.
    Cancel {
        /// Which.
        id: u64,
    },
    /// It does not take this call; the call ends.
    Refused(Refusal),
    /// How many more bytes of an answer it is ready to take.
    Credit {
        /// Which answer.
        id: u64,
        /// How many.
        bytes: u64,
    },
}

impl Message for AnswerUp {
    type Proto = proto::AnswerUp;

    const CALL: &'static str = "answer";

    fn into_proto(self) -> Result<proto::AnswerUp, Error> {
        let content = match self {
            AnswerUp::Opening(opening) => answer_up::Content::Opening(opening_to_proto(opening)),
            AnswerUp::Chunk { id, content, is_last, ends_piece } => {
                within("chunk of an answer", content.len(), CHUNK_BYTES_MAX)?;
                answer_up::Content::Chunk(proto::AnswerChunk { query_id: id, content, is_last, ends_piece })
            }
            AnswerUp::Failed { id, error } => answer_up::Content::Error(error_to_proto(id, &error)),
        };
        Ok(proto::AnswerUp { content: Some(content) })
    }

    fn from_proto(read: proto::AnswerUp) -> Result<Option<AnswerUp>, Error> {
        let Some(content) = read.content else { return Ok(None) };
        Ok(Some(match content {
            answer_up::Content::Opening(opening) => AnswerUp::Opening(opening_from_proto(opening)?),
            answer_up::Content::Chunk(chunk) => {
                within("chunk of an answer", chunk.content.len(), CHUNK_BYTES_MAX)?;
                let proto::AnswerChunk { query_id: id, content, is_last, ends_piece } = chunk;
                AnswerUp::Chunk { id, content, is_last, ends_piece }
            }
            answer_up::Content::Error(error) => {
                AnswerUp::Failed { id: error.query_id, error: error_from_proto(&error) }
            }
        }))
    }
}

impl Message for AnswerDown {
    type Proto = proto::AnswerDown;

    const CALL: &'static str = "answer";

    fn into_proto(self) -> Result<proto::AnswerDown, Error> {
        let content = match self {
            AnswerDown::Cancel { id } => answer_down::Content::Cancel(proto::AnswerCancel { query_id: id }),
            AnswerDown::Refused(refusal) => answer_down::Content::Refused(refusal_to_proto(refusal)),
            AnswerDown::Credit { id, bytes } => {
                answer_down::Content::Credit(proto::AnswerCredit { query_id: id, bytes })
            }
        };
        Ok(proto::AnswerDown { content: Some(content) })
    }

    fn from_proto(read: proto::AnswerDown) -> Result<Option<AnswerDown>, Error> {
        let Some(content) = read.content else { return Ok(None) };
        Ok(Some(match content {
            answer_down::Content::Cancel(cancel) => AnswerDown::Cancel { id: cancel.query_id },
            answer_down::Content::Refused(refused) => AnswerDown::Refused(refusal_from_proto(refused)),
            answer_down::Content::Credit(credit) => AnswerDown::Credit { id: credit.query_id, bytes: credit.bytes },
        }))
    }
}

fn error_to_proto(id: u64, error: &AskError) -> proto::AnswerError {
    let kind = match error {
        AskError::Execution { .. } => Kind::Execution,
        AskError::Unavailable { .. } | AskError::Gone => Kind::Unavailable,
    };
    proto::AnswerError { query_id: id, text: cut_text(&error.to_string()), kind: kind.into() }
}

fn error_from_proto(read: &proto::AnswerError) -> AskError {
    let reason = cut_text(&read.text);
    match Kind::try_from(read.kind) {
        Ok(Kind::Execution) => AskError::Execution { reason },
        Ok(Kind::Unavailable) | Err(_) => AskError::Unavailable { reason },
    }
}
