//! What every process serves: alive, ready, metrics, reload.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use firetower_daemon::ReloadSignal;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::error::Error;

/// What prometheus-client writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether a process does its work yet, and if not, why.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<Option<String>>>);

impl Readiness {
    /// Not ready, because of `why`.
    pub fn waiting(why: impl Into<String>) -> Readiness {
        Readiness(Arc::new(Mutex::new(Some(why.into()))))
    }

    /// Says that it does its work.
    pub fn set_ready(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says that it does not (any more), because of `why`.
    pub fn set_waiting(&self, why: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.into());
    }

    /// Says that it does its work, or why it does not.
    pub fn set(&self, why: Option<&str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why.map(str::to_owned);
    }

    /// Returns why it is not ready, if it is not.
    pub fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type Reloading = Pin<Box<dyn Future<Output = Result<Vec<String>, String>> + Send>>;

/// How a process reads its configuration again.
#[derive(Clone)]
pub struct Reload(Arc<dyn Fn() -> Reloading + Send + Sync>);

impl Reload {
    /// Makes it of a function that returns the changed keys that hold after a restart only, or the complaints if the new
    /// configuration was refused.
    pub fn new<F>(reload: impl Fn() -> F + Send + Sync + 'static) -> Reload
    where
        F: Future<Output = Result<Vec<String>, String>> + Send + 'static,
    {
        Reload(Arc::new(move || Box::pin(reload())))
    }
}

/// Reloads at each SIGHUP until `cancel`; what was refused is logged and changes nothing.
///
/// # Errors
/// If the signal's handler cannot be installed.
pub async fn reload_on_signal(reload: Reload, cancel: CancellationToken) -> io::Result<()> {
    let mut signal = ReloadSignal::new()?;
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(()),
            () = signal.next() => {}
        }
        match (reload.0)().await {
            Ok(keys) if keys.is_empty() => tracing::info!("reloaded"),
            Ok(keys) => tracing::warn!(keys = keys.join(", "), "reloaded; some changes hold after a restart only"),
            Err(complaints) => tracing::error!(complaints, "reload refused, nothing was changed"),
        }
    }
}

/// What [`common`] answers from.
pub struct Common {
    /// Answers `/-/ready`.
    pub readiness: Readiness,
    /// Answers `/metrics`; everything is registered before it is handed over.
    pub registry: Arc<Registry>,
    /// Answers `/-/reload`; `None` where there is nothing to reload.
    pub reload: Option<Reload>,
}

/// What is at the root, for people and for clients that look whether anybody is there.
const ROOT: &str = "firetower answers at /api/v1/status, /api/v1/query and /metrics\n";

/// Returns `GET /`, `/-/healthy`, `GET /-/ready`, `GET /metrics` and `POST /-/reload`.
pub fn common(answers: Common) -> Router {
    Router::new()
        .route("/", get(async || ROOT))
        .route("/-/healthy", get(async || "firetower is healthy\n"))
        .route("/-/ready", get(ready).with_state(answers.readiness))
        .route("/metrics", get(metrics).with_state(answers.registry))
        .route("/-/reload", post(reload).with_state(answers.reload))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.reason() {
        None => "firetower is ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Result<Response, Error> {
    let step = "write metrics";
    let text = blocking(step, move || {
        let mut text = String::new();
        encode(&mut text, &registry).map_err(|source| Error::Unavailable { step, source: Box::new(source) })?;
        Ok(text)
    });
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text.await?).into_response())
}

async fn reload(State(reload): State<Option<Reload>>) -> Response {
    let Some(Reload(reload)) = reload else { return "nothing to reload\n".into_response() };
    match reload().await {
        Ok(keys) if keys.is_empty() => "reloaded\n".into_response(),
        Ok(keys) => format!("reloaded\nchanged, and held after a restart only: {}\n", keys.join(", ")).into_response(),
        Err(complaints) => {
            let text = format!("{}\nnothing was changed\n", complaints.trim_end());
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use prometheus_client::metrics::counter::Counter;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, method: &str, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_process_says_how_it_is() {
        let readiness = Readiness::waiting("opening the store");
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        registry.register("firetower_test_asks", "How often it was asked", counter.clone());
        counter.inc_by(3);
        let reload = Reload::new(|| std::future::ready(Err("demo.yaml:3:5: unknown key `regoin`".to_owned())));
        let registry = Arc::new(registry);
        let router = common(Common { readiness: readiness.clone(), registry: registry.clone(), reload: Some(reload) });

        assert_eq!(ask(&router, "GET", "/").await, (200, ROOT.into()));
        assert_eq!(ask(&router, "GET", "/-/healthy").await, (200, "firetower is healthy\n".into()));
        assert_eq!(ask(&router, "GET", "/-/ready").await, (503, "not ready: opening the store\n".into()));
        readiness.set_ready();
        assert_eq!(ask(&router, "GET", "/-/ready").await, (200, "firetower is ready\n".into()));
        let (status, text) = ask(&router, "GET", "/metrics").await;
        assert_eq!(
            (status, text.contains("firetower_test_asks_total 3\n"), text.ends_with("# EOF\n")),
            (200, true, true)
        );
        let complaint = "demo.yaml:3:5: unknown key `regoin`\nnothing was changed\n";
        assert_eq!(ask(&router, "POST", "/-/reload").await, (500, complaint.into()));
        assert_eq!(ask(&router, "GET", "/-/reload").await.0, 405);

        let fine = Reload::new(|| std::future::ready(Ok(Vec::new())));
        let partly = Reload::new(|| std::future::ready(Ok(vec!["rows".to_owned(), "http".to_owned()])));
        let held = "reloaded\nchanged, and held after a restart only: rows, http\n";
        for (reload, expected) in [(Some(fine), "reloaded\n"), (Some(partly), held), (None, "nothing to reload\n")] {
            let router = common(Common { readiness: readiness.clone(), registry: registry.clone(), reload });
            assert_eq!(ask(&router, "POST", "/-/reload").await, (200, expected.into()));
        }
    }
}
