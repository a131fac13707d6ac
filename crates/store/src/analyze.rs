//! What is in a store, and who takes the room.

mod cardinality;
mod extent;

pub use cardinality::{Cardinality, LabelCount, PairCount, TargetCount};
pub use extent::TierExtent;

use crate::database::{FAMILIES, Store};
use crate::error::Error;

/// What [`Store::analyze`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Who has how many series.
    pub cardinality: Cardinality,
    /// Raw samples and each tier of spans.
    pub tiers: Vec<TierExtent>,
    /// Bytes in files by column family, the largest first; what is still in memory is not in them.
    pub families: Vec<(&'static str, u64)>,
}

impl Store {
    /// Says what is in the store, the `limit` largest of each kind; reads the heads of all blocks.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn analyze(&self, limit: usize) -> Result<Analysis, Error> {
        let mut families: Vec<(&'static str, u64)> = self.family_sizes().collect();
        families.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        Ok(Analysis { cardinality: self.cardinality(limit), tiers: self.tier_extents()?, families })
    }

    /// Returns the bytes in files of each column family.
    pub fn family_sizes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FAMILIES.iter().map(|(family, _)| (*family, self.family_bytes(family)))
    }
}

#[cfg(test)]
mod tests;
