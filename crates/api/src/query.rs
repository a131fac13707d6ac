//! Prometheus's instant query, for selectors.

mod answer;
mod selector;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use firetower_daemon::Clock;
use firetower_model::Select;
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use crate::error::Error;
use crate::json;
use crate::params::Params;
pub(crate) use selector::matchers;

use answer::{Chunk, Limits, Question};

/// How many queries are answered at a time; the others wait. Prometheus's `--query.max-concurrency`.
const CONCURRENT_MAX: usize = 20;

/// How many pieces of an answer may wait for a slow reader.
const CHUNKS_QUEUED_MAX: usize = 2;

struct Answers<S> {
    select: Arc<S>,
    clock: Clock,
    running: Arc<Semaphore>,
    limits: Limits,
}

impl<S> Clone for Answers<S> {
    fn clone(&self) -> Answers<S> {
        Answers {
            select: self.select.clone(),
            clock: self.clock.clone(),
            running: self.running.clone(),
            limits: self.limits,
        }
    }
}

/// Returns `GET` and `POST /api/v1/query`, and `GET /api/v1/status/buildinfo`.
///
/// `query` is a plain selector (`m{job="x"}`, with `offset` and `@`) or a range selector (`m{job="x"}[10m]`); anything
/// else is refused. An instant looks back 5 minutes, its left edge not inside, and a series that ended is left out. Up to
/// a million samples are answered in order of the labels; what is larger is streamed in the store's own order, and
/// if it fails midway the connection is cut, so that nobody takes a part for the whole.
pub fn query<S>(select: Arc<S>, clock: Clock) -> Router
where
    S: Select + Send + Sync + 'static,
{
    with_limits(select, clock, Limits::PROMETHEUS)
}

fn with_limits<S>(select: Arc<S>, clock: Clock, limits: Limits) -> Router
where
    S: Select + Send + Sync + 'static,
{
    let answers = Answers { select, clock, running: Arc::new(Semaphore::new(CONCURRENT_MAX)), limits };
    Router::new()
        .route("/api/v1/query", get(instant::<S>).post(instant::<S>).with_state(answers))
        .route("/api/v1/status/buildinfo", get(build_info))
}

async fn build_info() -> Response {
    json::success(json!({
        "application": "firetower",
        "version": env!("CARGO_PKG_VERSION"),
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

async fn instant<S>(State(answers): State<Answers<S>>, params: Params) -> Result<Response, Error>
where
    S: Select + Send + Sync + 'static,
{
    let text = params.get("query").ok_or(Error::Missing { name: "query" })?;
    let selector = selector::parse(text)?;
    let at = params.time("time")?.unwrap_or_else(|| answers.clock.now());
    let question = Question { selector, at, limits: answers.limits };
    let permit = answers.running.acquire_owned().await.ok();
    let (sender, mut chunks) = mpsc::channel(CHUNKS_QUEUED_MAX);
    tokio::task::spawn_blocking(move || {
        answer::write(&*answers.select, &question, &sender);
        drop(permit);
    });
    let first = match chunks.recv().await {
        Some(Chunk::Whole(text)) => return Ok(json::text(text)),
        Some(Chunk::Part(text)) => text,
        Some(Chunk::Failed(error)) => return Err(error),
        None => return Err(Error::Unavailable { step: "answer the query", source: "its thread ended".into() }),
    };
    let rest = stream::unfold(chunks, async |mut chunks| {
        let next = chunks.recv().await?;
        Some((piece(next), chunks))
    });
    let body = Body::from_stream(stream::once(async { Ok(Bytes::from(first)) }).chain(rest));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Returns what comes after the first piece of a body; an error cuts the connection.
fn piece(chunk: Chunk) -> Result<Bytes, Error> {
    match chunk {
        Chunk::Whole(text) | Chunk::Part(text) => Ok(Bytes::from(text)),
        Chunk::Failed(error) => {
            tracing::warn!(error = %firetower_daemon::chain(&error), "query failed midway, cutting its connection");
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests;
