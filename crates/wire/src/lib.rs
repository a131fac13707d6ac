//! Firetower's wire.
