//! Why frames stopped moving.

use std::time::Duration;

use firetower_wire::{Refusal, RefusalReason};

/// Why frames stopped moving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("keep frames")]
    Store(#[from] firetower_store::Error),
    /// The connection failed, or what came over it.
    #[error("speak with the other side")]
    Wire(#[from] firetower_wire::Error),
    /// The far side did not say what was due.
    #[error("no {what} within {limit:?}")]
    Silent {
        /// What was due.
        what: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The far side ended the call.
    #[error("the other side ended {call}")]
    Ended {
        /// Which call.
        call: &'static str,
    },
    /// The parent asks for the same row keys again and again.
    #[error("parent {parent} asked {asked} times for row keys and acknowledged nothing")]
    Rewinds {
        /// The parent replica.
        parent: String,
        /// How often it asked.
        asked: u32,
    },
    /// The parent does not take this child.
    #[error("parent {parent} refused ({reason}): {text}")]
    Refused {
        /// The parent replica.
        parent: String,
        /// The word for why.
        reason: &'static str,
        /// What it said.
        text: String,
        /// Not to come again before this is over.
        retry_after: Duration,
    },
    /// A child that does not keep to the rules of a stream.
    #[error("stream {rule}")]
    Unruly {
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Another process under the same name has a newer data directory.
    #[error("superseded: parent {parent} has heard of a newer data directory of this node: {text}")]
    Superseded {
        /// The parent replica.
        parent: String,
        /// What it said.
        text: String,
    },
}

impl Error {
    /// What `parent` said when it refused.
    pub(crate) fn refused(parent: &str, refusal: Refusal) -> Error {
        let (parent, text, retry_after) = (parent.to_owned(), refusal.text, refusal.retry_after);
        match refusal.reason {
            RefusalReason::Superseded => Error::Superseded { parent, text },
            reason => Error::Refused { parent, reason: reason.as_str(), text, retry_after },
        }
    }

    /// Returns how long not to come again, as the far side has asked.
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Error::Refused { retry_after, .. } => *retry_after,
            _ => Duration::ZERO,
        }
    }
}
