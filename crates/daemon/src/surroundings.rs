//! What a role is put into.

use crate::clock::Clock;
use crate::names::Names;
use crate::net::Connector;
use crate::random::Random;

/// What a role is put into: everything that a simulation replaces, listeners aside.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Tells the time.
    pub clock: Clock,
    /// Draws numbers.
    pub random: Random,
    /// Opens connections.
    pub connector: Connector,
    /// Looks names up for discovery.
    pub names: Names,
}

impl Surroundings {
    /// Returns the real ones.
    pub fn system() -> Surroundings {
        Surroundings {
            clock: Clock::system(),
            random: Random::system(),
            connector: Connector::tcp(),
            names: Names::system(),
        }
    }
}
