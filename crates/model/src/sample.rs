//! One value at one moment, and the marker that ends a series.

use crate::time::Timestamp;

/// The bits of the NaN that says "this series has ended here".
///
/// Source: Prometheus `model/value/value.go`, `StaleNaN`.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker.
pub const STALE: f64 = f64::from_bits(STALE_BITS);

/// Tells whether `value` is the staleness marker; an ordinary NaN is not.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// One value of a series at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// What; may be any bit pattern, staleness markers included.
    pub value: f64,
}

impl PartialEq for Sample {
    /// Compares values by their bits, so that NaN equals itself.
    fn eq(&self, other: &Sample) -> bool {
        self.at == other.at && self.value.to_bits() == other.value.to_bits()
    }
}

/// What a metric's values are, as its page's `# TYPE` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Kind {
    /// Nobody said.
    #[default]
    Unknown = 0,
    /// Only grows, and starts again from zero.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
    /// Buckets, count and sum of a classic histogram: counters all.
    Histogram = 3,
    /// Quantiles (gauges), count and sum (counters) of a summary.
    Summary = 4,
}

impl Kind {
    /// Reads back `kind as u8`.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Unknown, Kind::Counter, Kind::Gauge, Kind::Histogram, Kind::Summary]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }

    /// Tells whether a series called `name` of this kind only grows, so that its increase has a meaning.
    pub fn is_cumulative(self, name: &str) -> bool {
        match self {
            Kind::Counter | Kind::Histogram => true,
            Kind::Summary => name.ends_with("_count") || name.ends_with("_sum"),
            Kind::Unknown | Kind::Gauge => false,
        }
    }
}

/// Returns by how much a counter grew from `previous` to `value`: a value below its predecessor began again at zero.
///
/// Source: Prometheus `promql/functions.go`, `extrapolatedRate`.
pub fn step_increase(previous: f64, value: f64) -> f64 {
    if value < previous { value } else { value - previous }
}
