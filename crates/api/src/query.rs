//! Prometheus's queries, at one moment and over a range.

mod answer;
mod asked;
mod evaluated;
mod selector;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use firetower_daemon::{Clock, aside};
use firetower_promql::Query;
use firetower_query::{Reader, Source};
use firetower_topology::QueryLimits;
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout_at;

use crate::compressed::compressed;
use crate::error::Error;
use crate::json;
use crate::params::Params;
pub(crate) use selector::matchers;

use answer::{Chunk, Limits};
use asked::Asked;

/// How many pieces of an answer may wait for a slow reader.
const CHUNKS_QUEUED_MAX: usize = 2;

struct Answers<S> {
    source: Arc<S>,
    clock: Clock,
    running: Arc<Semaphore>,
    limits: Limits,
}

impl<S> Clone for Answers<S> {
    fn clone(&self) -> Answers<S> {
        Answers {
            source: self.source.clone(),
            clock: self.clock.clone(),
            running: self.running.clone(),
            limits: self.limits,
        }
    }
}

/// Returns `GET` and `POST` of `/api/v1/query`, `/api/v1/query_range` and `/api/v1/format_query`, and
/// `GET /api/v1/status/buildinfo`.
///
/// Queries are PromQL as Prometheus 3 has it, with its parameters `timeout`, `limit`, `lookback_delta` and `stats`. As many
/// as `limits` says are answered at a time, on threads of their own; one ends when its time is over or its client is gone. What a
/// selector alone selects is answered in order of the labels up to a million samples; what is larger is streamed in the
/// store's own order, and if it fails midway the connection is cut, so that nobody takes a part for the whole. An answer from
/// the monitors below has a `coverage`: how many targets there are, of how many those are that answered, and who did not.
pub(crate) fn query<S: Source>(source: S, clock: Clock, limits: QueryLimits) -> Router {
    with_limits(source, clock, Limits::of(limits))
}

fn with_limits<S: Source>(source: S, clock: Clock, limits: Limits) -> Router {
    let answers =
        Answers { source: Arc::new(source), clock, running: Arc::new(Semaphore::new(limits.at_once)), limits };
    let router = Router::new()
        .route("/api/v1/query", get(instant::<S>).post(instant::<S>).with_state(answers.clone()))
        .route("/api/v1/query_range", get(range::<S>).post(range::<S>).with_state(answers))
        .route("/api/v1/format_query", get(format).post(format))
        .route("/api/v1/status/buildinfo", get(build_info));
    compressed(router)
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

async fn instant<S: Source>(State(answers): State<Answers<S>>, params: Params) -> Result<Response, Error> {
    let asked = Asked::instant(&params, answers.clock.now(), answers.limits.timeout)?;
    answer(answers, asked).await
}

async fn range<S: Source>(State(answers): State<Answers<S>>, params: Params) -> Result<Response, Error> {
    let asked = Asked::range(&params, answers.limits.timeout)?;
    answer(answers, asked).await
}

async fn format(params: Params) -> Result<Response, Error> {
    let written = Query::format(params.get("query").ok_or(Error::Missing { name: "query" })?)?;
    Ok(json::success(json!(written)))
}

async fn answer<S: Source>(answers: Answers<S>, asked: Asked) -> Result<Response, Error> {
    let turn = timeout_at(asked.deadline(), answers.running.acquire_owned()).await;
    let permit = turn.map_err(|_| Error::Timeout { after: asked.timeout })?.ok();
    let (sender, mut chunks) = mpsc::channel(CHUNKS_QUEUED_MAX);
    // What is said of its end comes in chunks.
    drop(aside("query", move || {
        let listening = sender.clone();
        let reader = answers.source.open(asked.deadline(), Arc::new(move || listening.is_closed()));
        // What lies below is asked for values, not for all samples that they are chosen from.
        if asked.is_selection() && reader.below().is_none() {
            answer::write(&reader, &asked, answers.limits, &sender);
        } else {
            evaluated::write(&reader, &asked, &answers.limits.evaluation(), &sender);
        }
        drop(permit);
    }));
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
