//! Firetower's topology.
