//! Firetower's agent.
