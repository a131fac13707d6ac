//! Foretelling a series' next number from those before.
//!
//! Source: Holt, "Forecasting trends and seasonals by exponentially weighted moving averages" (1957), in whole numbers.

/// Shares of the surprise by which level and trend follow, as shifts right; [`NEVER`] for a trend that stays zero.
const WEIGHTS: [(u32, u32); PREDICTORS as usize] = [
    (0, NEVER),
    (0, 0),
    (0, 2),
    (0, 4),
    (0, 6),
    (1, NEVER),
    (2, NEVER),
    (4, NEVER),
    (6, NEVER),
    (1, 4),
    (2, 6),
    (4, 9),
];
/// How many ways to foretell there are.
pub(crate) const PREDICTORS: u8 = 12;
const NEVER: u32 = 64;
/// Level and trend are kept in this many bits below one.
const FRACTION: u32 = 9;

/// A level and a trend. Arithmetic wraps: what is foretold may be nonsense, but is the same for writer and reader.
#[derive(Clone, Copy)]
pub(crate) struct Predictor {
    level: i64,
    trend: i64,
    level_shift: u32,
    trend_shift: u32,
}

impl Predictor {
    /// Starts the predictor of this number, under [`PREDICTORS`], after a zero. `None` if there is no such.
    pub(crate) fn new(number: u8) -> Option<Predictor> {
        let (level_shift, trend_shift) = *WEIGHTS.get(usize::from(number))?;
        Some(Predictor { level: 0, trend: 0, level_shift, trend_shift })
    }

    /// Returns what comes next.
    #[inline]
    pub(crate) fn next(&self) -> i64 {
        (self.level.wrapping_add(self.trend)).wrapping_add(1 << (FRACTION - 1)) >> FRACTION
    }

    /// Takes what came.
    #[inline]
    pub(crate) fn learn(&mut self, number: i64) {
        let foretold = self.level.wrapping_add(self.trend);
        let surprise = (number << FRACTION).wrapping_sub(foretold);
        self.level = foretold.wrapping_add(surprise >> self.level_shift);
        if self.trend_shift != NEVER {
            self.trend = self.trend.wrapping_add(surprise >> self.trend_shift);
        }
    }
}
