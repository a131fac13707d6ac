//! What is asked about series, put together.

use std::sync::Arc;

use axum::Router;
use firetower_daemon::Clock;
use firetower_query::{Lister, Source};
use firetower_topology::QueryLimits;

use crate::federate::federate;
use crate::lists::lists;
use crate::query::query;

/// Returns queries within `limits`, lists and `/federate`, answered from `source` and `lister`.
pub fn series<S: Source + Clone>(source: S, lister: Arc<dyn Lister>, clock: Clock, limits: QueryLimits) -> Router {
    query(source.clone(), clock.clone(), limits).merge(federate(source, clock)).merge(lists(lister))
}
