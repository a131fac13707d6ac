//! Firetower's scrape.
