//! Firetower's relay.
