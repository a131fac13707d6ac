//! Which labels rows do not keep, and why.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use firetower_model::{DroppedLabel, KeptReport};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::json;

/// Returns `GET /api/v1/kept`: each dropped label with how many values it had and from when on, and the rows by job.
///
/// A label without `from` is proposed, and no primary has decided about it yet.
pub fn kept(report: watch::Receiver<KeptReport>) -> Router {
    Router::new().route("/api/v1/kept", get(answer).with_state(report))
}

async fn answer(State(report): State<watch::Receiver<KeptReport>>) -> Response {
    let report = report.borrow().clone();
    let version = report.labels.newest_version();
    json::success(json!({
        "version": { "dropped": version.dropped, "fingerprint": format!("{:016x}", version.fingerprint) },
        "budget": { "kept_label_values": report.budget.label_values_max, "per_job": report.budget.job_rows_max },
        "dropped": report.labels.iter().map(dropped).collect::<Vec<_>>(),
        "rows": report.rows_by_job,
        "overflow_rows": report.overflow_rows,
        "projected_rows": report.projected_rows,
    }))
}

fn dropped(dropped: DroppedLabel) -> Value {
    json!({
        "name": dropped.name,
        "job": dropped.job,
        "label": dropped.label,
        "values": dropped.values,
        "from": json::seconds(dropped.from),
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use firetower_model::{Budget, Timestamp};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_dropped_label_is_named_with_its_reason() {
        let budget = Budget { label_values_max: 100, job_rows_max: 20_000, promoted: Vec::new() };
        let mut report = KeptReport::new(budget);
        report.labels.propose("m", "node", "pod", 101);
        report.labels.decide(Timestamp::from_millis(15_500));
        report.labels.propose("m", "node", "id", 120);
        report.rows_by_job.insert("node".into(), 7);
        let router = kept(watch::Sender::new(report).subscribe());
        let request = Request::builder().uri("/api/v1/kept").body(Body::empty()).unwrap();
        let body = router.oneshot(request).await.unwrap().into_body();
        let answer: Value = serde_json::from_slice(&to_bytes(body, 1 << 20).await.unwrap()).unwrap();
        let (data, label) = (
            &answer["data"],
            |label, values, from| json!({"name": "m", "job": "node", "label": label, "values": values, "from": from}),
        );
        assert_eq!(data["dropped"], json!([label("id", 120, json!(null)), label("pod", 101, json!(15.5))]));
        assert_eq!((&data["version"]["dropped"], &data["rows"]["node"]), (&json!(1), &json!(7)));
    }
}
