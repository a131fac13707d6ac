//! Firetower's api.
