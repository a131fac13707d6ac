//! Firetower's secondary.
