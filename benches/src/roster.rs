//! Which targets a fleet has while some are replaced.

use std::str::FromStr;
use std::time::Duration;

/// How often how many targets are replaced, written as `PERCENT/SECONDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Churn {
    /// Share of the targets, in percent.
    pub percent: usize,
    /// Time from one replacement to the next.
    pub every: Duration,
}

impl FromStr for Churn {
    type Err = String;

    fn from_str(text: &str) -> Result<Churn, String> {
        let parts =
            text.split_once('/').and_then(|(percent, seconds)| Some((percent.parse().ok()?, seconds.parse().ok()?)));
        match parts {
            Some((percent @ 1..=100, seconds @ 1..)) => Ok(Churn { percent, every: Duration::from_secs(seconds) }),
            _ => Err(format!("{text:?} is not PERCENT/SECONDS, like 10/600")),
        }
    }
}

/// The targets that there are now. A new one has a number, and so a name, that none had before.
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    targets: Vec<usize>,
    /// The place whose target is replaced next.
    place: usize,
    /// How many targets there ever were.
    ever: usize,
}

impl Roster {
    /// Returns targets `0..count`.
    pub(crate) fn new(count: usize) -> Roster {
        Roster { targets: (0..count).collect(), place: 0, ever: count }
    }

    /// Replaces those that have been there longest.
    pub(crate) fn replace(&mut self, percent: usize) {
        for _ in 0..(self.targets.len() * percent).div_ceil(100) {
            self.targets[self.place] = self.ever;
            self.ever += 1;
            self.place = (self.place + 1) % self.targets.len();
        }
    }

    pub(crate) fn targets(&self) -> &[usize] {
        &self.targets
    }

    pub(crate) fn has(&self, target: usize) -> bool {
        let count = self.targets.len();
        count > 0 && self.targets[target % count] == target
    }

    /// Returns how many targets there ever were: every number is below.
    pub(crate) fn ever(&self) -> usize {
        self.ever
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_targets_are_replaced_by_new_ones() {
        let mut roster = Roster::new(5);
        roster.replace(40);
        assert_eq!(roster.targets(), [5, 6, 2, 3, 4]);
        roster.replace(80);
        assert_eq!(roster.targets(), [10, 6, 7, 8, 9]);
        assert!(roster.has(6) && roster.has(10) && !roster.has(5) && !roster.has(11));
        assert_eq!(roster.ever(), 11);
        assert!(!Roster::new(0).has(0));
    }

    #[test]
    fn churn_is_read_or_refused() {
        let check = |text: &str, expected: Option<(usize, u64)>| {
            let churn = text.parse::<Churn>().ok();
            assert_eq!(churn.map(|churn| (churn.percent, churn.every.as_secs())), expected, "{text}");
        };
        check("10/600", Some((10, 600)));
        check("101/600", None);
        check("0/600", None);
        check("10/0", None);
        check("10", None);
    }
}
