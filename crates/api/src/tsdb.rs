//! Who has how many series, in Prometheus's words.

use std::error;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use firetower_model::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::blocking::blocking;
use crate::error::Error;
use crate::json;
use crate::params::Params;

/// How many of each are shown unless `limit` says so, and at most.
const LIMIT: usize = 10;
const LIMIT_MAX: usize = 10_000;

/// Names and how many of something each has, the largest first.
pub type Counted = Vec<(String, u64)>;

/// What is in the store of a monitor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TsdbStatus {
    /// Series that may have samples.
    pub series: u64,
    /// Distinct labels.
    pub label_pairs: u64,
    /// The oldest moment with samples, and the newest; `None` for an empty store.
    pub range: Option<(Timestamp, Timestamp)>,
    /// Series by name of metric.
    pub series_by_metric: Counted,
    /// Values by name of label.
    pub values_by_label: Counted,
    /// Bytes of the values in the index by name of label.
    pub bytes_by_label: Counted,
    /// Series by label, as `name=value`.
    pub series_by_label: Counted,
}

/// Reads a [`TsdbStatus`] with so many of each; may block.
pub type ReadTsdb = Arc<dyn Fn(usize) -> Result<TsdbStatus, Box<dyn error::Error + Send + Sync>> + Send + Sync>;

/// Returns `GET /api/v1/status/tsdb`: Prometheus's, with `limit` (10). One is answered at a time.
///
/// Source: Prometheus `web/api/v1/api.go`, `serveTSDBStatus`.
pub fn tsdb(read: ReadTsdb) -> Router {
    let running = Arc::new(Mutex::new(()));
    let answer = move |params: Params| {
        let (read, running) = (Arc::clone(&read), Arc::clone(&running));
        async move {
            let limit = params.count("limit", LIMIT, LIMIT_MAX)?;
            let _alone = running.lock().await;
            let step = "count series";
            let status =
                blocking(step, move || read(limit).map_err(|source| Error::Unavailable { step, source })).await?;
            Ok::<Response, Error>(json::success(body(&status)))
        }
    };
    Router::new().route("/api/v1/status/tsdb", get(answer))
}

fn body(status: &TsdbStatus) -> Value {
    let list = |counted: &Counted| -> Value {
        counted.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let (least, greatest) = status.range.unwrap_or((Timestamp::from_millis(0), Timestamp::from_millis(0)));
    json!({
        "headStats": {
            "numSeries": status.series,
            "numLabelPairs": status.label_pairs,
            "chunkCount": 0,
            "minTime": least.as_millis(),
            "maxTime": greatest.as_millis(),
        },
        "seriesCountByMetricName": list(&status.series_by_metric),
        "labelValueCountByLabelName": list(&status.values_by_label),
        "memoryInBytesByLabelName": list(&status.bytes_by_label),
        "seriesCountByLabelValuePair": list(&status.series_by_label),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_prometheuss() {
        let status = TsdbStatus {
            series: 3,
            label_pairs: 2,
            series_by_metric: vec![("up".into(), 3)],
            series_by_label: vec![("job=node".into(), 3)],
            ..TsdbStatus::default()
        };
        let body = body(&status);
        assert_eq!(body["headStats"]["numSeries"], 3);
        assert_eq!(body["seriesCountByMetricName"], json!([{ "name": "up", "value": 3 }]));
        assert_eq!(body["seriesCountByLabelValuePair"], json!([{ "name": "job=node", "value": 3 }]));
        assert_eq!(body["memoryInBytesByLabelName"], json!([]));
    }
}
