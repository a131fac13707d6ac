//! What only a global aggregator answers: the tree, the rows, the health of the fleet.

mod durations;
mod health;
mod rows;
pub(crate) mod status;

use std::error;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use firetower_daemon::Clock;
use firetower_model::NodeStatus;

use crate::blocking::blocking;
use crate::error::Error;
use crate::json;
use crate::params::Params;

pub use durations::{DurationsAsked, DurationsFound};
pub use health::{HealthAsked, HealthFound, ServiceInstance};
pub use rows::{CoverageFound, PointFound, RowFound, RowTier, RowsAsked, RowsFound};

/// Why rows could not be read.
pub type ReadError = Box<dyn error::Error + Send + Sync>;

/// Reads rows.
pub type ReadRows = dyn Fn(&RowsAsked) -> Result<RowsFound, ReadError> + Send + Sync;

/// Reads how long scrapes took.
pub type ReadDurations = dyn Fn(&DurationsAsked) -> Result<Vec<DurationsFound>, ReadError> + Send + Sync;

/// Reads the health of targets.
pub type ReadHealth = dyn Fn(&HealthAsked) -> HealthFound + Send + Sync;

/// What [`global`] answers from. The functions may block; they run on threads kept for that.
#[derive(Clone)]
pub struct GlobalAnswers {
    /// The time of day.
    pub clock: Clock,
    /// Returns the status of the global aggregator itself; its children are all primaries of the topology, heard of or
    /// not, and theirs the secondaries.
    pub status: Arc<dyn Fn() -> NodeStatus + Send + Sync>,
    /// Reads rows.
    pub rows: Arc<ReadRows>,
    /// Reads the health of targets.
    pub health: Arc<ReadHealth>,
    /// Reads how long scrapes took.
    pub durations: Arc<ReadDurations>,
    /// Where the topology's services are meant to run.
    pub services: Arc<Vec<ServiceInstance>>,
}

/// Returns `GET /api/v1/status`, `GET /api/v1/rows`, `GET /api/v1/durations` and `GET /health/summary`.
///
/// Moments are seconds since the unix epoch, with milliseconds; only `/health/summary` writes RFC 3339.
/// A parameter that an endpoint does not know is refused.
pub fn global(answers: GlobalAnswers) -> Router {
    Router::new()
        .route("/api/v1/status", get(get_status))
        .route("/api/v1/rows", get(get_rows))
        .route("/api/v1/durations", get(get_durations))
        .route("/health/summary", get(get_health))
        .with_state(answers)
}

async fn get_status(State(answers): State<GlobalAnswers>, params: Params) -> Result<Response, Error> {
    params.only(&[])?;
    blocking("read the status", move || {
        let mut tree = status::tree(&(answers.status)());
        tree["unhealthy"] = health::unhealthy(&*answers.health);
        Ok(json::success(tree))
    })
    .await
}

async fn get_rows(State(answers): State<GlobalAnswers>, params: Params) -> Result<Response, Error> {
    let asked = rows::read_params(&params, answers.clock.now())?;
    blocking("read rows", move || {
        let found = (answers.rows)(&asked).map_err(|source| Error::Unavailable { step: "read rows", source })?;
        rows::write(&asked, &found).map(json::text)
    })
    .await
}

async fn get_durations(State(answers): State<GlobalAnswers>, params: Params) -> Result<Response, Error> {
    let asked = durations::read_params(&params)?;
    blocking("read durations", move || {
        let found = (answers.durations)(&asked);
        let found = found.map_err(|source| Error::Unavailable { step: "read durations", source })?;
        Ok(json::success(durations::write(&found)))
    })
    .await
}

async fn get_health(State(answers): State<GlobalAnswers>, params: Params) -> Result<Response, Error> {
    let asked = health::read_params(&params)?;
    blocking("read the health of targets", move || {
        Ok(json::plain(&health::summary(&asked, &*answers.health, &answers.services)))
    })
    .await
}

#[cfg(test)]
mod tests;
