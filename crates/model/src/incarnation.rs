//! The life of a data directory.

use std::fmt;

use crate::time::Timestamp;

/// The life of a data directory, minted when it is made, restored or repaired.
///
/// Of two processes under one node name the newer incarnation wins; the order is by creation, then by the random part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Incarnation {
    /// When the directory was made.
    pub created: Timestamp,
    /// 64 random bits, so that two made in one millisecond differ.
    pub random: u64,
}

impl Incarnation {
    /// Returns 16 bytes that sort as the incarnations do (for creations after 1970).
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.created.as_millis().to_be_bytes());
        bytes[8..].copy_from_slice(&self.random.to_be_bytes());
        bytes
    }

    /// Reads back what [`Incarnation::to_bytes`] returned.
    pub fn from_bytes(bytes: [u8; 16]) -> Incarnation {
        let value = u128::from_be_bytes(bytes);
        Incarnation { created: Timestamp::from_millis((value >> 64) as i64), random: value as u64 }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.created.as_millis(), self.random)
    }
}
