//! How long a child is silent while it answers.

use std::time::Duration;

/// How finely lengths of silence are told apart.
const STEP: Duration = Duration::from_millis(50);
/// Longer ones are not counted: then it hung.
const STEPS: usize = 100;
/// When so many are counted, older ones lose half of their weight.
const COUNTED_MAX: u32 = 1_024;
/// How long a child may be silent at least and at most.
const LIMIT_LEAST: Duration = Duration::from_millis(250);
const LIMIT_MOST: Duration = Duration::from_secs(5);

/// How often a child was silent for how long, between two signs of life on one answer.
pub(super) struct Gaps {
    counts: [u32; STEPS],
}

impl Default for Gaps {
    fn default() -> Gaps {
        Gaps { counts: [0; STEPS] }
    }
}

impl Gaps {
    pub(super) fn note(&mut self, gap: Duration) {
        let at = gap.div_duration_f64(STEP) as usize;
        let Some(count) = self.counts.get_mut(at) else { return };
        *count += 1;
        if self.counts.iter().sum::<u32>() >= COUNTED_MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// Returns after how long a silence the child counts as hung: twice the 99th percentile of them, within bounds.
    pub(super) fn limit(&self) -> Duration {
        let most = self.counts.iter().sum::<u32>() / 100;
        let mut longer = 0;
        let p99 = self.counts.iter().rposition(|count| {
            longer += count;
            longer > most
        });
        let p99 = STEP * p99.map_or(0, |at| at as u32 + 1);
        (p99 * 2).clamp(LIMIT_LEAST, LIMIT_MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_twice_what_all_but_one_in_a_hundred_keep_to() {
        let check = |gaps: &[(u64, u32)], expected_ms: u64| {
            let mut known = Gaps::default();
            for (millis, times) in gaps {
                (0..*times).for_each(|_| known.note(Duration::from_millis(*millis)));
            }
            assert_eq!(known.limit(), Duration::from_millis(expected_ms), "{gaps:?}");
        };
        check(&[], 250);
        check(&[(10, 500)], 250);
        check(&[(310, 1)], 700);
        check(&[(10, 10), (310, 10)], 700);
        check(&[(10, 999), (310, 1)], 250);
        check(&[(10, 950), (310, 50)], 700);
        check(&[(4_900, 50)], 5_000);
        check(&[(5_000, 50), (60_000, 50)], 250);
        check(&[(310, 1_000), (10, 20_000)], 250);
    }
}
