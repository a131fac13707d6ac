//! Why something did not come over the wire.

use std::io;
use std::time::Duration;

use tonic::{Code, Status};

/// Why something did not come over the wire.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be one.
    #[error("read {address:?} as host:port")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// Nobody answers there.
    #[error("dial {address}")]
    Dial {
        /// `host:port`.
        address: String,
        /// What went wrong.
        source: tonic::transport::Error,
    },
    /// Somebody took the connection, or not even that, and said nothing.
    #[error("no answer to {step} within {limit:?}")]
    Silent {
        /// What was waited for.
        step: &'static str,
        /// How long.
        limit: Duration,
    },
    /// A call could not be opened, or broke.
    #[error("{call} call")]
    Call {
        /// Which.
        call: &'static str,
        /// What the far side, or the connection, said.
        source: Box<Status>,
    },
    /// The call has ended, so nothing can be sent any more.
    #[error("{call} call has ended")]
    Ended {
        /// Which.
        call: &'static str,
    },
    /// Bytes that are no such message.
    #[error("decode {what}")]
    Malformed {
        /// What they should be.
        what: &'static str,
        /// Where it fails.
        source: prost::DecodeError,
    },
    /// A payload that is not zstd, or is cut short.
    #[error("inflate {what}")]
    Inflate {
        /// What it should be.
        what: &'static str,
        /// What zstd said.
        source: io::Error,
    },
    /// A write request that is not a block of snappy.
    #[error("decompress a write request as a block of snappy")]
    Snappy {
        /// What is wrong with it.
        source: snap::Error,
    },
    /// zstd failed.
    #[error("compress {what}")]
    Compress {
        /// What was to be compressed.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// Over one of [`crate::limits`].
    #[error("{what} of size {size} is over the limit of {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is; at least, where counting was given up.
        size: usize,
        /// How large it may be.
        max: usize,
    },
    /// A message whose fields contradict each other or the rules.
    #[error("{what} {rule}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

impl Error {
    /// Tells whether the same may work later, on a new connection.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Dial { .. } | Error::Silent { .. } | Error::Ended { .. } => true,
            Error::Call { source, .. } => !matches!(
                source.code(),
                Code::Unimplemented
                    | Code::PermissionDenied
                    | Code::Unauthenticated
                    | Code::InvalidArgument
                    | Code::OutOfRange
            ),
            Error::Address { .. }
            | Error::Malformed { .. }
            | Error::Inflate { .. }
            | Error::Snappy { .. }
            | Error::Compress { .. }
            | Error::TooLarge { .. }
            | Error::Invalid { .. } => false,
        }
    }
}
