//! Firetower's primary.
