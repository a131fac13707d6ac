//! From a request's parameters to what is asked.

use std::time::Duration;

use firetower_model::Timestamp;
use firetower_promql::{Query, Question, Steps};
use tokio::time::Instant;

use crate::error::Error;
use crate::params::Params;

/// How far a selector looks back for a sample. Prometheus's `--query.lookback-delta`.
pub(super) const LOOK_BACK: Duration = Duration::from_secs(5 * 60);

/// How many points a series of a range query may have. Prometheus's own limit.
const POINTS_MAX: usize = 11_000;

/// A query, when it is asked, and how.
#[derive(Debug)]
pub(super) struct Asked {
    pub query: Query,
    pub question: Question,
    /// Whether it is a range query, which is answered with a matrix.
    pub is_range: bool,
    pub asked_at: Instant,
    pub timeout: Duration,
    /// How many series are answered; the rest is left out with a warning.
    pub series_max: Option<usize>,
    pub wants_stats: bool,
}

impl Asked {
    /// Reads the parameters of an instant query.
    pub(super) fn instant(params: &Params, now: Timestamp, timeout: Duration) -> Result<Asked, Error> {
        let query = Query::parse(params.get("query").ok_or(Error::Missing { name: "query" })?)?;
        Asked::with_options(params, query, Steps::instant(params.time("time")?.unwrap_or(now)), false, timeout)
    }

    /// Reads the parameters of a range query.
    pub(super) fn range(params: &Params, timeout: Duration) -> Result<Asked, Error> {
        let query = Query::parse(params.get("query").ok_or(Error::Missing { name: "query" })?)?;
        let start = params.time("start")?.ok_or(Error::Missing { name: "start" })?;
        let end = params.time("end")?.ok_or(Error::Missing { name: "end" })?;
        let step = params.duration("step")?.ok_or(Error::Missing { name: "step" })?;
        let refused = |name, expected| {
            Err(Error::Parameter { name, value: params.get(name).unwrap_or_default().into(), expected })
        };
        if end < start {
            return refused("end", "at or after the start");
        }
        let steps = Steps::range(start, end, step);
        if steps.count() > POINTS_MAX {
            return refused("step", "long enough: more than 11,000 points a series are not answered");
        }
        query.check_range()?;
        Asked::with_options(params, query, steps, true, timeout)
    }

    fn with_options(
        params: &Params,
        query: Query,
        steps: Steps,
        is_range: bool,
        most: Duration,
    ) -> Result<Asked, Error> {
        let look_back = params.duration("lookback_delta")?.unwrap_or(LOOK_BACK);
        Ok(Asked {
            query,
            question: Question { steps, look_back },
            is_range,
            asked_at: Instant::now(),
            timeout: params.duration("timeout")?.map_or(most, |timeout| timeout.min(most)),
            // 0 says that there is no limit.
            series_max: Some(params.count("limit", 0, usize::MAX)?).filter(|most| *most > 0),
            wants_stats: params.get("stats").is_some(),
        })
    }

    /// Tells whether the answer is what is selected, as it lies in the store.
    pub(super) fn is_selection(&self) -> bool {
        let is_plain = !self.is_range && self.series_max.is_none() && !self.wants_stats;
        is_plain && self.query.as_selection().is_some()
    }

    /// Returns when the time for it is over.
    pub(super) fn deadline(&self) -> Instant {
        self.asked_at + self.timeout
    }

    /// Fails once the time is over.
    pub(super) fn in_time(&self) -> Result<(), Error> {
        if Instant::now() < self.deadline() { Ok(()) } else { Err(Error::Timeout { after: self.timeout }) }
    }
}
