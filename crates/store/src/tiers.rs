//! Spans of five minutes and of an hour, kept longer than the samples that they are made of.
//!
//! They are made when a bucket is settled, and lie beside its blocks: some metrics of at most 64 targets over one bucket.
//! A span that reaches over the edge of a bucket is kept in pieces, one in each, which a reader merges. Samples that
//! come after their bucket was settled are laid over its spans by the reader, and enter them before the bucket's
//! samples go.

mod block;
mod check;
mod decimal;
mod field;
mod make;
mod pieces;
mod retire;
mod scale;
mod select;
mod timing;
mod values;

use firetower_model::SpanTier;

pub(crate) use block::read_span_block;
pub(crate) use check::check_spans;
pub(crate) use make::{SpanWriters, spans_bytes};
pub use retire::{Cutoffs, Retire};

/// Returns the family that a tier is kept in.
pub(crate) const fn family(tier: SpanTier) -> &'static str {
    match tier {
        SpanTier::FiveMinutes => "spans_5m",
        SpanTier::Hour => "spans_1h",
    }
}

const fn step_ms(tier: SpanTier) -> i64 {
    tier.step().as_millis() as i64
}
