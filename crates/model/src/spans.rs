//! Asking for series as spans.

use std::time::Duration;

use crate::labels::Labels;
use crate::select::Matcher;
use crate::span::Span;
use crate::time::{TimeRange, Timestamp};

/// How long the spans of a tier are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanTier {
    /// Five minutes: `5m`.
    FiveMinutes,
    /// An hour: `1h`.
    Hour,
}

impl SpanTier {
    /// Every tier, the finest first.
    pub const ALL: [SpanTier; 2] = [SpanTier::FiveMinutes, SpanTier::Hour];

    /// Returns how long its spans are.
    pub const fn step(self) -> Duration {
        match self {
            SpanTier::FiveMinutes => Duration::from_secs(300),
            SpanTier::Hour => Duration::from_secs(3_600),
        }
    }

    /// Returns what it is called in requests, metrics and the topology.
    pub const fn name(self) -> &'static str {
        match self {
            SpanTier::FiveMinutes => "5m",
            SpanTier::Hour => "1h",
        }
    }
}

/// One series as spans.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanSeries {
    /// Final labels, `__name__` included.
    pub labels: Labels,
    /// When each step begins, and what is in it; in time order, steps without samples left out.
    pub spans: Vec<(Timestamp, Span)>,
}

/// Something that holds series as spans.
pub trait SelectSpans {
    /// Why it could not answer.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the series that all `matchers` let through, as spans of `tier`: of each step that `range` touches, whole.
    ///
    /// Batches come in no order, each final label set once over all of them; series without a span are left out.
    fn select_spans(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        tier: SpanTier,
    ) -> Result<impl Iterator<Item = Result<Vec<SpanSeries>, Self::Error>>, Self::Error>;

    /// Returns how often something was left out of an answer because it could not be read.
    fn left_out(&self) -> u64 {
        0
    }
}
