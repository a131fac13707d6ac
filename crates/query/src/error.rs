//! Why those below could not be asked.

/// Why those below could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What is asked has no answer, or needs too much; as one of those below says.
    #[error("{reason}")]
    Execution {
        /// Why.
        reason: String,
    },
    /// Targets went on moving while they were asked.
    #[error("targets moved while they were asked: ask again")]
    Moving,
    /// There would be more to hold than is allowed.
    #[error("the answer has more than {most} samples below: ask for less")]
    TooLarge {
        /// How many there may be.
        most: usize,
    },
    /// Nobody waits for the answer any more.
    #[error("nobody waits for the answer")]
    Stopped,
}

impl From<Error> for firetower_promql::Error {
    fn from(error: Error) -> firetower_promql::Error {
        match error {
            Error::Stopped => firetower_promql::Error::Stopped,
            Error::Moving => firetower_promql::Error::Read { source: Box::new(error) },
            error => firetower_promql::Error::Argument { reason: error.to_string() },
        }
    }
}
