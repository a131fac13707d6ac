//! Whether a target is up: a verdict from its checks.
//!
//! Pure rules: the caller says what a check found and when. Nothing here scrapes, waits or reports.
//!
//! ```
//! use std::time::Duration;
//! use firetower_health::{Check, Record};
//! use firetower_model::{State, Timestamp};
//!
//! let failed = |at| Check { at: Timestamp::from_millis(at), took: Duration::from_millis(3), failure: Some("refused".into()) };
//! let record = Record::UNCHECKED.step(failed(0)).step(failed(5_000));
//! assert_eq!((record.state, record.consecutive_failures), (State::Offline, 2));
//! ```

use std::time::Duration;

use firetower_model::{State, Timestamp};

/// How many failed checks in a row make a target offline.
pub const MISSES_UNTIL_OFFLINE: u32 = 2;

/// What one check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// When it was due.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, in words; `None` if it did not.
    pub failure: Option<String>,
}

/// What is known of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The verdict.
    pub state: State,
    /// Failed checks in a row.
    pub consecutive_failures: u32,
    /// The last check; `None` before the first.
    pub last: Option<Check>,
}

impl Record {
    /// A target that was not checked yet.
    pub const UNCHECKED: Record = Record { state: State::Unknown, consecutive_failures: 0, last: None };

    /// Returns what is known after one more check.
    #[must_use]
    pub fn step(self, check: Check) -> Record {
        let consecutive_failures =
            if check.failure.is_some() { self.consecutive_failures.saturating_add(1) } else { 0 };
        let state = match consecutive_failures {
            0 => State::Online,
            misses if misses < MISSES_UNTIL_OFFLINE => State::Degraded,
            _ => State::Offline,
        };
        Record { state, consecutive_failures, last: Some(check) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_misses_in_a_row_are_offline_and_one_success_is_online() {
        let check = |outcomes: &str, expected: State| {
            let mut record = Record::UNCHECKED;
            for (at, outcome) in outcomes.chars().enumerate() {
                let failure = (outcome == 'x').then(|| "timeout".to_owned());
                record = record.step(Check { at: Timestamp::from_millis(at as i64), took: Duration::ZERO, failure });
            }
            assert_eq!(record.state, expected, "after {outcomes:?}");
        };
        check("", State::Unknown);
        check(".", State::Online);
        check("x", State::Degraded);
        check("xx", State::Offline);
        check("xxx", State::Offline);
        check("xx.", State::Online);
        check("x.x", State::Degraded);
    }
}
