//! What can go wrong with a scrape.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::exposition::{PageError, UnknownFormat};
use crate::page::{LabelLimit, ReadError};

/// Why a scrape failed, or a file of targets could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target's address is not one.
    #[error("{url:?} is not a URL to scrape: {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody answers there.
    #[error("connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The two ends could not agree on keys, or the certificate is not believed.
    #[error("agree on TLS with {host}")]
    Tls {
        /// Whose certificate it should be.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection ended before an answer began.
    #[error("the connection ended before an answer")]
    Closed {
        /// How.
        source: io::Error,
    },
    /// The connection failed within an answer.
    #[error("receive the answer")]
    Receive {
        /// How.
        source: io::Error,
    },
    /// The connection ended within an answer.
    #[error("the answer ends too early")]
    Cut,
    /// It took too long.
    #[error("no whole answer within {timeout:?}")]
    Timeout {
        /// The time that was given.
        timeout: Duration,
    },
    /// The answer is not HTTP, or not as asked for.
    #[error("the answer cannot be read: {reason}")]
    Head {
        /// What is wrong with it.
        reason: String,
    },
    /// The answer is no page.
    #[error("server returned HTTP status {status} {reason}")]
    HttpStatus {
        /// The code.
        status: u16,
        /// Its words.
        reason: String,
    },
    /// One redirect led to the next.
    #[error("stopped after {most} redirects")]
    Redirects {
        /// How many are followed.
        most: usize,
    },
    /// The page is too large.
    #[error("body exceeds body_size_limit of {limit} bytes")]
    BodySize {
        /// How large it may be.
        limit: usize,
    },
    /// The body is not what `Content-Encoding` says.
    #[error("the gzip body cannot be inflated: {reason}")]
    Gzip {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nobody says in which format the page is.
    #[error("tell the format of the page")]
    Format(#[source] UnknownFormat),
    /// The page is malformed.
    #[error("malformed page")]
    Page(#[source] PageError),
    /// The page has too many samples.
    #[error("sample_limit of {limit} samples is exceeded")]
    SampleLimit {
        /// How many it may have after relabelling.
        limit: usize,
    },
    /// A series of the page has too many labels, or one too long.
    #[error(transparent)]
    LabelLimit(LabelLimit),
    /// The page was read and could not be kept.
    #[error("the page's shape could not be stored")]
    Unstored,
    /// A pattern of file names is not one.
    #[error("pattern {pattern:?} of file names is malformed")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        source: glob::PatternError,
    },
    /// A file of targets cannot be read.
    #[error("read {path}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// Returns a word for the kind of fault, one of a few, as a metric's label wants it.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Url { .. } => "url",
            Error::Connect { .. } => "connect",
            Error::Tls { .. } => "tls",
            Error::Closed { .. } | Error::Receive { .. } | Error::Cut => "receive",
            Error::Timeout { .. } => "timeout",
            Error::Head { .. } => "http",
            Error::HttpStatus { .. } => "http_status",
            Error::Redirects { .. } => "redirects",
            Error::BodySize { .. } => "body_size",
            Error::Gzip { .. } => "gzip",
            Error::Format(_) => "content_type",
            Error::Page(_) => "page",
            Error::SampleLimit { .. } => "sample_limit",
            Error::LabelLimit(LabelLimit::Count { .. }) => "label_limit",
            Error::LabelLimit(LabelLimit::NameLength { .. }) => "label_name_length_limit",
            Error::LabelLimit(LabelLimit::ValueLength { .. }) => "label_value_length_limit",
            Error::Unstored => "store",
            Error::Pattern { .. } | Error::File { .. } => "file",
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Error {
        match error {
            ReadError::Page(error) => Error::Page(error),
            ReadError::SampleLimit { limit } => Error::SampleLimit { limit },
            ReadError::LabelLimit(error) => Error::LabelLimit(error),
            ReadError::Unstored => Error::Unstored,
        }
    }
}
