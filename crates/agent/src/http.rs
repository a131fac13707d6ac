//! The agent's pages.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;

use firetower_daemon::Security;

use crate::page::{CONTENT_TYPE, Kind, Page};
use crate::readings::Readings;

/// Returns the agent's pages: `/metrics`, `/status`, `/-/healthy` and `/-/ready`.
///
/// The share of CPU time in use is known on `/status` while something drives [`Readings::watch_cpu`]. Whom `security` has
/// refused is on `/metrics`.
pub fn router(readings: Readings, security: Security) -> Router {
    Router::new()
        .route("/metrics", get(metrics).with_state((readings.clone(), security)))
        .route("/status", get(status))
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(async || "ready\n"))
        .with_state(readings)
}

async fn metrics(State((readings, security)): State<(Readings, Security)>) -> Response {
    let text = readings.page().await + &security_page(&security);
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

/// Writes who was refused, and how long the agent's certificate lasts.
fn security_page(security: &Security) -> String {
    let mut page = Page::default();
    for family in security.families() {
        let (ending, kind) = if family.is_counter { ("_total", Kind::Counter) } else { ("", Kind::Gauge) };
        let name = format!("{}{ending}", family.name);
        let mut lines = page.family(&name, kind, family.help);
        family.lines.iter().for_each(|line| lines.line(&line.labels, line.value));
    }
    page.into_text()
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
