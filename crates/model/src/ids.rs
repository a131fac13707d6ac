//! Numbers that stand for things, a type for each so that they cannot be mixed up.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A metric of one store: counted from 0, persisted, never used again.
    MetricId(u32)
}
id! {
    /// A target of one store: counted from 0, persisted, never used again.
    TargetId(u32)
}
id! {
    /// A shape of one store: counted from 0, persisted, never used again.
    ShapeId(u32)
}
id! {
    /// A row key of one incarnation: counted from 0, persisted, never used again.
    RowId(u32)
}
id! {
    /// The place of a frame in its child's push stream, counted from 1 within an incarnation.
    Sequence(u64)
}
id! {
    /// How often a window has been put out: 1 at its close, more after each late change. The upper half counts corrections,
    /// which took out what was another's; a primary's is the sum of its children's, half by half.
    Revision(u64)
}

impl Revision {
    /// Returns the next after something came late.
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }

    /// Returns the next after something was taken out.
    pub fn corrected(self) -> Revision {
        Revision(self.0 + (1 << 32))
    }

    /// Returns how often something was taken out: with less it is better than before.
    pub fn corrections(self) -> u64 {
        self.0 >> 32
    }

    /// Returns how often the window has been put out.
    pub fn count(self) -> u64 {
        self.corrections() + (self.0 & u64::from(u32::MAX))
    }
}
id! {
    /// Fencing token of whoever holds a lease; a higher one always wins. 0 where no lease is held.
    Epoch(u64)
}
id! {
    /// Number of an assignment of targets to secondaries; 0 before the first.
    Generation(u64)
}
