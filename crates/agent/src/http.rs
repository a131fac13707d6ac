//! The agent's pages.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;

use crate::page::CONTENT_TYPE;
use crate::readings::Readings;

/// Returns the agent's pages: `/metrics`, `/status`, `/-/healthy` and `/-/ready`.
///
/// The share of CPU time in use is known on `/status` while something drives [`Readings::watch_cpu`].
pub fn router(readings: Readings) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(async || "ready\n"))
        .with_state(readings)
}

async fn metrics(State(readings): State<Readings>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], readings.page().await).into_response()
}

async fn status(State(readings): State<Readings>) -> Response {
    match readings.status().await {
        Ok(status) => Json(status).into_response(),
        Err(error) => {
            let body = serde_json::json!({"status": "error", "errorType": "unavailable", "error": error.to_string()});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}
