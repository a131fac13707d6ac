//! What can go wrong with a scrape.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
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
    /// The job has more targets than it may have.
    #[error("target_limit is exceeded: no target of the job is scraped")]
    TargetLimit,
    /// What the request must carry cannot be made.
    #[error("prepare the request")]
    Access(#[source] Arc<AccessError>),
    /// The proxy does not connect.
    #[error("connect through the proxy {address}: {reason}")]
    Proxy {
        /// Its host and port.
        address: String,
        /// What it said.
        reason: String,
    },
    /// A list of targets is none.
    #[error("{url} is no list of targets: {reason}")]
    List {
        /// Where it was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name could not be looked up.
    #[error("look {name} up")]
    Lookup {
        /// The name.
        name: String,
        /// Why not.
        source: io::Error,
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
    /// The page has far more samples than any before.
    #[error(
        "growth limit of {limit} samples is exceeded, the target never had more than {most}: a sample_limit of its job \
         lifts that"
    )]
    GrowthLimit {
        /// How many it may have now.
        limit: usize,
        /// How many its largest page had.
        most: usize,
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
            Error::TargetLimit => "target_limit",
            Error::Access(_) => "access",
            Error::Proxy { .. } => "proxy",
            Error::List { .. } => "list",
            Error::Lookup { .. } => "lookup",
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
            Error::GrowthLimit { .. } => "growth_limit",
            Error::LabelLimit(LabelLimit::Count { .. }) => "label_limit",
            Error::LabelLimit(LabelLimit::NameLength { .. }) => "label_name_length_limit",
            Error::LabelLimit(LabelLimit::ValueLength { .. }) => "label_value_length_limit",
            Error::Unstored => "store",
            Error::Pattern { .. } | Error::File { .. } => "file",
        }
    }
}

/// Why what a request must carry cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file of secrets cannot be read.
    #[error("read {path}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A header would end before its value does.
    #[error("the value of header {name} has a line break or control character")]
    Header {
        /// Which header.
        name: String,
    },
    /// A file of certificates or a key holds none.
    #[error("{what} is no PEM that can be read")]
    Pem {
        /// What it should be.
        what: &'static str,
    },
    /// A name cannot be on a certificate.
    #[error("server_name {name:?} is no name of a host")]
    ServerName {
        /// As it was given.
        name: String,
    },
    /// Certificate, key and versions do not fit together.
    #[error("TLS cannot be set up so")]
    Tls(#[source] tokio_rustls::rustls::Error),
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
