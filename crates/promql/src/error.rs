//! Why a query has no answer.

use std::error;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not PromQL, or its types do not fit.
    #[error("{reason}")]
    Syntax {
        /// Why not.
        reason: String,
    },
    /// The text is PromQL, and asks for more than this release does.
    #[error("{what} is not answered by this release")]
    Unsupported {
        /// What it asks for.
        what: String,
    },
    /// An argument cannot be used.
    #[error("{reason}")]
    Argument {
        /// Why not.
        reason: String,
    },
    /// Two series of a result have the same labels at the same time.
    #[error("vector cannot contain metrics with the same labelset")]
    SameLabels,
    /// Two series of the "one" side match the same series.
    #[error(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{first}, \
         {second}];many-to-many matching not allowed: matching labels must be unique on one side"
    )]
    ManyToMany {
        /// What they are matched by.
        group: String,
        /// `left` or `right`.
        side: &'static str,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Several series match one, and the query does not say that they may.
    #[error("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")]
    ManyToOne,
    /// Several series of the "many" side become the same.
    #[error("multiple matches for labels: grouping labels must ensure unique matches")]
    NotUnique,
    /// It would need too much.
    #[error("the query needs more than {most} {what}: ask for less")]
    TooMany {
        /// Things of which there are too many.
        what: &'static str,
        /// How many there may be.
        most: u64,
    },
    /// What is to be answered is not a part of a query that a holder of series can answer by itself.
    #[error("not a part of a query that can be answered apart from the others")]
    NotPart,
    /// Those below answered something else.
    #[error("an answer from below does not fit the question")]
    Malformed,
    /// The series could not be read.
    #[error("read series")]
    Read {
        /// Why not.
        source: Box<dyn error::Error + Send + Sync>,
    },
    /// Whoever asked no longer waits.
    #[error("query was stopped")]
    Stopped,
}

impl Error {
    pub(crate) fn syntax(reason: impl Into<String>) -> Error {
        Error::Syntax { reason: reason.into() }
    }

    pub(crate) fn argument(reason: impl Into<String>) -> Error {
        Error::Argument { reason: reason.into() }
    }
}
