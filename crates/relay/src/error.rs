//! Why frames stopped moving.

use std::time::Duration;

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
