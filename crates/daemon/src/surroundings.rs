//! What a role is put into.

use crate::clock::Clock;
use crate::names::Names;
use crate::net::Connector;
use crate::random::Random;
use crate::security::Security;

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
    /// Says who gets in.
    pub security: Security,
}

impl Surroundings {
    /// Returns the real ones, in which everybody gets in.
    pub fn system() -> Surroundings {
        Surroundings {
            clock: Clock::system(),
            random: Random::system(),
            connector: Connector::tcp(),
            names: Names::system(),
            security: Security::none(),
        }
    }

    /// Returns what opens connections to the parent `node`.
    pub fn connector_to(&self, node: &str) -> Connector {
        self.security.connector_to(&self.connector, node)
    }
}
