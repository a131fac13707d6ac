//! Asking those below: what goes down the tree, and what comes back up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::labels::Labels;
use crate::sample::{Kind, Sample};
use crate::select::{Matcher, Series};
use crate::time::{TimeRange, Timestamp};

/// Evenly spaced moments, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// The first.
    pub start: Timestamp,
    /// How far apart they are; zero where there is one.
    pub step: Duration,
    /// How many there are.
    pub count: u32,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// The value of an expression that each holder of series can evaluate by itself.
    Evaluate {
        /// PromQL.
        text: String,
        /// The moments of the whole query, of which `start()` and `end()` speak.
        whole: Moments,
        /// The moments at which it is evaluated.
        moments: Moments,
        /// How far a selector looks back for a sample.
        look_back: Duration,
    },
    /// Series that all matchers let through, with their samples in a range.
    Samples {
        /// All of them must let a series through.
        matchers: Vec<Matcher>,
        /// When.
        range: TimeRange,
    },
    /// The labels of series that any of the lists of matchers lets through; of all if there are none.
    Labels {
        /// What of them.
        what: Listing,
        /// Lists of matchers.
        selected: Vec<Vec<Matcher>>,
        /// When they were there.
        range: TimeRange,
    },
    /// Which kind each metric is of.
    Kinds,
}

/// What is listed of series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Their whole label sets.
    Series,
    /// The names of their labels.
    Names,
    /// The values of one label.
    Values(String),
}

/// A question to one child.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    /// What is asked.
    pub ask: Ask,
    /// Targets that others have samples of too in the time that is asked about, by [`Labels::identity`]: their series come as
    /// [`Piece::Loose`].
    pub moved: Vec<u64>,
    /// How long the asker waits.
    pub within: Duration,
}

/// Labels, and numbers that belong to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Whose.
    pub labels: Labels,
    /// One number a moment, or several; the staleness marker where there is nothing.
    pub values: Vec<f64>,
}

/// A part of what comes back.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Series with a value at each moment.
    Curves(Vec<Column>),
    /// Groups of an aggregation, with what is known of each at each moment: as many numbers as the aggregation needs.
    Groups(Vec<Column>),
    /// Series with their samples.
    Samples(Vec<Series>),
    /// What is here of the series of targets that moved: to be joined with what others have of them.
    Loose(Vec<Series>),
    /// Label sets.
    LabelSets(Vec<Labels>),
    /// Names or values of labels.
    Texts(Vec<String>),
    /// Metrics and their kinds.
    Kinds(Vec<(String, Kind)>),
    /// Targets of which there are samples here in the time that is asked about, and that are another's by now: if
    /// [`Inquiry::moved`] lacks one, everybody has to be asked again. Comes first and at once, also if there are none.
    Moved(Vec<u64>),
}

/// A node whose series are not in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub node: String,
    /// How many targets it has; `None` if nobody knows.
    pub targets: Option<u64>,
    /// Why, for people.
    pub reason: String,
}

/// Of how many targets an answer could have series, and of how many it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Targets of all that were to be asked, as far as is known.
    pub expected: u64,
    /// Targets of those that answered.
    pub answered: u64,
    /// Those that did not.
    pub missing: Vec<Missing>,
}

/// What is said at the end of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Whose answer it is.
    pub answered: Answered,
    /// Why it may be wrong.
    pub warnings: Vec<String>,
    /// Why it may not be what was meant.
    pub infos: Vec<String>,
    /// How many series and samples were read.
    pub series: u64,
    /// See `series`.
    pub samples: u64,
}

impl Answered {
    /// Adds what a child says of those below it.
    pub fn add(&mut self, below: Answered) {
        self.expected += below.expected;
        self.answered += below.answered;
        self.missing.extend(below.missing);
    }

    /// Adds a node that is missing.
    pub fn miss(&mut self, missing: Missing) {
        self.expected += missing.targets.unwrap_or(0);
        self.missing.push(missing);
    }
}

/// Why there is no answer, or no more of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The question cannot be answered by anybody, or needs too much.
    #[error("{reason}")]
    Execution {
        /// Why, for people.
        reason: String,
    },
    /// The one that was asked has no answer now.
    #[error("{reason}")]
    Unavailable {
        /// Why, for people.
        reason: String,
    },
    /// Nobody waits for the answer any more.
    #[error("nobody waits for the answer")]
    Gone,
}

/// How many samples go into one piece.
const PIECE_SAMPLES: usize = 8 << 10;

/// Cuts series into lots of a bounded size, one for each piece; a series of very many samples is a lot of its own.
pub fn in_lots(found: Vec<Series>) -> Vec<Vec<Series>> {
    let mut lots = vec![Vec::new()];
    let mut samples = 0;
    for series in found {
        if samples >= PIECE_SAMPLES {
            lots.push(Vec::new());
            samples = 0;
        }
        samples += series.samples.len();
        lots.last_mut().expect("there is one at least").push(series);
    }
    lots.retain(|lot| !lot.is_empty());
    lots
}

/// What several have of the same series.
#[derive(Clone, Debug, Default)]
pub struct Loose(BTreeMap<Labels, Vec<Sample>>);

impl Loose {
    /// Adds what one has.
    pub fn add(&mut self, found: Vec<Series>) {
        found.into_iter().for_each(|series| self.0.entry(series.labels).or_default().extend(series.samples));
    }

    /// Returns each series with all its samples in time order; of two at one moment the lesser value stays, whoever was heard
    /// first.
    pub fn joined(self) -> Vec<Series> {
        let join = |(labels, mut samples): (Labels, Vec<Sample>)| {
            samples.sort_by(|a, b| a.at.cmp(&b.at).then(a.value.total_cmp(&b.value)));
            samples.dedup_by_key(|sample| sample.at);
            Series { labels, samples }
        };
        self.0.into_iter().map(join).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, times: &[i64]) -> Series {
        let samples = times.iter().map(|at| Sample { at: Timestamp::from_millis(*at), value: *at as f64 }).collect();
        Series { labels: Labels::new([("__name__", name)]), samples }
    }

    #[test]
    fn what_several_have_is_joined_in_time_order() {
        let mut loose = Loose::default();
        loose.add(vec![series("a", &[3, 4]), series("b", &[1])]);
        loose.add(vec![series("a", &[1, 3])]);
        assert_eq!(loose.joined(), [series("a", &[1, 3, 4]), series("b", &[1])]);
    }

    #[test]
    fn lots_are_bounded_and_have_everything_once() {
        let times: Vec<i64> = (0..5_000).collect();
        let found: Vec<Series> = (0..5).map(|at| series(&at.to_string(), &times)).collect();
        let lots = in_lots(found.clone());
        assert_eq!(lots.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(lots.concat(), found);
        assert!(in_lots(Vec::new()).is_empty());
    }
}
