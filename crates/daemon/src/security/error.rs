//! What is wrong with files of certificates and tokens.

use std::io;
use std::path::PathBuf;

/// What is wrong with files of certificates and tokens. Nothing of what is in them is ever in its text.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is too large to be what it should be.
    #[error("{path} has more than {most} bytes")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// How many it may have.
        most: u64,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {what}")]
    Missing {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// A certificate cannot be read.
    #[error("{path}: its certificate cannot be read")]
    Certificate {
        /// Which file.
        path: PathBuf,
    },
    /// Certificate, key and authority do not go together.
    #[error("use {path} with its key")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What TLS says.
        source: rustls::Error,
    },
    /// The authorities cannot be used to judge children by.
    #[error("use the authorities of {path}")]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// What TLS says.
        source: rustls::server::VerifierBuilderError,
    },
    /// A line is no token.
    #[error("{path}:{line}: a token is {least} to {most} letters, digits and -._~+/=, alone on its line")]
    Token {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Least bytes.
        least: usize,
        /// Most bytes.
        most: usize,
    },
}
