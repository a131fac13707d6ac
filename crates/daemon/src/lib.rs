//! Firetower's daemon.
