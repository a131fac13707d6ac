//! `GET /api/v1/durations`: how long scrapes took, by job, merged over datacenters.

use serde_json::{Value, json};

use crate::error::Error;
use crate::json::seconds;
use crate::params::Params;
use firetower_model::Timestamp;

/// Which scrapes are asked for; `None` is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationsAsked {
    /// Those of this datacenter.
    pub datacenter: Option<String>,
    /// Those of this job.
    pub job: Option<String>,
}

/// How long the scrapes of one job took in the last window of each datacenter asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationsFound {
    /// Value of the `job` label.
    pub job: String,
    /// Start of the oldest of these windows.
    pub start: Timestamp,
    /// How many datacenters they are of.
    pub datacenters: usize,
    /// How many scrapes.
    pub scrapes: u64,
    /// 50th, 90th and 99th percentile and the longest, in seconds, each within 1 %.
    pub seconds: [f64; 4],
}

pub(super) fn read_params(params: &Params) -> Result<DurationsAsked, Error> {
    params.only(&["datacenter", "job"])?;
    let text = |name: &str| params.get(name).map(str::to_owned);
    Ok(DurationsAsked { datacenter: text("datacenter"), job: text("job") })
}

pub(super) fn write(found: &[DurationsFound]) -> Value {
    let one = |found: &DurationsFound| {
        let [p50, p90, p99, max] = found.seconds;
        json!({
            "job": found.job,
            "start": seconds(found.start),
            "datacenters": found.datacenters,
            "scrapes": found.scrapes,
            "p50": p50,
            "p90": p90,
            "p99": p99,
            "max": max,
        })
    };
    json!(found.iter().map(one).collect::<Vec<Value>>())
}
