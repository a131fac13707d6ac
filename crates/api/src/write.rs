//! `POST /api/v1/write`: Prometheus's remote_write 1.0.
//!
//! Whoever sends tries again after a 5xx, and forgets after anything else: so whatever may pass is a 503, and what can
//! never be taken a 4xx that says why.

mod body;
mod metrics;

use std::error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use firetower_daemon::chain;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::blocking::blocking;
use crate::error::Error;
use body::Bodies;
pub use metrics::WriteMetrics;

/// How many requests are unpacked and kept at a time; the others wait.
const CONCURRENT_MAX: usize = 2;
/// How long a body may take to come, and then to wait for its turn.
const WAIT_LIMIT: Duration = Duration::from_secs(30);
/// How many bodies of the largest size are held at once.
const BODIES_HELD: usize = 2;

/// What became of a request that was taken, at least in part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Samples that are kept now.
    pub samples: u64,
    /// Samples that were refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// What is wrong with the first that was refused.
    pub complaint: Option<String>,
    /// What is of no use here, by kind.
    pub ignored: Vec<(&'static str, u64)>,
}

/// Why nothing of a request was taken, or not all.
#[derive(Debug)]
pub enum NotTaken {
    /// It is no such request.
    Malformed(String),
    /// It is over a limit.
    TooLarge(String),
    /// There is no room now.
    Held(String),
    /// It could not be kept.
    Failed(Box<dyn error::Error + Send + Sync>),
}

/// Takes a compressed body; may block. What it says was taken is on the disk and can be read.
pub type TakeWrite = Arc<dyn Fn(&[u8]) -> Result<Taken, NotTaken> + Send + Sync>;

struct Writes {
    take: TakeWrite,
    bodies: Bodies,
    running: Semaphore,
    metrics: WriteMetrics,
}

/// Why a request is answered with an error.
struct Refusal {
    status: StatusCode,
    /// The word it is counted by.
    outcome: &'static str,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, outcome: &'static str, text: impl Into<String>) -> Refusal {
        Refusal { status, outcome, text: text.into() }
    }

    fn busy() -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many write requests at once")
    }
}

/// Returns `POST /api/v1/write`. A body may have `bytes_max` bytes as it comes.
///
/// 204 once all is kept; 400 with the first complaint if some samples were refused, the others are kept then.
pub fn write(take: TakeWrite, bytes_max: usize, metrics: WriteMetrics) -> Router {
    let bodies = Bodies::new(bytes_max, BODIES_HELD);
    let writes = Writes { take, bodies, running: Semaphore::new(CONCURRENT_MAX), metrics };
    Router::new().route("/api/v1/write", post(answer).with_state(Arc::new(writes)))
}

async fn answer(State(writes): State<Arc<Writes>>, request: Request) -> Response {
    match writes.answer(request).await {
        Ok(taken) => {
            writes.metrics.note_taken(&taken);
            match taken.complaint {
                None => StatusCode::NO_CONTENT.into_response(),
                Some(complaint) => (StatusCode::BAD_REQUEST, format!("{complaint}\n")).into_response(),
            }
        }
        Err(Refusal { status, outcome, text }) => {
            writes.metrics.note_outcome(outcome);
            tracing::debug!(outcome, text, "write request refused");
            (status, format!("{text}\n")).into_response()
        }
    }
}

impl Writes {
    async fn answer(&self, request: Request) -> Result<Taken, Refusal> {
        let deadline = Instant::now() + WAIT_LIMIT;
        check_kind(request.headers())?;
        let body = self.bodies.read(request, deadline).await?;
        self.metrics.body_bytes.inc_by(body.bytes.len() as u64);
        let running = timeout_at(deadline, self.running.acquire()).await.map_err(|_| Refusal::busy())?;
        let take = Arc::clone(&self.take);
        let taken = blocking("keep what was written", move || Ok(take(&body.bytes))).await;
        drop(running);
        taken.unwrap_or_else(|error: Error| Err(NotTaken::Failed(Box::new(error)))).map_err(refusal)
    }
}

/// Refuses what is not remote_write 1.0 by its headers; without any it is taken for it, as by Prometheus.
fn check_kind(headers: &HeaderMap) -> Result<(), Refusal> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let unsupported = |text: String| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", text);
    let encoding = header(header::CONTENT_ENCODING);
    if !matches!(encoding, "" | "snappy") {
        return Err(unsupported(format!("the content encoding {encoding:?} is not snappy")));
    }
    let content_type = header(header::CONTENT_TYPE);
    let mut parts = content_type.split(';').map(str::trim);
    let is_protobuf = matches!(parts.next(), None | Some("" | "application/x-protobuf"));
    let mut messages = parts.filter_map(|part| part.strip_prefix("proto="));
    if is_protobuf && messages.all(|message| message == "prometheus.WriteRequest") {
        return Ok(());
    }
    Err(unsupported(format!("{content_type:?} is not application/x-protobuf of prometheus.WriteRequest")))
}

fn refusal(not_taken: NotTaken) -> Refusal {
    match not_taken {
        NotTaken::Malformed(text) => Refusal::new(StatusCode::BAD_REQUEST, "malformed", text),
        NotTaken::TooLarge(text) => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text),
        NotTaken::Held(text) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "held", text),
        NotTaken::Failed(error) => {
            tracing::warn!(error = %chain(&*error), "what was written could not be kept");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "failed", chain(&*error).to_string())
        }
    }
}

#[cfg(test)]
mod tests;
