//! `GET /api/v1/status` of a monitor that is not at the top: itself and its children.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use firetower_model::NodeStatus;
use tokio::sync::watch;

use crate::error::Error;
use crate::global::status;
use crate::json;
use crate::params::Params;

/// Returns `GET /api/v1/status`: what `status` holds.
pub fn monitor(status: watch::Receiver<NodeStatus>) -> Router {
    Router::new().route("/api/v1/status", get(get_status)).with_state(status)
}

async fn get_status(State(status): State<watch::Receiver<NodeStatus>>, params: Params) -> Result<Response, Error> {
    params.only(&[])?;
    Ok(json::success(status::monitor(&status.borrow())))
}
