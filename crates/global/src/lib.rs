//! Firetower's global.
