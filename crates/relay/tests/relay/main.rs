//! The relay over real connections.

// A test may panic; the configured exception does not reach its own functions outside of `#[test]`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod answers;
mod common;
mod crowd;
mod delivery;
mod hostile;
mod identity;
