//! Firetower's health.
