//! `GET /api/v1/targets`: what a monitor scrapes, in Prometheus's words.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use firetower_model::{Target, Timestamp};
use firetower_topology::format_duration;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::json::{self, rfc3339};
use crate::params::Params;

/// A target, and what its last scrape found.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetFound {
    /// What is scraped.
    pub target: Target,
    /// The last scrape; `None` before the first.
    pub last: Option<LastScrape>,
}

/// How a scrape went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastScrape {
    /// When.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Asks for all targets.
pub type AskTargets = mpsc::Sender<oneshot::Sender<Vec<TargetFound>>>;

/// Returns `GET /api/v1/targets`, with `state` and `scrapePool`. Targets that relabelling drops are not kept: none are listed.
///
/// Source: Prometheus `web/api/v1/api.go`, `targets`.
pub fn targets(ask: AskTargets) -> Router {
    Router::new().route("/api/v1/targets", get(answer)).with_state(ask)
}

async fn answer(State(ask): State<AskTargets>, params: Params) -> Result<Response, Error> {
    let gone = || Error::Unavailable { step: "list targets", source: "the monitor is stopping".into() };
    let state = params.get("state").unwrap_or("any").to_lowercase();
    let pool = params.get("scrapePool");
    let mut active = Vec::new();
    if state != "dropped" {
        let (sender, found) = oneshot::channel();
        ask.send(sender).await.map_err(|_| gone())?;
        let mut found = found.await.map_err(|_| gone())?;
        found.retain(|found| pool.is_none_or(|pool| pool == found.target.job_name));
        found.sort_by(|a, b| a.target.cmp(&b.target));
        active = found.iter().map(describe).collect();
    }
    let data = json!({ "activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {} });
    Ok(json::success(data))
}

fn describe(found: &TargetFound) -> Value {
    let TargetFound { target, last } = found;
    let labels: Map<String, Value> = target.labels.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let failure = last.as_ref().and_then(|last| last.failure.as_deref());
    let health = match (last, failure) {
        (None, _) => "unknown",
        (Some(_), None) => "up",
        (Some(_), Some(_)) => "down",
    };
    // Prometheus has the zero of Go's time before the first scrape.
    let at = last.as_ref().map_or(json!("0001-01-01T00:00:00Z"), |last| rfc3339(last.at));
    json!({
        "discoveredLabels": {},
        "labels": labels,
        "scrapePool": target.job_name,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": failure.unwrap_or_default(),
        "lastScrape": at,
        "lastScrapeDuration": last.as_ref().map_or(0.0, |last| last.took.as_secs_f64()),
        "health": health,
        "scrapeInterval": format_duration(target.interval),
        "scrapeTimeout": format_duration(target.timeout),
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use firetower_model::Labels;
    use tower::ServiceExt;

    use super::*;

    fn found(job: &str, last: Option<LastScrape>) -> TargetFound {
        let labels = Labels::new([("job", job), ("instance", "h:1")]);
        let (interval, timeout) = (Duration::from_secs(90), Duration::from_millis(1_500));
        let target = Target { job_name: job.into(), labels, url: "http://h:1/metrics".into(), interval, timeout };
        TargetFound { target, last }
    }

    #[tokio::test]
    async fn targets_are_listed_as_prometheus_does() {
        let last = |failure: Option<&str>| LastScrape {
            at: Timestamp::from_millis(1_000),
            took: Duration::from_millis(250),
            failure: failure.map(str::to_owned),
        };
        let all = vec![found("c", None), found("b", Some(last(Some("refused")))), found("a", Some(last(None)))];
        let (ask, mut asked) = mpsc::channel::<oneshot::Sender<Vec<TargetFound>>>(1);
        let answering = tokio::spawn(async move {
            while let Some(sender) = asked.recv().await {
                sender.send(all.clone()).unwrap();
            }
        });
        let router = targets(ask);
        let get = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            let body = router.clone().oneshot(request).await.unwrap().into_body();
            let body: Value = serde_json::from_slice(&to_bytes(body, 1 << 20).await.unwrap()).unwrap();
            body["data"]["activeTargets"].as_array().unwrap().clone()
        };
        let all = get("/api/v1/targets").await;
        let of = |key: &str| all.iter().map(|target| target[key].clone()).collect::<Vec<_>>();
        assert_eq!(of("scrapePool"), ["a", "b", "c"]);
        assert_eq!(of("health"), ["up", "down", "unknown"]);
        assert_eq!(of("lastError"), ["", "refused", ""]);
        assert_eq!(of("lastScrape"), ["1970-01-01T00:00:01Z", "1970-01-01T00:00:01Z", "0001-01-01T00:00:00Z"]);
        assert_eq!((&all[0]["scrapeInterval"], &all[0]["scrapeTimeout"]), (&json!("1m30s"), &json!("1s500ms")));
        assert_eq!(all[1]["lastScrapeDuration"], 0.25);
        assert_eq!(all[2]["labels"], json!({ "job": "c", "instance": "h:1" }));
        assert_eq!(get("/api/v1/targets?scrapePool=b").await.len(), 1);
        assert_eq!(get("/api/v1/targets?state=dropped").await.len(), 0);
        assert_eq!(get("/api/v1/targets?state=active").await.len(), 3);
        drop(router);
        answering.abort();
    }
}
