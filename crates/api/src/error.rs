//! What a caller is told when there is no answer.

use std::error;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use firetower_daemon::chain;
use firetower_promql::Error as promql;
use serde_json::json;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter that must be there is not.
    #[error("parameter {name:?} is missing")]
    Missing {
        /// The parameter.
        name: &'static str,
    },
    /// A parameter that this endpoint does not know.
    #[error("parameter {name:?} is not known here: known are {known}")]
    UnknownParameter {
        /// The parameter.
        name: String,
        /// Those that are known.
        known: String,
    },
    /// A parameter's value cannot be used.
    #[error("parameter {name:?}: {value:?} is not {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What came.
        value: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// What must be a selector is more, or something else.
    #[error("{value:?} is not a plain selector: one without a range, `offset` or `@` is wanted")]
    NotSelector {
        /// What came.
        value: String,
    },
    /// The query does not read, or cannot be evaluated.
    #[error(transparent)]
    Promql(#[from] firetower_promql::Error),
    /// The query took too long.
    #[error("query timed out after {after:?}")]
    Timeout {
        /// How long it had.
        after: Duration,
    },
    /// Whoever asked went away.
    #[error("query was canceled")]
    Canceled,
    /// The answer would be too large.
    #[error("the answer has more than {most} {what}: ask for less")]
    TooLarge {
        /// Things of which there are too many.
        what: &'static str,
        /// How many there may be.
        most: u64,
    },
    /// Not all that have series for it have answered.
    #[error("the answer would not be whole: {}", missing.join("; "))]
    Incomplete {
        /// Who has not.
        missing: Vec<String>,
    },
    /// What the answer is read from failed.
    #[error("{step}")]
    Unavailable {
        /// What was being done.
        step: &'static str,
        /// Why it failed.
        source: Box<dyn error::Error + Send + Sync>,
    },
}

impl From<firetower_query::Error> for Error {
    fn from(error: firetower_query::Error) -> Error {
        Error::Promql(error.into())
    }
}

impl Error {
    /// Returns the status code, and Prometheus's word for the kind of error.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Error::Missing { .. }
            | Error::UnknownParameter { .. }
            | Error::Parameter { .. }
            | Error::NotSelector { .. }
            | Error::Promql(promql::Syntax { .. } | promql::Unsupported { .. }) => {
                (StatusCode::BAD_REQUEST, "bad_data")
            }
            Error::Promql(promql::Read { .. } | promql::Malformed) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Error::TooLarge { .. } | Error::Promql(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            Error::Timeout { .. } => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            Error::Canceled => (StatusCode::SERVICE_UNAVAILABLE, "canceled"),
            Error::Unavailable { .. } | Error::Incomplete { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, kind) = self.kind();
        if status.is_server_error() {
            tracing::warn!(error = %chain(&self), "request failed");
        }
        let body = json!({ "status": "error", "errorType": kind, "error": chain(&self).to_string() });
        (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
    }
}
